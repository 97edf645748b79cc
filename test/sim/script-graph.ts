import { Annotation, StateGraph } from "@langchain/langgraph";
import type { CompiledGraph, RegisteredGraph } from "../../src/langgraph/registry.ts";
import type { ScriptState } from "./script.ts";

/** An update adds a line; everything else about the state is the script's. */
const ScriptAnnotation = Annotation.Root({
  state: Annotation<ScriptState, { readonly note: string }>({
    reducer: (before, { note }) => ({ ...before, log: [...before.log, note] }),
    default: () => ({ script: [], pc: 0, log: [] }),
  }),
});

// Pregel's type parameters are invariant, so that any graph but its own is foreign to it.
const compile = (): unknown =>
  new StateGraph(ScriptAnnotation)
    .addNode("script", () => ({}))
    .addEdge("__start__", "script")
    .compile();

/** The script as LangGraph sees it where the API needs a graph: to update the state. Its node is never executed. */
export const scriptGraph: RegisteredGraph = {
  graphId: "script",
  version: "1",
  pool: "default",
  priority: 5,
  pinned: false,
  limits: {},
  compiled: async () => compile() as CompiledGraph,
};
