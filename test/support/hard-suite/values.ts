/** Values: what callers do with theirs, and those that cannot be kept. */
import { configOf } from "../checkpoints.ts";
import { expectSame, expectThat, refused } from "./expect.ts";
import { listed, newThread, putStep, taskId, valuesAt, writesAt } from "./steps.ts";
import type { HardCase, Subject } from "./suite.ts";

const fresh = () => ({ list: [1, 2, { deep: "as it was" }], map: { a: ["x"] } });

async function mutations(subject: Subject): Promise<void> {
  const thread = newThread();
  const saver = await subject.open();
  const given = fresh();
  const config = await putStep(saver, configOf(thread), { values: given, metadata: { tags: { a: ["kept"] } } });
  const write = fresh();
  await saver.putWrites(config, [["out", write]], taskId(1));
  const spoil = (value: unknown): void => {
    if (typeof value !== "object" || value === null) return;
    for (const [name, inner] of Object.entries(value)) {
      spoil(inner);
      if (typeof inner !== "object") Reflect.set(value, name, "spoiled");
    }
    Reflect.set(value, Array.isArray(value) ? value.length : "spoiled", "spoiled");
  };
  spoil(given);
  spoil(write);
  const look = async () => {
    const tuple = await saver.getTuple(configOf(thread));
    if (tuple === undefined) throw new Error("the checkpoint is not there");
    return tuple;
  };
  const check = async (after: string): Promise<void> => {
    const { checkpoint, metadata, pendingWrites } = await look();
    expectSame(`values after ${after}`, checkpoint.channel_values, fresh());
    expectSame(`versions after ${after}`, checkpoint.channel_versions, { list: 1, map: 1 });
    expectSame(`metadata after ${after}`, metadata && Reflect.get(metadata, "tags"), { a: ["kept"] });
    expectSame(`writes after ${after}`, pendingWrites, [[taskId(1), "out", fresh()]]);
  };
  await check("what was given was changed");
  const { checkpoint, metadata, pendingWrites } = await look();
  for (const part of [checkpoint, metadata, pendingWrites]) spoil(part);
  await check("what was read was changed");
  for (const tuple of await listed(saver, configOf(thread))) {
    for (const part of [tuple.checkpoint, tuple.metadata, tuple.pendingWrites]) spoil(part);
  }
  await check("what was listed was changed");
  // A child inherits what is stored, not what a caller has made of it.
  await putStep(saver, config, { values: { ...fresh(), n: 1 }, changed: ["n"], step: 1 });
  expectSame("a child's values", await valuesAt(await subject.open(), configOf(thread)), { ...fresh(), n: 1 });
}

const unserializable = (): readonly (readonly [string, unknown])[] => {
  const circle: Record<string, unknown> = { name: "circle" };
  circle["self"] = circle;
  const throwing = {
    toJSON: () => {
      throw new Error("this value does not want to be stored");
    },
  };
  return [
    ["a circle", circle],
    ["a bigint", { n: 10n }],
    ["a toJSON that throws", throwing],
  ];
};

/** Whether a saver answers with what it was given. */
const isKept = (found: unknown, wanted: unknown): boolean => {
  try {
    expectSame("", found, wanted);
    return true;
  } catch {
    return false;
  }
};

async function refusedInCheckpoints(subject: Subject): Promise<void> {
  for (const [what, bad] of unserializable()) {
    const thread = newThread();
    const saver = await subject.open();
    const first = await putStep(saver, configOf(thread), { values: { a: "first" } });
    const values = { a: "first", bad };
    const isRefused = await refused(putStep(saver, first, { values, changed: ["bad"], step: 1 }));
    const reader = await subject.open();
    if (isRefused) {
      expectSame(`after ${what} was refused`, await valuesAt(reader, configOf(thread)), { a: "first" });
      // The saver itself goes on as if nothing had been.
      await putStep(saver, first, { values: { a: "second" }, versions: { a: 2 }, step: 1 });
      expectSame(`the put after ${what}`, await valuesAt(await subject.open(), configOf(thread)), { a: "second" });
    } else {
      expectThat(
        `${what} is taken, and comes back as something else`,
        isKept(await valuesAt(reader, configOf(thread)), values),
      );
    }
  }
}

async function refusedInTaskWrites(subject: Subject): Promise<void> {
  for (const [what, bad] of unserializable()) {
    const saver = await subject.open();
    const config = await putStep(saver, configOf(newThread()), { values: { a: "first" } });
    const writes: [string, unknown][] = [
      ["a", "before"],
      ["bad", bad],
    ];
    const isRefused = await refused(saver.putWrites(config, writes, taskId(1)));
    const found = await writesAt(await subject.open(), config);
    const wanted = writes.map(([channel, value]) => [taskId(1), channel, value]);
    if (isRefused) expectSame(`task writes after ${what} was refused`, found, []);
    else expectThat(`${what} is taken as a task write, and comes back as something else`, isKept(found, wanted));
  }
}

export const valueCases: readonly HardCase[] = [
  { name: "who changes what was given or read changes nothing that is stored", run: mutations },
  { name: "a value that cannot be serialized is refused, and nothing is lost", run: refusedInCheckpoints },
  { name: "a task write that cannot be serialized is refused with all of its task", run: refusedInTaskWrites },
];
