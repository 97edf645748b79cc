/** Interrupts within subgraphs, resumed by another process. */
import { Annotation, Command, END, START, StateGraph, interrupt } from "@langchain/langgraph";
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import { configOf } from "../checkpoints.ts";
import { askingGraph } from "../reference-graphs.ts";
import { expectSame, expectThat } from "./expect.ts";
import { newThread } from "./steps.ts";
import type { HardCase, Subject } from "./suite.ts";

async function sideBySide(subject: Subject): Promise<void> {
  const config = configOf(newThread());
  await askingGraph(await subject.open()).invoke({ rounds: 0 }, config);
  const second = askingGraph(await subject.open());
  const { tasks } = await second.getState(config);
  const asked = tasks.flatMap(({ interrupts }) => interrupts);
  const questions = asked.map(({ value }) => (value as { readonly question: string }).question);
  expectSame("what another process is asked", questions.toSorted(), ["beside?", "go?"]);
  const resume = Object.fromEntries(asked.map(({ id }, n) => [id ?? "", questions[n]?.replace("?", "!")]));
  const { log } = await second.invoke(new Command({ resume }), config);
  expectSame("what the nodes did, what the subgraph was given included", log.toSorted(), [
    "after",
    "answer go!",
    "before",
    "before",
    "beside beside!",
    "prepared",
  ]);
  const third = await askingGraph(await subject.open()).getState(config);
  expectSame("what a third process sees", third.values, { log, rounds: 0 });
  expectSame("what is left to do", third.next, []);
}

const State = Annotation.Root({ log: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }) });

/** A graph within a graph within a graph: the innermost asks twice, with a step between. */
const nested = (checkpointer: BaseCheckpointSaver) => {
  const innermost = new StateGraph(State)
    .addNode("first", () => ({ log: [`first ${String(interrupt("first?"))}`] }))
    .addNode("second", () => ({ log: [`second ${String(interrupt("second?"))}`] }))
    .addEdge(START, "first")
    .addEdge("first", "second")
    .compile();
  const middle = new StateGraph(State)
    .addNode("enter", () => ({ log: ["enter"] }))
    .addNode("inner", innermost)
    .addEdge(START, "enter")
    .addEdge("enter", "inner")
    .compile();
  return new StateGraph(State)
    .addNode("begin", () => ({ log: ["begin"] }))
    .addNode("sub", middle)
    .addNode("end", () => ({ log: ["end"] }))
    .addEdge(START, "begin")
    .addEdge("begin", "sub")
    .addEdge("sub", "end")
    .addEdge("end", END)
    .compile({ checkpointer });
};

async function withinEachOther(subject: Subject): Promise<void> {
  const config = configOf(newThread());
  await nested(await subject.open()).invoke({ log: ["in"] }, config);
  const steps = ["in", "begin"];
  for (const question of ["first", "second"]) {
    const graph = nested(await subject.open());
    const state = await graph.getState(config);
    const { tasks } = state;
    const values: unknown = state.values;
    const asked = tasks.flatMap(({ interrupts }) => interrupts).map(({ value }): unknown => value);
    expectSame("what is asked", asked, [`${question}?`]);
    expectSame("the values of the outer graph meanwhile", values, { log: steps });
    await graph.invoke(new Command({ resume: "yes" }), config);
  }
  const { next, ...ended } = await nested(await subject.open()).getState(config);
  const { log } = ended.values as { readonly log: readonly string[] };
  expectSame("what is left to do", next, []);
  for (const word of ["enter", "first yes", "second yes", "end"])
    expectThat(`'${word}' is not in the log once: ${log.join(", ")}`, log.filter((one) => one === word).length >= 1);
  expectSame("the end of the log", log.slice(-4), ["enter", "first yes", "second yes", "end"]);
}

export const graphCases: readonly HardCase[] = [
  { name: "interrupts in a subgraph and beside it are answered by another process", run: sideBySide },
  { name: "interrupts three graphs deep are answered by other processes, one by one", run: withinEachOther },
];
