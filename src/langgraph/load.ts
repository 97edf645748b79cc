/** From `langgraph.json` to graphs that can be executed. One that fails to load is reported; the service starts. */
import { HoldpointError } from "../core/errors.ts";
import { graphErrorInfo } from "./errors.ts";
import { readGraphConfig } from "./graph-config.ts";
import type { GraphEntry } from "./graph-config.ts";
import { graphVersion } from "./graph-version.ts";
import { createModuleLoader } from "./module-loader.ts";
import type { ModuleLoader } from "./module-loader.ts";
import { createRegistry, instances } from "./registry.ts";
import type { FailedGraph, GraphRegistry, RegisteredGraph } from "./registry.ts";

/** The part of a log that loading needs. */
export interface LoadLog {
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  warn(fields: Readonly<Record<string, unknown>>, message: string): void;
  error(fields: Readonly<Record<string, unknown>>, message: string): void;
}

/**
 * Loads every graph that the configuration names. What its `env` asks for has to be set before: see `readGraphConfig`.
 * @throws HoldpointError `invalid` when the configuration itself is wrong
 */
export async function loadGraphs({
  configPath,
  log,
}: {
  readonly configPath: string;
  readonly log: LoadLog;
}): Promise<GraphRegistry> {
  const config = await readGraphConfig(configPath);
  if (config.ignored.length > 0) {
    log.warn({ file: config.path, keys: config.ignored }, "langgraph.json has keys that this version does not act on");
  }
  const loader = createModuleLoader();
  const graphs: RegisteredGraph[] = [];
  const failures: FailedGraph[] = [];
  for (const entry of config.graphs) {
    try {
      const graph = await loadGraph(loader, entry);
      graphs.push(graph);
      log.info({ graph: graph.graphId, version: graph.version.slice(0, 12), file: entry.file }, "graph loaded");
    } catch (error) {
      failures.push({ graphId: entry.graphId, file: entry.file, error: graphErrorInfo(error) });
      log.error({ graph: entry.graphId, file: entry.file, err: error }, "graph could not be loaded");
    }
  }
  return createRegistry(graphs, failures);
}

async function loadGraph(loader: ModuleLoader, entry: GraphEntry): Promise<RegisteredGraph> {
  const { file, exportName, ...settings } = entry;
  const version = await graphVersion(file);
  const exports = await loader.load(file);
  if (!(exportName in exports)) {
    const names = Object.keys(exports).filter((name) => name !== "module.exports");
    throw new HoldpointError("invalid", `${file} has no export ${exportName}; it has ${names.join(", ") || "none"}`);
  }
  return {
    ...settings,
    version,
    compiled: instances(await exports[exportName], `${file}:${exportName}`),
  };
}
