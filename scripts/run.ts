import { spawn } from "node:child_process";

/** How one command ended, with everything that it printed. */
export interface Finished {
  readonly name: string;
  readonly code: number;
  readonly output: string;
  readonly tookMs: number;
}

/** Runs a command of `node_modules/.bin` (npm puts it on the path) and keeps what it prints. */
export function capture(name: string, command: string, args: readonly string[]): Promise<Finished> {
  const began = performance.now();
  return new Promise((done) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    const keep = (text: string): void => void (output += text);
    child.stdout.setEncoding("utf8").on("data", keep);
    child.stderr.setEncoding("utf8").on("data", keep);
    const end = (code: number): void => done({ name, code, output, tookMs: performance.now() - began });
    child.on("error", (error) => {
      keep(error.message);
      end(1);
    });
    child.on("close", (code) => end(code ?? 1));
  });
}

/** Runs a command in the foreground, its output going where ours goes, and answers its exit code. */
export function foreground(command: string, args: readonly string[], env = process.env): Promise<number> {
  return new Promise((done, fail) => {
    const child = spawn(command, args, { stdio: "inherit", env });
    child.on("error", fail);
    child.on("close", (code) => done(code ?? 1));
  });
}
