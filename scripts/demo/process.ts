import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { createWriteStream } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

export interface ProcessOptions {
  /** What the process is called in messages. */
  readonly name: string;
  /** Arguments after `node`. */
  readonly args: readonly string[];
  /** Added to the environment of this process; undefined removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly cwd?: string;
  /** Gets everything the process prints; appended to. */
  readonly logFile?: string;
  readonly onLine?: (line: string) => void;
}

export interface Exit {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

/** A child process, killed when it is disposed. */
export interface RunningProcess extends AsyncDisposable {
  readonly name: string;
  readonly pid: number;
  /** Every line printed so far, on either stream. */
  readonly lines: readonly string[];
  readonly stderr: readonly string[];
  readonly exited: Promise<Exit>;
  /** Resolves with what `find` makes of the first line it knows. @throws Error when the process ends or the time is up first */
  line<T>(find: (line: string) => T | undefined, timeoutMs?: number): Promise<T>;
  /** Sends the signal and resolves when the process is gone. */
  stop(signal: "SIGTERM" | "SIGINT" | "SIGKILL"): Promise<Exit>;
  signal(signal: NodeJS.Signals): void;
}

/**
 * For `node --import`: the process ends when its standard input does, and so with whoever started it with a pipe there,
 * however that one ends. Nobody leaves orphans behind.
 */
export const ENDS_WITH_PARENT = `data:text/javascript,${encodeURIComponent(`
  import { isMainThread } from "node:worker_threads";
  if (isMainThread) process.stdin.on("end", () => process.kill(process.pid, "SIGKILL")).resume().unref();
`)}`;

/** Starts a child process whose output is read by lines. */
export function startProcess(options: ProcessOptions): RunningProcess {
  const child = spawn(process.execPath, ["--import", ENDS_WITH_PARENT, ...options.args], {
    cwd: options.cwd ?? PROJECT,
    env: { ...process.env, ...options.env },
    stdio: ["pipe", "pipe", "pipe"],
  });
  const lines: string[] = [];
  const stderr: string[] = [];
  const listeners = new Set<(line: string) => void>();
  const log = options.logFile === undefined ? undefined : createWriteStream(options.logFile, { flags: "a" });
  const received = (line: string): void => {
    lines.push(line);
    log?.write(`${line}\n`);
    options.onLine?.(line);
    for (const listen of listeners) listen(line);
  };
  createInterface(child.stdout).on("line", received);
  createInterface(child.stderr).on("line", (line) => {
    stderr.push(line);
    received(line);
  });
  const exited = exitOf(child).finally(() => log?.end());
  const stop = (signal: NodeJS.Signals): Promise<Exit> => {
    child.kill(signal);
    return exited;
  };
  return {
    name: options.name,
    pid: child.pid ?? 0,
    lines,
    stderr,
    exited,
    line: (find, timeoutMs = 20_000) => awaitLine({ name: options.name, lines, listeners, exited }, find, timeoutMs),
    stop,
    signal: (signal) => void child.kill(signal),
    [Symbol.asyncDispose]: async () => void (await stop("SIGKILL")),
  };
}

/** The project's folder. */
export const PROJECT = fileURLToPath(new URL("../..", import.meta.url));

/** `close`, not `exit`: everything that the process printed has been read by then. */
function exitOf(child: ChildProcess): Promise<Exit> {
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code, signal) => resolve({ code, signal }));
  });
}

interface Output {
  readonly name: string;
  readonly lines: readonly string[];
  readonly listeners: Set<(line: string) => void>;
  readonly exited: Promise<Exit>;
}

function awaitLine<T>(
  { name, lines, listeners, exited }: Output,
  find: (line: string) => T | undefined,
  timeoutMs: number,
): Promise<T> {
  for (const line of lines) {
    const found = find(line);
    if (found !== undefined) return Promise.resolve(found);
  }
  return new Promise((resolve, reject) => {
    const done = (): void => {
      listeners.delete(listen);
      clearTimeout(timer);
    };
    const fail = (reason: string): void => {
      done();
      reject(
        new Error(`${name} ${reason}${lines.length === 0 ? "" : `; it said last: ${lines.slice(-5).join("\n")}`}`),
      );
    };
    const listen = (line: string): void => {
      const found = find(line);
      if (found === undefined) return;
      done();
      resolve(found);
    };
    const timer = setTimeout(() => fail(`did not say what was awaited within ${timeoutMs} ms`), timeoutMs);
    listeners.add(listen);
    exited.then(
      ({ code, signal }) => fail(`ended with ${signal ?? `exit code ${code}`}`),
      (error: unknown) => fail(`could not be started: ${String(error)}`),
    );
  });
}
