/**
 * What the processes of a test were seen to do: one line of JSON each, appended to one file by whoever did it and with
 * one system call, so that no kill takes half of it. Their times are of one clock, the machine's monotonic one.
 */
import { appendFileSync, closeSync, existsSync, fstatSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import type { RunStatus } from "../../src/core/run.ts";
import type { Role, WriteKind } from "./orders.ts";

/** The folder of one test, where orders are read and facts are left. */
export const FOLDER_VARIABLE = "HOLDPOINT_TEST_FOLDER";

/** Negative control: `1` switches the effect journal off. */
export const FORGETS_VARIABLE = "HOLDPOINT_TEST_FORGETS_EFFECTS";

/** What may happen to a call on its way to the table and back. */
export type FaultKind = "timed out" | "applied and timed out" | "throttled" | "partial batch";

export type Seen =
  /** A header write that took the thread under a new fence; `strikes` as they stand in it, `sentMs` is when it left. */
  | {
      readonly is: "claim";
      readonly thread: string;
      readonly fence: number;
      readonly strikes: number;
      readonly sentMs: number;
    }
  /** One that meant to, and lost to somebody else. */
  | { readonly is: "outrun"; readonly thread: string }
  /** One that kept the lease. */
  | { readonly is: "beat"; readonly thread: string; readonly sentMs: number }
  /** One that gave the lease up. */
  | { readonly is: "release"; readonly thread: string; readonly fence: number }
  /** A write of a run item that won; `sentMs` is when it left. */
  | {
      readonly is: "run";
      readonly thread: string;
      readonly run: string;
      readonly status: RunStatus;
      readonly fence: number;
      readonly sentMs: number;
    }
  /** A call that concerns a thread with an order; `n` counts those of all processes of the role. */
  | { readonly is: "call"; readonly thread: string; readonly role: Role; readonly n: number; readonly call: string }
  /** A write of a worker on a thread with an order, with the number of its kind. */
  | { readonly is: "write"; readonly thread: string; readonly kind: WriteKind; readonly nth: number }
  | { readonly is: "killed"; readonly thread?: string; readonly call?: string; readonly when?: "before" | "after" }
  /** A process was found to be gone, whatever became of it. */
  | { readonly is: "died" }
  | { readonly is: "stopped"; readonly thread: string; readonly kind: WriteKind; readonly call: string }
  /**
   * The write before which it was stopped: whether it was taken, under which fence its writer believed to hold the thread,
   * and what was said when it failed.
   */
  | {
      readonly is: "woke";
      readonly thread: string;
      readonly kind: WriteKind;
      readonly call: string;
      readonly won: boolean;
      readonly fence: number;
      readonly error?: string;
    }
  /** A call was made to fail. */
  | { readonly is: "fault"; readonly kind: FaultKind }
  /** A node of a graph was executed. */
  | { readonly is: "step"; readonly thread: string; readonly run: string; readonly step: string };

export type Fact = Seen & { readonly pid: number; readonly atMs: number };
export type FactOf<K extends Seen["is"]> = Extract<Fact, { readonly is: K }>;

/** Milliseconds of the machine's monotonic clock. */
export const machineMs = (): number => Number(process.hrtime.bigint() / 1000n) / 1000;

export function note(folder: string, seen: Seen, pid: number = process.pid): void {
  appendFileSync(join(folder, "facts.jsonl"), `${JSON.stringify({ ...seen, pid, atMs: machineMs() })}\n`);
}

/** Notes from within a graph. Does nothing where no test looks on. */
export function noteStep(config: { readonly configurable?: unknown; readonly metadata?: unknown }, step: string): void {
  const folder = process.env[FOLDER_VARIABLE];
  if (folder === undefined) return;
  const { thread_id: thread } = (config.configurable ?? {}) as { readonly thread_id?: string };
  const { run_id: run } = (config.metadata ?? {}) as { readonly run_id?: string };
  note(folder, { is: "step", thread: thread ?? "", run: run ?? "", step });
}

/** Answers with every fact so far; what was read before is not read again. */
export function createFactReader(folder: string): () => readonly Fact[] {
  const path = join(folder, "facts.jsonl");
  const facts: Fact[] = [];
  let [read, rest] = [0, ""];
  return () => {
    if (!existsSync(path)) return facts;
    const file = openSync(path, "r");
    try {
      const bytes = Buffer.alloc(fstatSync(file).size - read);
      read += readSync(file, bytes, 0, bytes.length, read);
      const lines = (rest + bytes.toString("utf8")).split("\n");
      // The last line may still be on its way.
      rest = lines.pop() ?? "";
      for (const line of lines) facts.push(JSON.parse(line) as Fact);
    } finally {
      closeSync(file);
    }
    return facts;
  };
}

export function factsOf<K extends Seen["is"]>(facts: readonly Fact[], is: K): readonly FactOf<K>[] {
  return facts.filter((fact): fact is FactOf<K> => fact.is === is);
}
