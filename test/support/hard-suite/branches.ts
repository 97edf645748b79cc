/** Forks and time travel: what branches share, and what they must not. */
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import type { RunnableConfig } from "@langchain/core/runnables";
import { configOf } from "../checkpoints.ts";
import { expectSame } from "./expect.ts";
import { idOf, newThread, putStep, taskId, valuesAt } from "./steps.ts";
import type { HardCase, Subject } from "./suite.ts";

const State = Annotation.Root({
  log: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }),
  kept: Annotation<string>({ reducer: (_, b) => b, default: () => "" }),
});

const build = (checkpointer: BaseCheckpointSaver) =>
  new StateGraph(State)
    .addNode("a", () => ({ log: ["a"] }))
    .addNode("b", () => ({ log: ["b"] }))
    .addEdge(START, "a")
    .addEdge("a", "b")
    .addEdge("b", END)
    .compile({ checkpointer });

const KEPT = "k".repeat(5000);

/** Runs the graph once, and finds the checkpoint at which `b` comes next. */
async function firstRun(subject: Subject) {
  const thread = newThread();
  const graph = build(await subject.open());
  await graph.invoke({ log: ["in"], kept: KEPT }, configOf(thread));
  for await (const snapshot of graph.getStateHistory(configOf(thread))) {
    if (snapshot.next.includes("b")) return { thread, between: snapshot };
  }
  throw new Error("the history lacks the checkpoint between the nodes");
}

const stateAt = async (subject: Subject, config: RunnableConfig): Promise<unknown> =>
  (await build(await subject.open()).getState(config)).values;

async function branchesThroughGraph(subject: Subject): Promise<void> {
  const { thread, between } = await firstRun(subject);
  const main = (await build(await subject.open()).getState(configOf(thread))).config;
  const seen: (readonly [RunnableConfig, unknown])[] = [[main, { log: ["in", "a", "b"], kept: KEPT }]];
  // Each edit takes the next integer version of `log`: the same one on every branch.
  for (const word of ["x", "y", "z"]) {
    const edited = await build(await subject.open()).updateState(between.config, { log: [word] }, "a");
    seen.push([edited, { log: ["in", "a", word], kept: KEPT }]);
    const graph = build(await subject.open());
    expectSame(`what branch ${word} returns`, await graph.invoke(null, edited), {
      log: ["in", "a", word, "b"],
      kept: KEPT,
    });
    const end = (await graph.getState(configOf(thread))).config;
    seen.push([end, { log: ["in", "a", word, "b"], kept: KEPT }]);
  }
  for (const [config, values] of seen) {
    expectSame("the state of a branch, read by its id", await stateAt(subject, config), values);
  }
}

async function timeTravel(subject: Subject): Promise<void> {
  const { thread, between } = await firstRun(subject);
  const graph = build(await subject.open());
  const wanted = { log: ["in", "a", "b"], kept: KEPT };
  expectSame("what going on from an older checkpoint returns", await graph.invoke(null, between.config), wanted);
  expectSame("the state after it", await stateAt(subject, configOf(thread)), wanted);
  expectSame("the older checkpoint", await stateAt(subject, between.config), { log: ["in", "a"], kept: KEPT });
  const latest = await (await subject.open()).getTuple(configOf(thread));
  // LangGraph puts a fork of the older checkpoint first, and the rest of the run after it.
  const fork = latest?.parentConfig && (await (await subject.open()).getTuple(latest.parentConfig));
  const origin = fork?.metadata?.source === "fork" ? idOf(fork.parentConfig) : idOf(latest?.parentConfig);
  expectSame("where the new branch begins", origin, idOf(between.config));
}

