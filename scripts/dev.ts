/**
 * `npm run dev`: runs the service and restarts it when a source file changes, its own or those next to langgraph.json.
 * A first start that fails ends the command with the service's own exit code; after that, a failure waits for the next
 * change; what is in the table survives every restart. `--no-reload` runs the service alone. Everything else on the command line is the service's.
 * `node --watch` would outlive a service that cannot start, and a taken port must end in one line and exit code 1.
 */
import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { watch } from "node:fs";
import { basename, dirname, relative, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { readConfig } from "../src/config.ts";
import { ENDS_WITH_PARENT, PROJECT } from "./demo/process.ts";
import { NODE_ENV, NODE_FLAGS } from "./demo/service.ts";

const SETTLE_MS = 150;
const SOURCE = /\.(?:[cm]?[jt]s|json)$/;
const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** The folders whose changes matter, and the one in them that the service itself writes to. */
function watched(argv: readonly string[]): { readonly folders: readonly string[]; readonly dataDir: string } {
  try {
    const answer = readConfig(["dev", ...argv]);
    if (answer.kind === "run") {
      const { graphsFile, dataDir } = answer.config;
      const graphs = resolve(dirname(graphsFile));
      const own = ["src", "graphs", "tools"].map((name) => resolve(PROJECT, name));
      return { folders: graphs === resolve(PROJECT) ? own : [...own, graphs], dataDir: resolve(dataDir) };
    }
  } catch {
    // The service says what is wrong with its settings, and ends.
  }
  return { folders: [], dataDir: "" };
}

/** Calls back with the name of each source file that changed, until the signal aborts. */
function watchSources(argv: readonly string[], signal: AbortSignal, onChange: (file: string) => void): void {
  const { folders, dataDir } = watched(argv);
  const changed = (folder: string) => (_event: string, name: string | null) => {
    const file = resolve(folder, name ?? "");
    if (SOURCE.test(file) && !file.startsWith(`${dataDir}/`)) onChange(file);
  };
  const ignore = ["node_modules", "**/node_modules/**", "**/.*", "**/.*/**", "dist", "dist/**"];
  for (const folder of folders) watch(folder, { recursive: true, ignore, signal }, changed(folder));
  if (folders.length === 0) return;
  // The project's own top level, without its subfolders: langgraph.json and package.json.
  watch(PROJECT, { signal }, (event, name) => {
    if (["langgraph.json", "package.json"].includes(basename(name ?? ""))) changed(PROJECT)(event, name);
  });
}

function start(argv: readonly string[]): ChildProcess {
  const main = resolve(PROJECT, "src/main.ts");
  // A group of its own, so that Ctrl-C reaches the service once, through us.
  return spawn(process.execPath, ["--import", ENDS_WITH_PARENT, ...NODE_FLAGS, main, "dev", ...argv], {
    stdio: ["pipe", "inherit", "inherit"],
    detached: true,
    env: { ...process.env, ...NODE_ENV },
  });
}

const exitOf = (child: ChildProcess): Promise<number> =>
  new Promise((done) => child.once("exit", (code, signal) => done(code ?? (signal === null ? 0 : 1))));

async function main(args: readonly string[]): Promise<number> {
  const argv = args.filter((arg) => arg !== "--no-reload");
  const stop = new AbortController();
  let wake = Promise.withResolvers<void>();
  let child: ChildProcess | undefined;
  for (const signal of signals) {
    process.on(signal, () => {
      stop.abort();
      child?.kill(signal);
      wake.resolve();
    });
  }
  if (argv.length === args.length) {
    watchSources(argv, stop.signal, (file) => {
      process.stderr.write(`${relative(process.cwd(), file)} changed\n`);
      wake.resolve();
    });
  }
  for (let first = true; ; first = false) {
    wake = Promise.withResolvers<void>();
    child = start(argv);
    const exit = exitOf(child);
    const code = await Promise.race([exit, wake.promise]);
    if (stop.signal.aborted || code === 0 || (first && code !== undefined)) {
      // Ends the watching, which would keep us alive.
      stop.abort();
      return await exit;
    }
    if (code === undefined) {
      await sleep(SETTLE_MS);
      child.kill("SIGTERM");
      await exit;
    } else {
      process.stderr.write("The service ended; waiting for a change.\n");
      await wake.promise;
    }
    if (stop.signal.aborted) return 0;
  }
}

process.exitCode = await main(process.argv.slice(2));
