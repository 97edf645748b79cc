/** Deletion: all of a thread, nothing else, and for good. */
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import type { RunnableConfig } from "@langchain/core/runnables";
import { configOf, noise } from "../checkpoints.ts";
import { expectSame } from "./expect.ts";
import { idOf, idsOf, listed, newThread, putStep, taskId, valuesAt, writesAt } from "./steps.ts";
import type { HardCase, NotApplicable, Subject } from "./suite.ts";

const SPACES = ["", "sub:1", "sub:1|inner"];

/** A thread of several pages in several namespaces; answers the configs of its root. */
async function longThread(saver: BaseCheckpointSaver, thread: string): Promise<readonly RunnableConfig[]> {
  const root: RunnableConfig[] = [];
  const doc = noise(200_000);
  for (const ns of SPACES) {
    let from = configOf(thread, undefined, ns);
    for (let n = 1; n <= 40; n += 1) {
      const values = { doc, n };
      from = await putStep(saver, from, { values, versions: { n }, changed: n === 1 ? ["doc", "n"] : ["n"], step: n });
      await saver.putWrites(from, [["n", "old"]], taskId(n));
      if (ns === "") root.push(from);
    }
  }
  return root;
}

async function deletesAll(subject: Subject): Promise<void> {
  const thread = newThread();
  const other = newThread();
  const saver = await subject.open();
  const configs = await longThread(saver, thread);
  await putStep(saver, configOf(other), { values: { n: "other" } });
  const warm = await subject.open();
  await warm.getTuple(configOf(thread));
  await (await subject.open()).deleteThread(thread);
  for (const [who, reader] of [
    ["fresh", await subject.open()],
    ["warm", warm],
    ["writing", saver],
  ] as const) {
    for (const ns of SPACES) {
      expectSame(
        `what a ${who} saver reads in '${ns}'`,
        await reader.getTuple(configOf(thread, undefined, ns)),
        undefined,
      );
    }
    expectSame(`what a ${who} saver lists`, idsOf(await listed(reader, { configurable: { thread_id: thread } })), []);
    for (const config of [configs[0], configs.at(-1)]) {
      if (config) expectSame(`what a ${who} saver reads by id`, await reader.getTuple(config), undefined);
    }
  }
  expectSame("another thread", await valuesAt(await subject.open(), configOf(other)), { n: "other" });
}

async function madeAgain(subject: Subject): Promise<void> {
  const thread = newThread();
  const configs = await longThread(await subject.open(), thread);
  const [last] = configs.slice(-1);
  await (await subject.open()).deleteThread(thread);
  // Also under an id of before: nothing that was stored under it may come back.
  const again = await putStep(await subject.open(), configOf(thread), { id: idOf(last), values: { n: "new" } });
  const reader = await subject.open();
  expectSame("the new thread", await valuesAt(reader, configOf(thread)), { n: "new" });
  expectSame("its task writes", await writesAt(reader, configOf(thread)), []);
  expectSame("its parent", (await reader.getTuple(configOf(thread)))?.parentConfig, undefined);
  expectSame("its list", idsOf(await listed(reader, { configurable: { thread_id: thread } })), [idOf(again)]);
  await reader.deleteThread(thread);
  await reader.deleteThread(thread);
  expectSame("deleted again, twice", await (await subject.open()).getTuple(configOf(thread)), undefined);
}

/** A thread, one who is about to write to it, and its deletion; then somebody makes it again. */
async function lateWrite(
  subject: Subject,
  late: (saver: BaseCheckpointSaver, from: RunnableConfig) => Promise<unknown>,
): Promise<void> {
  const thread = newThread();
  const first = await putStep(await subject.open(), configOf(thread), { values: { doc: "old", n: 1 } });
  const writer = await subject.open();
  const from = await putStep(writer, first, {
    values: { doc: "old", n: 2 },
    versions: { n: 2 },
    changed: ["n"],
    step: 1,
  });
  await (await subject.open()).deleteThread(thread);
  const again = await putStep(await subject.open(), configOf(thread), { values: { doc: "new" } });
  // To be told that the thread is gone is as good as writing where nobody reads.
  await late(writer, from).catch(() => undefined);
  await expectOnlyNew(subject, thread, again);
}

async function expectOnlyNew(subject: Subject, thread: string, again: RunnableConfig): Promise<void> {
  const reader = await subject.open();
  expectSame("the latest values", await valuesAt(reader, configOf(thread)), { doc: "new" });
  expectSame("the task writes", await writesAt(reader, again), []);
  expectSame("the list", idsOf(await listed(reader, { configurable: { thread_id: thread } })), [idOf(again)]);
}

const latePut = (subject: Subject): Promise<void> =>
  lateWrite(subject, async (saver, from) => {
    const values = { doc: "old", n: 3 };
    const next = await putStep(saver, from, { values, versions: { n: 3 }, changed: ["n"], step: 2 });
    await saver.putWrites(next, [["n", "late"]], taskId(1));
  });

/** A put or task writes that have been let in before the deletion, and reach the storage after it. */
async function heldWrite(subject: Subject): Promise<void | NotApplicable> {
  const { holding } = subject;
  if (holding === undefined) return { notApplicable: "its storage writes cannot be held back" };
  for (const nth of [1, 2]) {
    for (const kind of ["put", "task writes"] as const) {
      const thread = newThread();
      const first = await putStep(await subject.open(), configOf(thread), { values: { doc: "old" } });
      const { saver, reached, release } = await holding(nth);
      const big = noise(900_000);
      const work =
        kind === "put"
          ? putStep(saver, first, { values: { doc: "old", big }, changed: ["big"], step: 1 })
          : saver.putWrites(first, [["big", big]], taskId(1));
      const settled = work.then(() => undefined).catch(() => undefined);
      await Promise.race([reached, settled]);
      await (await subject.open()).deleteThread(thread);
      const again = await putStep(await subject.open(), configOf(thread), { id: idOf(first), values: { doc: "new" } });
      release();
      await settled;
      await expectOnlyNew(subject, thread, again);
    }
  }
}

export const deletionCases: readonly HardCase[] = [
  { name: "a deleted thread is gone in every namespace, for every process", run: deletesAll },
  { name: "a deleted thread that is made again shows nothing old", run: madeAgain },
  { name: "what a writer of the deleted thread puts later is not the new thread's", run: latePut },
  { name: "a write that was on its way when the thread was deleted is not the new thread's", run: heldWrite },
];
