/**
 * `npm run dev`: one process in all roles, started again when a source file changes. What is in the table survives a
 * restart, so a thread goes on where it was. `node --watch` is not used because it outlives a service that cannot
 * start, and a taken port must end in one line and exit code 1.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { watch } from "node:fs";
import type { FSWatcher } from "node:fs";
import { readdir } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import { readConfig } from "../src/config.ts";
import { PROJECT } from "./demo/process.ts";
import { NODE_FLAGS } from "./demo/service.ts";

const SOURCE = /\.(?:ts|mts|js|mjs|cjs|json)$/;
const SKIPPED = /^(?:node_modules|dist|coverage|test|bench|\..*)$/;
/** An editor's save touches several files at once. */
const SETTLE_MS = 120;

const flags = process.argv.slice(2);
const reload = !flags.includes("--no-reload");
const args = [...NODE_FLAGS, join(PROJECT, "src/main.ts"), "dev", ...flags.filter((flag) => flag !== "--no-reload")];

let ending = false;
let restarting = false;
let child: ChildProcess | undefined;

function start(): void {
  restarting = false;
  child = spawn(process.execPath, args, { stdio: "inherit" });
  child.once("error", (error) => {
    console.error(`holdpoint: ${error.message}`);
    process.exit(1);
  });
  child.once("exit", (code, signal) => {
    child = undefined;
    if (restarting && !ending) return start();
    if (ending || !reload || !everReloaded) process.exit(code ?? (signal === null ? 0 : 1));
    console.error("holdpoint: the service has ended; waiting for a change");
  });
}

let everReloaded = false;
let settle: NodeJS.Timeout | undefined;

function changed(file: string): void {
  clearTimeout(settle);
  settle = setTimeout(() => {
    if (ending) return;
    everReloaded = true;
    console.error(`holdpoint: ${file} changed, starting again`);
    if (!child) return start();
    restarting = true;
    child.kill("SIGTERM");
  }, SETTLE_MS);
}

/** Folders one by one: a recursive watch would also follow `node_modules`. */
async function watchTree(dir: string, watched: Map<string, FSWatcher>): Promise<void> {
  if (watched.has(dir)) return;
  const watcher = watch(dir, (_, file) => {
    if (file !== null && SOURCE.test(file)) changed(file);
    else if (file !== null && !file.includes(".") && !SKIPPED.test(file)) {
      void watchTree(join(dir, file), watched).catch(() => undefined);
    }
  });
  watcher.on("error", () => watched.delete(dir));
  watched.set(dir, watcher);
  const entries = await readdir(dir, { withFileTypes: true });
  const folders = entries.filter((entry) => entry.isDirectory() && !SKIPPED.test(entry.name));
  await Promise.all(folders.map((folder) => watchTree(join(dir, folder.name), watched)));
}

function graphsFolder(): string | undefined {
  try {
    const read = readConfig(flags.filter((flag) => flag !== "--no-reload"));
    return read.kind === "run" ? dirname(resolve(read.config.graphsFile)) : undefined;
  } catch {
    // The service says what is wrong with its configuration.
    return undefined;
  }
}

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => {
    ending = true;
    if (child) child.kill(signal);
    else process.exit(0);
  });
}
if (reload) {
  const watched = new Map<string, FSWatcher>();
  const folders = new Set([join(PROJECT, "src"), join(PROJECT, "tools"), graphsFolder()]);
  for (const folder of folders) if (folder !== undefined) await watchTree(folder, watched).catch(() => undefined);
}
start();
