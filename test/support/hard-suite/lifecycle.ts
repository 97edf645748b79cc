/** `prune`, `copyThread` and `deleteForRuns`, where a saver has them, each with a frozen writer that wakes after it. */
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import type { RunnableConfig } from "@langchain/core/runnables";
import { configOf, noise } from "../checkpoints.ts";
import { expectSame } from "./expect.ts";
import { idOf, idsOf, listed, newThread, putStep, taskId, valuesAt, writesAt } from "./steps.ts";
import type { HardCase, NotApplicable, Subject } from "./suite.ts";

/** Named as LangGraph's savers in Python name them. */
interface Lifecycle {
  prune(threadIds: readonly string[], options?: { readonly strategy?: "keep_latest" | "delete" }): Promise<unknown>;
  copyThread(source: string, target: string): Promise<unknown>;
  deleteForRuns(runIds: readonly string[]): Promise<unknown>;
}

type Work<Name extends keyof Lifecycle> = (call: Lifecycle[Name], subject: Subject) => Promise<void>;

/** Only for savers that have the method. */
const where =
  <Name extends keyof Lifecycle>(name: Name, work: Work<Name>): HardCase["run"] =>
  async (subject): Promise<void | NotApplicable> => {
    const saver = await subject.open();
    if (typeof Reflect.get(saver, name) !== "function") return { notApplicable: `it has no \`${name}\`` };
    const methods = saver as BaseCheckpointSaver & Lifecycle;
    await work(methods[name].bind(methods) as Lifecycle[Name], subject);
  };

const LENGTH = 40;
const DOC = noise(30_000);
const valuesOf = (n: number) => ({ doc: DOC, n });

/** A thread whose checkpoints belong to two runs by turns, ten each, and a saver that has written it and now sleeps. */
async function sleeper(subject: Subject) {
  const thread = newThread();
  const saver = await subject.open();
  const configs: RunnableConfig[] = [];
  const runs = [newThread("run"), newThread("run")] as const;
  for (let n = 1; n <= LENGTH; n += 1) {
    const changed = n === 1 ? ["doc", "n"] : ["n"];
    const metadata = { run_id: runs[Math.floor((n - 1) / 10) % 2 === 0 ? 0 : 1] };
    const from = configs.at(-1) ?? configOf(thread);
    configs.push(await putStep(saver, from, { values: valuesOf(n), versions: { n }, changed, step: n, metadata }));
    await saver.putWrites(configs.at(-1) ?? from, [["n", n]], taskId(n));
  }
  const wake = async (from: RunnableConfig | undefined): Promise<RunnableConfig | undefined> => {
    const values = { ...valuesOf(LENGTH), late: "late" };
    const versions = { n: LENGTH, late: LENGTH + 1 };
    const step = { values, versions, changed: ["late"], step: LENGTH + 1 };
    // To be refused is as good as to be kept whole.
    const put = await putStep(saver, from ?? configOf(thread), step).catch(() => undefined);
    if (put === undefined) return undefined;
    expectSame("what the frozen writer put", await valuesAt(await subject.open(), put), values);
    return put;
  };
  return { thread, configs, runs, wake, last: configs.at(-1) ?? configOf(thread) };
}

const prunes: Work<"prune"> = async (prune, subject) => {
  const { thread, last, wake } = await sleeper(subject);
  const { thread: other } = await sleeper(subject);
  await prune([thread]);
  const check = async (): Promise<void> => {
    const reader = await subject.open();
    expectSame("the latest values", await valuesAt(reader, last), valuesOf(LENGTH));
    expectSame("its task writes", await writesAt(reader, last), [[taskId(LENGTH), "n", LENGTH]]);
  };
  await check();
  expectSame("what is left", idsOf(await listed(await subject.open(), configOf(thread))), [idOf(last)]);
  expectSame("another thread", (await listed(await subject.open(), configOf(other))).length, LENGTH);
  const late = await wake(last);
  await check();
  const left = [...(late === undefined ? [] : [idOf(late)]), idOf(last)];
  expectSame("the list after the frozen writer", idsOf(await listed(await subject.open(), configOf(thread))), left);
  await prune([thread], { strategy: "delete" });
  expectSame("after a deletion", await (await subject.open()).getTuple(configOf(thread)), undefined);
};

const copies: Work<"copyThread"> = async (copyThread, subject) => {
  const { thread, configs, last, wake } = await sleeper(subject);
  const target = newThread();
  await copyThread(thread, target);
  const check = async (): Promise<void> => {
    const reader = await subject.open();
    const tuples = await listed(reader, configOf(target));
    expectSame("the ids of the copy", idsOf(tuples), configs.map(idOf).toReversed());
    for (const [n, { checkpoint, pendingWrites, parentConfig }] of tuples.toReversed().entries()) {
      expectSame("the values of the copy", checkpoint.channel_values, valuesOf(n + 1));
      expectSame("the task writes of the copy", pendingWrites, [[taskId(n + 1), "n", n + 1]]);
      expectSame("the parents of the copy", idOf(parentConfig), n === 0 ? "" : idOf(configs[n - 1]));
    }
  };
  await check();
  await wake(last);
  await check();
  await (await subject.open()).deleteThread(thread);
  await check();
};

const deletesRuns: Work<"deleteForRuns"> = async (deleteForRuns, subject) => {
  const { thread, configs, runs, wake, last } = await sleeper(subject);
  await deleteForRuns([runs[1]]);
  const kept = configs.filter((_, n) => Math.floor(n / 10) % 2 === 0);
  const check = async (late: readonly string[]): Promise<void> => {
    const reader = await subject.open();
    expectSame("what is left", idsOf(await listed(reader, configOf(thread))), [
      ...late,
      ...kept.map(idOf).toReversed(),
    ]);
    for (const config of kept) {
      const n = configs.indexOf(config) + 1;
      expectSame("the values of what is left", await valuesAt(reader, config), valuesOf(n));
      expectSame("its task writes", await writesAt(reader, config), [[taskId(n), "n", n]]);
    }
  };
  await check([]);
  expectSame("the latest", await valuesAt(await subject.open(), configOf(thread)), valuesOf(30));
  // It goes on from a checkpoint that is there no more.
  const late = await wake(last);
  await check(late === undefined ? [] : [idOf(late)]);
};

export const lifecycleCases: readonly HardCase[] = [
  { name: "`prune` leaves the latest whole, and a frozen writer goes on from it", run: where("prune", prunes) },
  {
    name: "`copyThread` copies everything, and a frozen writer of the source changes nothing",
    run: where("copyThread", copies),
  },
  {
    name: "`deleteForRuns` takes only theirs, and a frozen writer brings none back",
    run: where("deleteForRuns", deletesRuns),
  },
];
