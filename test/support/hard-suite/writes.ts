/** Task writes: their order, and what a retry does. */
import { ERROR, INTERRUPT, RESUME } from "@langchain/langgraph-checkpoint";
import { configOf } from "../checkpoints.ts";
import { expectSame } from "./expect.ts";
import { listed, newThread, putStep, taskId, writesAt } from "./steps.ts";
import type { HardCase, Subject } from "./suite.ts";

async function start(subject: Subject) {
  const saver = await subject.open();
  const thread = newThread();
  const config = await putStep(saver, configOf(thread), { values: { n: 1 } });
  return { saver, thread, config, found: async () => writesAt(await subject.open(), config) };
}

async function orderWithinTask(subject: Subject): Promise<void> {
  const { saver, thread, config, found } = await start(subject);
  const words = Array.from({ length: 25 }, (_, n) => `write ${n}`);
  await saver.putWrites(
    config,
    words.map((word) => ["log", word]),
    taskId(1),
  );
  const wanted = words.map((word) => [taskId(1), "log", word]);
  expectSame("the writes of a task", await found(), wanted);
  const [tuple] = await listed(await subject.open(), configOf(thread));
  expectSame("the writes of a task, listed", tuple?.pendingWrites, wanted);
}

async function orderAcrossTasks(subject: Subject): Promise<void> {
  const { saver, config, found } = await start(subject);
  // Neither the order of the calls nor that of the ids is that of the paths.
  const paths = ["~__pregel_pull, c", "~__pregel_pull, a", "~__pregel_pull, b", ""];
  for (const [n, path] of paths.entries()) {
    await saver.putWrites(
      config,
      [
        ["log", `${path} 0`],
        ["log", `${path} 1`],
      ],
      taskId(9 - n),
      path,
    );
  }
  const wanted = ["", "~__pregel_pull, a", "~__pregel_pull, b", "~__pregel_pull, c"];
  const words = (await found()).map((write) => (write as readonly unknown[])[2]);
  expectSame(
    "the order by task path",
    words,
    wanted.flatMap((path) => [`${path} 0`, `${path} 1`]),
  );
}

async function retriedRegular(subject: Subject): Promise<void> {
  const { saver, config, found } = await start(subject);
  await saver.putWrites(config, [["a", "first"]], taskId(1));
  await saver.putWrites(
    config,
    [
      ["a", "again"],
      ["b", "new"],
    ],
    taskId(1),
  );
  await (
    await subject.open()
  ).putWrites(
    config,
    [
      ["a", "elsewhere"],
      ["b", "elsewhere"],
    ],
    taskId(1),
  );
  expectSame("after retries", await found(), [
    [taskId(1), "a", "first"],
    [taskId(1), "b", "new"],
  ]);
}

async function retriedSpecial(subject: Subject): Promise<void> {
  const { saver, config, found } = await start(subject);
  await saver.putWrites(config, [[INTERRUPT, "first question"]], taskId(1));
  await saver.putWrites(config, [[ERROR, "first error"]], taskId(2));
  await saver.putWrites(config, [["a", "regular"]], taskId(3));
  await saver.putWrites(config, [[RESUME, ["yes"]]], taskId(1));
  const other = await subject.open();
  await other.putWrites(config, [[INTERRUPT, "second question"]], taskId(1));
  await other.putWrites(config, [[ERROR, "second error"]], taskId(2));
  const writes = (await found()).map((write) => (write as readonly unknown[]).slice(0, 3));
  expectSame(
    "the special writes",
    new Map(writes.map(([task, channel, value]) => [`${String(task)} ${String(channel)}`, value])),
    new Map<string, unknown>([
      [`${taskId(1)} ${RESUME}`, ["yes"]],
      [`${taskId(1)} ${INTERRUPT}`, "second question"],
      [`${taskId(2)} ${ERROR}`, "second error"],
      [`${taskId(3)} a`, "regular"],
    ]),
  );
  expectSame("how many there are", writes.length, 4);
}

export const writeCases: readonly HardCase[] = [
  { name: "25 writes of one task keep their order", run: orderWithinTask },
  { name: "writes of several tasks are ordered by task path", run: orderAcrossTasks },
  { name: "a regular write that is retried stays as it was first", run: retriedRegular },
  { name: "a special write that is retried replaces the first", run: retriedSpecial },
];
