/** Several processes on one thread, and one whose clock is wrong. */
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import type { RunnableConfig } from "@langchain/core/runnables";
import { v6 } from "uuid";
import { configOf, noise } from "../checkpoints.ts";
import { expectSame, expectThat } from "./expect.ts";
import { idOf, idsOf, listed, newThread, putStep, taskId, valuesAt, writesAt } from "./steps.ts";
import type { HardCase, Subject } from "./suite.ts";

const PUTS = 8;

/** Each writer goes on from its own last checkpoint, as runs on one thread do that know nothing of each other. */
async function writeAlone(saver: BaseCheckpointSaver, root: RunnableConfig, who: number) {
  const put: { readonly config: RunnableConfig; readonly values: unknown }[] = [];
  let from = root;
  for (let n = 1; n <= PUTS; n += 1) {
    const values = { shared: "s".repeat(3000), own: `writer ${who}, put ${n}` };
    const versions = { shared: 1, own: n + 1 };
    await saver.putWrites(from, [["own", values.own]], taskId(who * 100 + n));
    from = await putStep(saver, from, { values, versions, changed: ["own"], step: n });
    put.push({ config: from, values });
  }
  return put;
}

const writersAtOnce =
  (writers: number) =>
  async (subject: Subject): Promise<void> => {
    const thread = newThread();
    const first = { shared: "s".repeat(3000), own: "nobody" };
    const root = await putStep(await subject.open(), configOf(thread), { values: first });
    const savers = await Promise.all(Array.from({ length: writers }, () => subject.open()));
    for (const saver of savers) await saver.getTuple(configOf(thread));
    const all = await Promise.all(savers.map((saver, who) => writeAlone(saver, root, who)));
    const reader = await subject.open();
    for (const { config, values } of all.flat())
      expectSame("a put, read by its id", await valuesAt(reader, config), values);
    const wanted = [root, ...all.flat().map(({ config }) => config)].map(idOf).toSorted();
    expectSame("all checkpoints", idsOf(await listed(reader, configOf(thread))).toSorted(), wanted);
    const lasts = all.map((puts) => idOf(puts.at(-1)?.config));
    expectThat(
      "the latest is not the last of any writer",
      lasts.includes(idOf((await reader.getTuple(configOf(thread)))?.config)),
    );
    const tasks = (await writesAt(reader, root)).map((write) => (write as readonly unknown[])[0]);
    expectSame(
      "tasks with writes at the first",
      new Set(tasks),
      new Set(savers.map((_, who) => taskId(who * 100 + 1))),
    );
  };

const BEHIND_MS = 600_000;

async function clockBehind(subject: Subject): Promise<void> {
  const thread = newThread();
  const ahead = await subject.open();
  const first = await putStep(ahead, configOf(thread), { values: { word: "first" } });
  const late = await subject.open();
  await late.getTuple(configOf(thread));
  let from = first;
  for (const n of [1, 2, 3]) {
    // Named by a clock that is ten minutes behind, and put after the first.
    const id = v6({ msecs: Date.now() - BEHIND_MS + n, clockseq: n });
    const values = { word: `put ${n}` };
    from = await putStep(late, from, { id, values, versions: { word: n + 1 }, step: n });
    for (const [who, reader] of [
      ["a fresh process", await subject.open()],
      ["its own", late],
      ["the first", ahead],
    ] as const) {
      expectSame(`the latest of put ${n}, as seen by ${who}`, await valuesAt(reader, configOf(thread)), values);
    }
  }
  const [newest] = await listed(await subject.open(), configOf(thread), { limit: 1 });
  expectSame("the first that is listed", idOf(newest?.config), idOf(from));
}

async function coldReads(subject: Subject): Promise<void> {
  const thread = newThread();
  const writer = await subject.open();
  const warm = await subject.open();
  const big = noise(20_000);
  let from = configOf(thread);
  for (let n = 1; n <= 40; n += 1) {
    const values = { big, n };
    from = await putStep(writer, from, { values, versions: { n }, changed: n === 1 ? ["big", "n"] : ["n"], step: n });
    await writer.putWrites(from, [["n", n + 1]], taskId(n));
    for (const [who, reader] of [
      ["cold", await subject.open()],
      ["warm", warm],
    ] as const) {
      expectSame(`what a ${who} process reads after put ${n}`, await valuesAt(reader, configOf(thread)), values);
      expectSame(`the writes that a ${who} process reads`, await writesAt(reader, configOf(thread)), [
        [taskId(n), "n", n + 1],
      ]);
    }
  }
}

export const writerCases: readonly HardCase[] = [
  { name: "two writers on one thread at once lose nothing", run: writersAtOnce(2) },
  { name: "eight writers on one thread at once lose nothing", run: writersAtOnce(8) },
  { name: "a writer whose clock is ten minutes behind is not hidden", run: clockBehind },
  { name: "a second process reads what the first has just written", run: coldReads },
];
