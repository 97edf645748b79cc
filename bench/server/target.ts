/** One server under measurement, as a real process: how long it takes to start, and the memory that it holds. */
import { execFile, spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { readFile } from "node:fs/promises";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

const START_TIMEOUT_MS = 60_000;

export interface Launch {
  readonly command: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** A server that can be started any number of times. */
export interface Target {
  readonly name: string;
  /** Clears what an earlier start has left, and says how to start on this port. */
  prepare(port: number): Promise<Launch>;
}

/** Resident memory in MB: of the process that serves, and of all processes that the command started. */
export interface Memory {
  readonly server: number;
  readonly all: number;
}

export interface Running extends AsyncDisposable {
  readonly port: number;
  /** Milliseconds from the start of the process to the first `200` of `GET /ok`. */
  readonly startupMs: number;
  memory(): Promise<Memory>;
  /** Milliseconds of processor time that the command's own process has used; NaN where there is no `/proc`. */
  processorMs(): Promise<number>;
}

/** Starts a server on a free port and waits until it answers. */
export async function startTarget(target: Target): Promise<Running> {
  const port = await freePort();
  const { command, args, cwd, env } = await target.prepare(port);
  const began = performance.now();
  // A process group of its own, so that everything the command started ends with it.
  const child = spawn(command, args, { cwd, env, stdio: ["ignore", "ignore", "pipe"], detached: true });
  const abandoned = (): void => {
    if (child.pid !== undefined) signalGroup(child.pid, "SIGKILL");
  };
  process.once("exit", abandoned);
  child.once("exit", () => process.off("exit", abandoned));
  let said = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => (said = (said + text).slice(-4000)));
  try {
    await untilOk(port, child);
  } catch (cause) {
    await stop(child);
    throw new Error(`${target.name} did not start: ${said}`, { cause });
  }
  const startupMs = performance.now() - began;
  return {
    port,
    startupMs,
    memory: () => memoryOf(child),
    processorMs: () => processorMsOf(child),
    [Symbol.asyncDispose]: () => stop(child),
  };
}

async function untilOk(port: number, child: ChildProcess): Promise<void> {
  const deadline = performance.now() + START_TIMEOUT_MS;
  while (performance.now() < deadline) {
    if (child.exitCode !== null) throw new Error(`it ended with exit code ${child.exitCode}`);
    const answer = await fetch(`http://127.0.0.1:${port}/ok`).catch(() => undefined);
    await answer?.body?.cancel();
    if (answer?.status === 200) return;
    await sleep(5);
  }
  throw new Error(`no answer in ${START_TIMEOUT_MS} ms`);
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.pid === undefined) return;
  const closed = child.exitCode !== null || child.signalCode !== null;
  const end = closed ? Promise.resolve() : new Promise((done) => child.once("exit", done));
  signalGroup(child.pid, "SIGTERM");
  await Promise.race([end, sleep(5000, undefined, { ref: false })]);
  signalGroup(child.pid, "SIGKILL");
  await end;
}

function signalGroup(group: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-group, signal);
  } catch {
    // Nothing of the group is left.
  }
}

async function memoryOf(child: ChildProcess): Promise<Memory> {
  const { stdout } = await promisify(execFile)("ps", ["-eo", "pid=,ppid=,rss="]);
  const rows = stdout
    .trim()
    .split("\n")
    .map((line) => line.trim().split(/\s+/).map(Number));
  const family = new Set<number | undefined>([child.pid]);
  // Parents come before children by pid only as a rule: repeat until nothing is added.
  for (let size = 0; size !== family.size;) {
    size = family.size;
    for (const [pid, parent] of rows) if (family.has(parent)) family.add(pid);
  }
  const sizes = rows.filter(([pid]) => family.has(pid)).map(([, , kilobytes = 0]) => kilobytes / 1024);
  return { server: Math.max(...sizes), all: sizes.reduce((sum, size) => sum + size, 0) };
}

/** The kernel counts in hundredths of a second. */
async function processorMsOf(child: ChildProcess): Promise<number> {
  const stat = await readFile(`/proc/${child.pid}/stat`, "utf8").catch(() => "");
  // The command's name stands in parentheses and may itself hold spaces.
  const fields = stat.replace(/^.*\)/s, "").trim().split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

function freePort(): Promise<number> {
  return new Promise((done, fail) => {
    const probe = createServer().on("error", fail);
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address();
      probe.close(() =>
        address === null || typeof address === "string" ? fail(new Error("no port")) : done(address.port),
      );
    });
  });
}
