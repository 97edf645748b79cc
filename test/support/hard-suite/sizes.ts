/** Large values, and what a step costs when the thread is long. */
import { randomBytes } from "node:crypto";
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import type { RunnableConfig } from "@langchain/core/runnables";
import { configOf, noise } from "../checkpoints.ts";
import { expectSame, expectThat } from "./expect.ts";
import { newThread, putStep, taskId, valuesAt, writesAt } from "./steps.ts";
import type { HardCase, Subject } from "./suite.ts";

const inCheckpoints =
  (bytes: number) =>
  async (subject: Subject): Promise<void> => {
    const saver = await subject.open();
    const thread = newThread();
    const big = noise(bytes);
    const first = await putStep(saver, configOf(thread), { values: { big, n: 1 } });
    const second = await putStep(saver, first, { values: { big, n: 2 }, versions: { n: 2 }, changed: ["n"], step: 1 });
    const edited = `${big.slice(0, bytes / 2)}edited${big.slice(bytes / 2)}`;
    await putStep(saver, second, {
      values: { big: edited, n: 2 },
      versions: { big: 3, n: 2 },
      changed: ["big"],
      step: 2,
    });
    const reader = await subject.open();
    expectSame("the value", await valuesAt(reader, first), { big, n: 1 });
    expectSame("the value that a child inherits", await valuesAt(reader, second), { big, n: 2 });
    expectSame("the value that was edited", await valuesAt(reader, configOf(thread)), { big: edited, n: 2 });
  };

const inTaskWrites =
  (bytes: number) =>
  async (subject: Subject): Promise<void> => {
    const saver = await subject.open();
    const config = await putStep(saver, configOf(newThread()), { values: { n: 1 } });
    const big = noise(bytes);
    await saver.putWrites(
      config,
      [
        ["big", big],
        ["small", 1],
      ],
      taskId(1),
    );
    expectSame("the task writes", await writesAt(await subject.open(), config), [
      [taskId(1), "big", big],
      [taskId(1), "small", 1],
    ]);
  };

/** Bytes that one saver has handed to its storage: what the subject counts, or else what its serializer has made. */
function meter(subject: Subject, saver: BaseCheckpointSaver): () => number {
  if (subject.written !== undefined) return subject.written;
  const { serde } = saver;
  let bytes = 0;
  const counted = (result: [string, Uint8Array]): [string, Uint8Array] => {
    bytes += result[1].length;
    return result;
  };
  // Savers for older versions of LangGraph take its answer without waiting for it.
  const dumpsTyped = (value: unknown) => {
    const result: unknown = serde.dumpsTyped(value);
    return result instanceof Promise ? result.then(counted) : counted(result as [string, Uint8Array]);
  };
  saver.serde = { dumpsTyped, loadsTyped: (type, data) => serde.loadsTyped(type, data) } as typeof serde;
  return () => bytes;
}

/** Covers what a saver does only every so often, such as writing together what it wrote apart. */
const WINDOW = 300;
const GROWTH = 1.5;

/** Each step adds a message. */
async function growth(subject: Subject): Promise<void> {
  const saver = await subject.open();
  const thread = newThread();
  const written = meter(subject, saver);
  const messages: string[] = [];
  const costs: number[] = [];
  let config: RunnableConfig = configOf(thread);
  for (let n = 1; n <= 30 + 2 * WINDOW; n += 1) {
    messages.push(randomBytes(300).toString("base64"));
    const before = written();
    config = await putStep(saver, config, { values: { messages }, versions: { messages: n }, step: n });
    costs.push(written() - before);
  }
  const mean = (from: number): number => costs.slice(from, from + WINDOW).reduce((a, b) => a + b, 0) / WINDOW;
  const [early, late] = [mean(30), mean(30 + WINDOW)].map(Math.round);
  expectThat("nothing was counted", early !== undefined && early > 0);
  expectThat(
    `a put writes ${early} bytes in the first ${WINDOW} steps, and ${late} in the next`,
    (late ?? 0) <= (early ?? 0) * GROWTH,
  );
  expectSame("the last state", await valuesAt(await subject.open(), configOf(thread)), { messages });
}

export const sizeCases: readonly HardCase[] = [
  { name: "a value of 700 KB in checkpoints", run: inCheckpoints(700_000) },
  { name: "a value of 5 MB in checkpoints", run: inCheckpoints(5_000_000) },
  { name: "a value of 700 KB in task writes", run: inTaskWrites(700_000) },
  { name: "a value of 5 MB in task writes", run: inTaskWrites(5_000_000) },
  { name: "a put late in a thread writes not much more than an early one", run: growth },
];
