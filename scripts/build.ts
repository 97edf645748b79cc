/**
 * `npm run build`: compiles src into dist, then the shipped graphs and tools against what was built, so that they use
 * `holdpoint/graph` as any other graph does. Documents are copied as they are; langgraph.json comes to name the
 * compiled files.
 */
import { cp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { basename, extname, join, resolve } from "node:path";
import { foreground } from "./run.ts";

const project = resolve(import.meta.dirname, "..");
const dist = join(project, "dist");

const exists = async (path: string): Promise<boolean> => (await stat(path).catch(() => undefined)) !== undefined;

const isContent = (path: string): boolean => extname(path) !== ".ts" && basename(path) !== "tsconfig.build.json";

/** Everything next to the graphs that is not source: documents, prompts, fixtures. */
async function copyContent(folder: string): Promise<void> {
  const from = join(project, folder);
  if (!(await exists(from))) return;
  await cp(from, join(dist, folder), { recursive: true, filter: isContent });
}

async function copyGraphList(): Promise<void> {
  const from = join(project, "langgraph.json");
  if (!(await exists(from))) return;
  const text = await readFile(from, "utf8");
  await writeFile(join(dist, "langgraph.json"), text.replaceAll(/\.ts(?=[:"])/g, ".js"));
}

async function build(): Promise<number> {
  await rm(dist, { recursive: true, force: true });
  for (const config of ["tsconfig.build.json", "graphs/tsconfig.build.json"]) {
    const code = await foreground("tsc", ["-p", join(project, config)]);
    if (code !== 0) return code;
  }
  await Promise.all([copyContent("graphs"), copyContent("tools"), copyGraphList()]);
  return 0;
}

process.exitCode = await build();
