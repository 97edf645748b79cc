/**
 * A process of its own that works on a table. What to do comes as JSON in the first argument; it says `ready` once the
 * table is open, begins when it reads a line, and prints what came of it.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { once } from "node:events";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import type { Key } from "../../src/storage/table.ts";
import { incrementMany } from "./increment.ts";
import { openPlace } from "./table-place.ts";
import type { TablePlace } from "./table-place.ts";

export type Task =
  /** Prints `{ maxDelayMs }`, the longest that the event loop stood still. */
  | {
      readonly do: "increment";
      readonly place: TablePlace;
      readonly key: Key;
      readonly times: number;
      readonly lanes: number;
    }
  /** Puts items `0`, `1`, … into the partition and prints each number once it is acknowledged; never ends. */
  | { readonly do: "put"; readonly place: TablePlace; readonly pk: string }
  /** Takes SQLite's write lock, prints `locked`, and gives it back at the next line. */
  | { readonly do: "lock"; readonly path: string };

/** The process, with the lines it prints. */
export interface TableProcess extends AsyncDisposable {
  readonly child: ChildProcess;
  /** The next line; rejects when the process ended without one. */
  line(): Promise<string>;
  go(): void;
}

/** Starts one; disposing kills it. */
export function startTableProcess(task: Task): TableProcess {
  const child = spawn(process.execPath, [fileURLToPath(import.meta.url), JSON.stringify(task)], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, NODE_OPTIONS: "", NODE_NO_WARNINGS: "1" },
  });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    child,
    async line() {
      const next = await lines.next();
      if (next.done === true) throw new Error(`the process for ${task.do} ended`);
      return next.value;
    },
    go: () => void child.stdin.write("\n"),
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill("SIGKILL");
      await once(child, "close");
    },
  };
}

async function main(task: Task): Promise<void> {
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  if (task.do === "lock") {
    const db = new DatabaseSync(task.path);
    db.exec("BEGIN IMMEDIATE");
    console.log("locked");
    await lines.next();
    db.exec("COMMIT");
    db.close();
    return;
  }
  await using table = await openPlace(task.place);
  console.log("ready");
  await lines.next();
  if (task.do === "put") {
    for (let n = 0; ; n++) {
      await table.put({ pk: task.pk, sk: String(n), attributes: { bytes: new Uint8Array(300) } }, "absent");
      console.log(n);
    }
  }
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  await incrementMany(table, task.key, task.times, task.lanes);
  delay.disable();
  console.log(JSON.stringify({ maxDelayMs: Math.round(delay.max / 1e6) }));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await main(JSON.parse(process.argv[2] ?? "") as Task);
  process.stdin.destroy();
}
