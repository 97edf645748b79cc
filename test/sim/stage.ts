import type { FencedSaver } from "../../src/checkpoint/saver.ts";
import type { Json } from "../../src/core/json.ts";
import type { RegisteredGraph } from "../../src/langgraph/registry.ts";
import type { Deps } from "../../src/runtime/deps.ts";
import type { Engine } from "../../src/runtime/engine.ts";
import { handedTo, journaled } from "./effects.ts";
import type { Outside } from "./effects.ts";
import { createLangGraphOfScript } from "./langgraph-of-script.ts";
import type { GraphHost } from "./langgraph-of-script.ts";
import { createReferenceGraph } from "./reference-graph.ts";
import type { SimProcess } from "./scheduler.ts";
import { scriptGraph } from "./script-graph.ts";
import { createScriptEngine, scriptLog } from "./script.ts";
import type { Script } from "./script.ts";
import { langGraphEngine } from "../../src/runtime/engine.ts";

/** What a run brings: what it is to do, under which name, and bytes of state. */
export interface Input {
  readonly script: Script;
  readonly tag: string;
  readonly ballast?: number;
}

/** How the graphs of a schedule are executed: as scripts through the saver, or as real graphs by LangGraph.js. */
export interface Stage {
  /** Turns of Node's event loop that it may take between two steps. */
  readonly quietTurns: number;
  graphOf(process: SimProcess): RegisteredGraph;
  engineOf(deps: Deps, process: SimProcess): Engine;
  inputOf(start: Input): Json;
  updateOf(tag: string): { readonly values: Json; readonly asNode: string };
  /** Everything that took place on a thread, in its order. */
  logOf(saver: FencedSaver, threadId: string): Promise<readonly string[]>;
}

export interface StageHost {
  readonly outside: Outside;
  readonly heard: (process: SimProcess, tag: string) => void;
}

/** Scripts: fast, and the same to the last step for the same seed. */
export function scripted({ outside, heard }: StageHost): Stage {
  return {
    quietTurns: 1,
    graphOf: () => scriptGraph,
    engineOf: (deps, process) =>
      createScriptEngine({
        clock: deps.clock,
        ids: deps.ids,
        now: () => deps.table.now(),
        effect: journaled(outside, process),
        handOut: handedTo(outside),
        heard: (tag) => heard(process, tag),
      }),
    inputOf: ({ script, ballast = 0 }) => ({ script: script as unknown as Json, ballast }),
    updateOf: (tag) => ({ values: { state: { note: `update ${tag}` } }, asNode: "script" }),
    logOf: scriptLog,
  };
}

/** Real graphs, which do what the scripts say, one task a superstep, with the functions of `holdpoint/graph`. */
export const real = (host: StageHost): Stage => executed(host, createLangGraphOfScript);

/** One real graph with everything in it, whatever the scripts say. */
export const reference = (host: StageHost): Stage => executed(host, createReferenceGraph);

/** By LangGraph.js itself. */
function executed({ outside, heard }: StageHost, graph: (host: GraphHost) => RegisteredGraph): Stage {
  return {
    quietTurns: 4,
    graphOf: (process) => graph({ outside, process, heard: (tag) => heard(process, tag) }),
    engineOf: () => langGraphEngine,
    inputOf: ({ script, tag }) => ({ script: script as unknown as Json, pc: 0, log: [`in ${tag}`] }),
    updateOf: (tag) => ({ values: { log: [`update ${tag}`] }, asNode: "act" }),
    async logOf(saver, threadId) {
      const tuple = await saver.getTuple({ configurable: { thread_id: threadId, checkpoint_ns: "" } });
      const log: unknown = tuple?.checkpoint.channel_values["log"];
      return Array.isArray(log) ? log.map(String) : [];
    },
  };
}
