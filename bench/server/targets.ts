/** The two servers of the benchmark, each started by its own development command on the same graph. */
import { execFile } from "node:child_process";
import { cp, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { NODE_ENV, NODE_FLAGS } from "../../scripts/demo/service.ts";
import type { Target } from "./target.ts";

const here = import.meta.dirname;
const project = resolve(here, "../..");
const cache = join(project, ".cache/bench-server");

/** This environment without anyone's settings of either server, and with LangChain's telemetry off. */
function plainEnvironment(): Record<string, string | undefined> {
  const kept = Object.entries(process.env).filter(
    ([name]) => !/^(?:HOLDPOINT|LANGSMITH|LANGCHAIN|LANGGRAPH|DYNAMODB|OTEL|npm)_/.test(name),
  );
  return {
    ...Object.fromEntries(kept),
    LANGSMITH_TRACING: "false",
    LANGCHAIN_TRACING_V2: "false",
    LANGGRAPH_CLI_NO_ANALYTICS: "1",
  };
}

/** This service, from its sources, on SQLite in a fresh folder of this disk; another name is another folder. */
export function holdpoint(name = "Holdpoint", settings: Readonly<Record<string, string>> = {}): Target {
  const dataDir = join(cache, `${name.toLowerCase().replaceAll(/\W+/g, "-")}-data`);
  return {
    name,
    async prepare(port) {
      await rm(dataDir, { recursive: true, force: true });
      await mkdir(dataDir, { recursive: true });
      const config = join(here, "langgraph.json");
      return {
        command: process.execPath,
        args: [...NODE_FLAGS, join(project, "src/main.ts"), "dev", "--config", config, "--port", String(port)],
        cwd: project,
        env: { ...plainEnvironment(), ...NODE_ENV, HOLDPOINT_DATA_DIR: dataDir, ...settings },
      };
    },
  };
}

/** LangChain's JavaScript dev server, installed outside the product from the lockfile next to this file. */
export function devServer(): Target {
  const folder = join(cache, "dev-server");
  return {
    name: "dev server",
    async prepare(port) {
      await install(folder);
      await rm(join(folder, ".langgraph_api"), { recursive: true, force: true });
      const address = ["-h", "127.0.0.1", "-p", String(port)];
      return {
        command: process.execPath,
        args: [join(folder, "node_modules/.bin/langgraphjs"), "dev", "--no-browser", ...address, "-n", "10"],
        cwd: folder,
        env: plainEnvironment(),
      };
    },
  };
}

async function install(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const file of ["package.json", "package-lock.json", "graph.ts", "langgraph.json"]) {
    await cp(join(here, file), join(folder, file));
  }
  const lock = await readFile(join(here, "package-lock.json"), "utf8");
  const stamp = join(folder, "installed-lock.json");
  if ((await readFile(stamp, "utf8").catch(() => "")) === lock) return;
  console.log("Installing LangChain's dev server into .cache (once) ...");
  await promisify(execFile)("npm", ["ci", "--no-audit", "--no-fund"], { cwd: folder });
  await writeFile(stamp, lock);
}
