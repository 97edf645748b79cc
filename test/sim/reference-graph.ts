import { Annotation, StateGraph } from "@langchain/langgraph";
import { contextOf } from "../../src/graph/context.ts";
import type { NodeConfig } from "../../src/graph/context.ts";
import { effect } from "../../src/graph/effect.ts";
import { review } from "../../src/graph/review.ts";
import type { CompiledGraph, RegisteredGraph } from "../../src/langgraph/registry.ts";
import type { GraphHost } from "./langgraph-of-script.ts";

const log = Annotation<readonly string[]>({ reducer: (before, more) => [...before, ...more], default: () => [] });
const State = Annotation.Root({ log, payments: Annotation<number>({ reducer: (_, next) => next, default: () => 0 }) });
const CaseState = Annotation.Root({ log });
type Line = { readonly log: readonly string[] };

/** A payment that takes two goes: the edge behind it leads back once. */
const PAYMENTS = 2;

/**
 * Everything that a crash may fall between, in one graph: nodes side by side, a subgraph with an effect and a review, an
 * edge that leads back to a node with an effect, and a second review.
 */
export function createReferenceGraph(host: GraphHost): RegisteredGraph {
  // Pregel's type parameters are invariant, so that any graph but its own is foreign to it.
  const compile = (): unknown => {
    const cases = new StateGraph(CaseState)
      .addNode("reserve", (_, config: NodeConfig) => act(host, "reserve", config))
      .addNode("approve", (_, config: NodeConfig) => ask(host, "approve", config))
      .addEdge("__start__", "reserve")
      .addEdge("reserve", "approve")
      .addEdge("approve", "__end__")
      .compile();
    return new StateGraph(State)
      .addNode("look", (_, config: NodeConfig) => wait(config))
      .addNode("notify", (_, config: NodeConfig) => act(host, "notify", config))
      .addNode("case", async (_, config) => ({ log: (await cases.invoke({ log: [] }, config)).log }))
      .addNode("pay", async ({ payments }, config: NodeConfig) => {
        const paid = await act(host, "pay", config);
        return { ...paid, payments: payments + 1 };
      })
      .addNode("confirm", (_, config: NodeConfig) => ask(host, "confirm", config))
      .addEdge("__start__", "look")
      .addEdge("__start__", "notify")
      .addEdge(["look", "notify"], "case")
      .addEdge("case", "pay")
      .addConditionalEdges("pay", ({ payments }) => (payments < PAYMENTS ? "pay" : "confirm"))
      .addEdge("confirm", "__end__")
      .compile();
  };
  return {
    graphId: "script",
    version: "1",
    pool: "default",
    priority: 5,
    pinned: false,
    limits: {},
    compiled: async () => compile() as CompiledGraph,
  };
}

async function wait(config: NodeConfig): Promise<Line> {
  const { clock, signal } = contextOf(config, "a story");
  await clock.sleep(20, signal);
  return { log: ["looked"] };
}

async function act({ outside, process }: GraphHost, name: string, config: NodeConfig): Promise<Line> {
  const { run } = contextOf(config, "a story");
  const policy = "idempotent";
  await effect(config, { name, policy }, (token) =>
    outside.call(process, { token, run: run.runId, policy, ms: 10, what: token }),
  );
  return { log: [`effect ${name}`] };
}

async function ask({ heard }: GraphHost, what: string, config: NodeConfig): Promise<Line> {
  const { run } = contextOf(config, "a story");
  const answer = await review(config, { title: what, action: "go", args: { shown: what } });
  heard(answer.comment ?? "");
  return { log: [`answer ${run.root}.${what} ${answer.type} ${answer.comment ?? answer.decidedBy}`] };
}