async function collidingVersions(subject: Subject): Promise<void> {
  const writer = await subject.open();
  const root = await putStep(writer, configOf(newThread()), { values: { a: "root", b: KEPT } });
  const ends: (readonly [RunnableConfig, unknown])[] = [];
  for (const word of ["one", "two"]) {
    const child = { a: word, b: KEPT };
    const at = await putStep(writer, root, { values: child, versions: { a: 2, b: 1 }, changed: ["a"], step: 1 });
    ends.push([at, child]);
    const next = { a: word, b: KEPT, c: word };
    const versions = { a: 2, b: 1, c: 3 };
    ends.push([await putStep(writer, at, { values: next, versions, changed: ["c"], step: 2 }), next]);
  }
  // And on the first branch again, after the second was written.
  const [first] = ends;
  if (first !== undefined) {
    const late = { a: "one", b: KEPT, d: "late" };
    const versions = { a: 2, b: 1, d: 3 };
    ends.push([await putStep(writer, first[0], { values: late, versions, changed: ["d"], step: 2 }), late]);
  }
  for (const [config, values] of ends)
    expectSame("the values of a branch", await valuesAt(await subject.open(), config), values);
}

async function copies(subject: Subject): Promise<void> {
  const { thread, between } = await firstRun(subject);
  const graph = build(await subject.open());
  const copy = await graph.updateState(between.config, null, "__copy__");
  const wanted = { log: ["in", "a"], kept: KEPT };
  expectSame("the copy", await stateAt(subject, copy), wanted);
  expectSame("the latest state", await stateAt(subject, configOf(thread)), wanted);
  const tuple = await (await subject.open()).getTuple(copy);
  expectSame("the parent of the copy", idOf(tuple?.parentConfig), idOf(between.parentConfig));
  await build(await subject.open()).updateState(copy, { log: ["more"] }, "a");
  expectSame("an edit of the copy", await stateAt(subject, configOf(thread)), { ...wanted, log: ["in", "a", "more"] });
  expectSame("what was copied, afterwards", await stateAt(subject, between.config), wanted);
}

async function deltaAcrossFork(subject: Subject): Promise<void | { readonly notApplicable: string }> {
  const writer = await subject.open();
  if (!("getDeltaChannelHistory" in writer)) return { notApplicable: "it knows no delta channels" };
  const thread = newThread();
  const seed = { log: ["seed"] };
  const root = await putStep(writer, configOf(thread), { values: seed });
  const step = async (from: RunnableConfig, n: number, word: string): Promise<RunnableConfig> => {
    await writer.putWrites(from, [["log", word]], taskId(n));
    return putStep(writer, from, { values: { n }, versions: { n }, step: n });
  };
  const chain = [root];
  for (let n = 1; n <= 40; n += 1) chain.push(await step(chain[n - 1] ?? root, n, `w${n}`));
  let fork = chain[20] ?? root;
  for (let n = 41; n <= 50; n += 1) fork = await step(fork, n, `f${n}`);
  const history = async (config: RunnableConfig): Promise<unknown> => {
    const { log } = await (await subject.open()).getDeltaChannelHistory({ config, channels: ["log"] });
    return [log?.seed, log?.writes.map(([, , word]) => word)];
  };
  const words = (name: string, from: number, to: number): string[] =>
    Array.from({ length: to - from + 1 }, (_, n) => `${name}${from + n}`);
  // The checkpoint at which the branches part has the first write of both.
  const trunk = [...words("w", 1, 21), "f41", ...words("w", 22, 40)];
  expectSame("the history of the trunk", await history(chain[40] ?? root), [["seed"], trunk]);
  const forked = [...words("w", 1, 21), ...words("f", 41, 50)];
  expectSame("the history of the fork", await history(fork), [["seed"], forked]);
}

export const branchCases: readonly HardCase[] = [
  { name: "branches from one checkpoint through a graph keep their own values", run: branchesThroughGraph },
  { name: "a graph goes on from an older checkpoint, and the old branch stays", run: timeTravel },
  { name: "branches whose integer versions collide inherit from their own parent", run: collidingVersions },
  { name: "a `__copy__` fork has the values of what was copied", run: copies },
  { name: "the history of a delta channel follows the parents of a fork", run: deltaAcrossFork },
];
