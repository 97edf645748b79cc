/** A storage that fails: what a call leaves behind is all of it or nothing. */
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import type { RunnableConfig } from "@langchain/core/runnables";
import { configOf, noise } from "../checkpoints.ts";
import { expectSame, expectThat, refused } from "./expect.ts";
import { idOf, newThread, putStep, taskId, valuesAt, writesAt } from "./steps.ts";
import type { HardCase, NotApplicable, Subject } from "./suite.ts";

/** More storage writes than any call here should need. */
const MOST_WRITES = 200;

type Attempt = (saver: BaseCheckpointSaver, from: RunnableConfig) => Promise<unknown>;
type Look = (from: RunnableConfig, n: number) => Promise<void>;

/** Lets a call fail at each of its storage writes in turn, on a new thread each time, until it fails no more. */
async function failAtEach(subject: Subject, attempt: Attempt, look: Look): Promise<void | NotApplicable> {
  const { failing } = subject;
  if (failing === undefined) return { notApplicable: "its storage cannot be made to fail" };
  for (let n = 1; n <= MOST_WRITES; n += 1) {
    const from = await putStep(await subject.open(), configOf(newThread()), { values: { a: "before" } });
    const saver = await failing(n);
    const hasFailed = await refused(attempt(saver, from));
    await look(from, n);
    if (!hasFailed) return expectThat("no storage write was made to fail", n > 1);
  }
  throw new Error(`a call makes more than ${MOST_WRITES} storage writes`);
}

const tornWrites = (subject: Subject): Promise<void | NotApplicable> => {
  const words = Array.from({ length: 60 }, (_, n): [string, string] => ["log", `write ${n}`]);
  return failAtEach(
    subject,
    (saver, from) => saver.putWrites(from, words, taskId(1)),
    async (from, n) => {
      const { length } = await writesAt(await subject.open(), from);
      expectThat(`storage write ${n} fails, and ${length} of 60 writes are there`, length === 0 || length === 60);
    },
  );
};

const tornPut = (subject: Subject): Promise<void | NotApplicable> => {
  const after = { a: "after", big: noise(1_200_000) };
  return failAtEach(
    subject,
    (saver, from) => putStep(saver, from, { values: after, versions: { a: 2, big: 2 }, step: 1 }),
    async (from, n) => {
      const thread = String(from.configurable?.["thread_id"]);
      const reader = await subject.open();
      const latest = await reader.getTuple(configOf(thread));
      const isOld = idOf(latest?.config) === idOf(from);
      const wanted = isOld ? { a: "before" } : after;
      expectSame(`storage write ${n} fails: the latest values`, latest?.checkpoint.channel_values, wanted);
      expectSame(`storage write ${n} fails: the values before`, await valuesAt(reader, from), { a: "before" });
    },
  );
};

export const tornCases: readonly HardCase[] = [
  { name: "when the storage fails, the writes of a task are there as a whole or not at all", run: tornWrites },
  { name: "when the storage fails, a checkpoint is there as a whole or not at all", run: tornPut },
];
