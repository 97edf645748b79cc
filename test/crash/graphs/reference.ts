/**
 * Everything that a graph of a customer does: nodes side by side, a subgraph, an edge back, two reviews at once, and
 * effects in all of them. Its state keeps a line for everything that took place.
 */
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import { review } from "holdpoint/graph";
import type { NodeConfig } from "holdpoint/graph";
import { noteStep } from "../witness.ts";
import { act } from "./outside.ts";

const ROUNDS = 2;

const lines = { reducer: (a: string[], b: string[]) => [...a, ...b], default: (): string[] => [] };
const Deep = Annotation.Root({ round: Annotation<number>(), deep: Annotation<string[]>(lines) });
const State = Annotation.Root({
  /** How long each round takes at its end. */
  pauseMs: Annotation<number>({ reducer: (_, b) => b, default: () => 0 }),
  /** How long a value each round leaves, beside its lines. */
  ballastBytes: Annotation<number>({ reducer: (_, b) => b, default: () => 0 }),
  ballast: Annotation<string>({ reducer: (_, b) => b, default: () => "" }),
  round: Annotation<number>({ reducer: (_, b) => b, default: () => 0 }),
  deep: Annotation<string[]>({ reducer: (_, b) => b, default: () => [] }),
  log: Annotation<string[]>(lines),
});
type Round = { readonly round: number };

/** A node of one line, which does nothing else, or acts outside before that. */
const node =
  (name: string, acts = false) =>
  async (state: Round, config: NodeConfig) => {
    const line = name === "pay" ? name : `${name} ${state.round}`;
    noteStep(config, line);
    if (acts) await act(config, name, line);
    return { log: [line] };
  };
const deepNode =
  (name: string, acts = false) =>
  async (state: Round, config: NodeConfig) => {
    const { log } = await node(name, acts)(state, config);
    return { deep: log };
  };

const deep = new StateGraph(Deep)
  .addNode("weigh", deepNode("weigh"))
  .addNode("order", deepNode("order", true))
  .addEdge(START, "weigh")
  .addEdge("weigh", "order")
  .addEdge("order", END)
  .compile();

const ask = (name: string) => async (_state: unknown, config: NodeConfig) => {
  const answer = await review(config, { title: name, action: name, args: { amount: 1 } });
  const said = answer.type === "edit" ? `edit ${JSON.stringify(answer.args)}` : answer.type;
  return { log: [`${name} ${said} ${answer.comment ?? ""}`] };
};

export const graph = new StateGraph(State)
  .addNode("plan", async ({ round, ballastBytes }: Round & { readonly ballastBytes: number }, config: NodeConfig) => ({
    ...(await node("plan")({ round: round + 1 }, config)),
    round: round + 1,
    ...(ballastBytes > 0 ? { ballast: String(round + 1).repeat(ballastBytes) } : {}),
  }))
  .addNode("reserve", node("reserve", true))
  .addNode("look", node("look"))
  .addNode("inside", deep)
  .addNode("join", async ({ round, pauseMs }: Round & { readonly pauseMs: number }, config: NodeConfig) => {
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    return node("join")({ round }, config);
  })
  .addNode("first", ask("first"))
  .addNode("second", ask("second"))
  .addNode("pay", node("pay", true))
  .addEdge(START, "plan")
  .addEdge("plan", "reserve")
  .addEdge("plan", "look")
  .addEdge("plan", "inside")
  .addEdge(["reserve", "look", "inside"], "join")
  .addConditionalEdges("join", ({ round }: Round) => (round < ROUNDS ? "plan" : ["first", "second"]), [
    "plan",
    "first",
    "second",
  ])
  .addEdge(["first", "second"], "pay")
  .addEdge("pay", END)
  .compile();

/** What every thread of it does outside. */
export const EFFECTS = ["reserve 1", "order 1", "reserve 2", "order 2", "pay"];
/** Every step, but for the two that ask, which are executed as often as they are asked. */
export const STEPS = [1, 2]
  .flatMap((round) => ["plan", "reserve", "look", "weigh", "order", "join"].map((node) => `${node} ${round}`))
  .concat("pay");

/** The lines of its state at the end. */
export const logOf = (): readonly string[] => [
  ...[1, 2].flatMap((round) => ["plan", "look", "reserve", "join"].map((node) => `${node} ${round}`)),
  'first edit {"amount":2} comment on first',
  "second approve comment on second",
  "pay",
];
