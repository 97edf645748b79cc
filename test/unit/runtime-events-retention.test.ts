/** A thread's event log after its frames have expired. */
import { describe, expect, it } from "vitest";
import { newThread } from "../../src/core/thread.ts";
import { threadId } from "../../src/core/ids.ts";
import type { Run } from "../../src/core/run.ts";
import type { Deps } from "../../src/runtime/deps.ts";
import { placeInLog } from "../../src/runtime/events/place-in-log.ts";
import { eventKeys } from "../../src/storage/keys.ts";
import { ALICE, LEASE_MS, createKit, inputFor, looseRun } from "./runtime-kit.ts";
import type { Kit } from "./runtime-kit.ts";
import { createSpeaker, read, remote } from "./runtime-events-kit.ts";
import { pass, settle, until } from "./runtime-pass.ts";
import { startProcess } from "./runtime-process.ts";

const RETENTION_MS = 120_000;
const MARKER = {
  message: `what the run said before this has expired (limit: event retention, ${RETENTION_MS}; setting: HOLDPOINT_EVENT_RETENTION_MS)`,
  limit: "event retention",
  value: RETENTION_MS,
  setting: "HOLDPOINT_EVENT_RETENTION_MS",
};

const aKit = (adapt = remote()) => createKit(adapt, { limits: { eventRetentionMs: RETENTION_MS } });
const aRun = (kit: Kit, thread = threadId(kit.deps.ids.uuid())) => kit.runtime.runs.accept(ALICE, inputFor(thread));
const statusOf = async (kit: Kit, run: Run) => (await kit.deps.runs.get(run, run.runId))?.value.status;
const reaches = (kit: Kit, run: Run, status: Run["status"]) =>
  until(kit, async () => (await statusOf(kit, run)) === status, status);
const batchesOf = (kit: Kit, run: Run) => kit.table.dump().filter(({ pk }) => pk === eventKeys.partition(run));

/** A worker that takes no log for one that has expired: the protection is off. */
const trusting = ({ deps }: Kit): Partial<Deps> => ({
  settings: { ...deps.settings, limits: { ...deps.settings.limits, eventRetentionMs: Infinity } },
});

/** A run of two words, whose frames expire while a node is silent; its worker dies, and another says two more. */
async function silentForLong(kit: Kit, on: Partial<Deps> = {}) {
  const [first, second] = [createSpeaker(), createSpeaker()];
  const run = await aRun(kit);
  const one = startProcess(kit, first, on);
  await until(kit, () => first.deliveries() === 1);
  await first.say("a");
  await first.say("b");
  await pass(kit, 1000);
  const alongside = read(kit.runtime, run);
  await pass(kit, RETENTION_MS);
  expect(batchesOf(kit, run)).toEqual([]);
  one.kill();
  const two = startProcess(kit, second, on);
  await until(kit, () => second.deliveries() === 1, "a takeover");
  await second.say("c");
  await second.say("d");
  await pass(kit, 4000);
  const end = async (): Promise<void> => {
    second.end();
    await reaches(kit, run, "success");
    await pass(kit, 4000);
    await two.worker[Symbol.asyncDispose]();
  };
  return { run, alongside, end };
}

describe("a run whose frames expire before it is delivered again", () => {
  it("goes on above every number that it gave out, and who reads it is told once what is gone", async () => {
    const kit = aKit();
    const { run, alongside, end } = await silentForLong(kit);
    const late = read(kit.runtime, run);
    const back = read(kit.runtime, run, 2);
    await pass(kit, 4000);
    // Also before its end, where a process has to find out by itself where the log goes on.
    for (const reading of [late, back]) expect(reading.got).toEqual(["truncated", "metadata", "c", "d"]);
    expect(alongside.got).toEqual(["metadata", "a", "b", "truncated", "metadata", "c", "d"]);
    await end();
    for (const { got, numbers, markers } of [late, back, alongside]) {
      expect(got.at(-1)).toBe("success");
      expect(markers).toEqual([{ ...MARKER, from: numbers.at(-3) }]);
      expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
      expect(new Set(numbers).size).toBe(numbers.length);
    }
    using again = read(kit.runtime, run, late.numbers[0]);
    await pass(kit, 1000);
    expect(again.got, "who comes back after the marker").toEqual(["metadata", "c", "d", "success"]);
  });

  it("hides them from who has seen the first ones when numbers begin again (negative control)", async () => {
    const kit = aKit();
    const { run, alongside, end } = await silentForLong(kit, trusting(kit));
    const back = read(kit.runtime, run, 2);
    await end();
    expect(back.got).toEqual(["success"]);
    expect(alongside.got).toEqual(["metadata", "a", "b", "success"]);
  });
});

describe("a thread whose frames have all expired", () => {
  const twoRuns = async (kit: Kit, on: Partial<Deps> = {}) => {
    const one = await aRun(kit);
    await using worker = kit.worker({}, on);
    worker.start();
    await reaches(kit, one, "success");
    await pass(kit, RETENTION_MS + 2000);
    const two = await aRun(kit, one.threadId);
    await reaches(kit, two, "success");
    const readings = [read(kit.runtime, one), read(kit.runtime, two)] as const;
    await pass(kit, 4000);
    return readings;
  };

  it("gives no number out twice, and says of the earlier run that it has expired", async () => {
    const [one, two] = await twoRuns(aKit());
    expect(one.got).toEqual(["truncated", "success"]);
    expect(two.got).toEqual(["metadata", "success"]);
    expect(two.numbers).toEqual([10_000_000]);
  });

  it("says nothing of it where numbers begin again (negative control)", async () => {
    const kit = aKit();
    const [one, two] = await twoRuns(kit, trusting(kit));
    expect(one.got).toEqual(["success"]);
    expect(two.numbers).toEqual([0]);
  });

  it("is looked at where it goes on, however long the first frame takes after the mark", async () => {
    const held = Promise.withResolvers<void>();
    const kit = aKit((table) =>
      remote()({
        ...table,
        async put(item, ...args) {
          if (item.sk.startsWith("E#")) await held.promise;
          return table.put(item, ...args);
        },
      }),
    );
    const thread = threadId(kit.deps.ids.uuid());
    await kit.runtime.threads.create(ALICE, { threadId: thread, metadata: {}, ifExists: "raise" });
    await kit.deps.threads.update({ tenant: ALICE.tenant, threadId: thread }, (header) => ({ ...header, fence: 1 }));
    await pass(kit, RETENTION_MS);
    const speaker = createSpeaker();
    const run = await aRun(kit, thread);
    using alongside = read(kit.runtime, run);
    await using worker = startProcess(kit, speaker).worker;
    await reaches(kit, run, "running");
    await pass(kit, 4000);
    held.resolve();
    await pass(kit, 4000);
    expect(alongside.got).toEqual(["metadata"]);
    expect(alongside.numbers).toEqual([10_000_000]);
    speaker.end();
    await reaches(kit, run, "success");
    await until(kit, () => worker.busy === 0);
  });

  it("lets no holder of an older fence say anything there: its mark comes first", async () => {
    let held: (() => void) | undefined;
    const kit = aKit((table) => ({
      ...table,
      async put(item, ...args) {
        if (item.sk.startsWith("R#") && item.attributes["s"] === "running" && held === undefined)
          await new Promise<void>((resolve) => (held = resolve));
        return table.put(item, ...args);
      },
    }));
    const thread = threadId(kit.deps.ids.uuid());
    await kit.runtime.threads.create(ALICE, { threadId: thread, metadata: {}, ifExists: "raise" });
    await pass(kit, RETENTION_MS);
    const run = await aRun(kit, thread);
    const zombie = startProcess(kit, createSpeaker());
    await until(kit, () => held !== undefined, "a mark on its way");
    // Its heartbeats fail, and its calls land all the same.
    zombie.deps.threads.update = () => new Promise(() => undefined);
    expect(batchesOf(kit, run)).toEqual([]);
    await using worker = kit.worker();
    worker.start();
    await pass(kit, LEASE_MS);
    await reaches(kit, run, "success");
    held?.();
    await settle();
    expect(batchesOf(kit, run).map(({ attributes }) => attributes["f"])).toEqual([2]);
  });
});

describe("where a delivery goes on in an empty log", () => {
  const EMPTY = { next: 0, fence: 0, runId: undefined, usedBytes: 0 };
  const placed = (fence: number, { age = 0, ...run }: Partial<Run> & { readonly age?: number } = {}) => {
    const kit = aKit();
    const loose = looseRun(kit, run);
    const thread = newThread(loose, { kind: "inline", value: {} }, kit.table.now() - age);
    const { end, isOwn } = placeInLog(kit.deps, { run: loose, thread, fence }, EMPTY);
    return [end.next, isOwn];
  };
  const now = aKit().table.now();

  it("is where any fence would, as long as nothing can have expired", () => {
    expect(placed(1)).toEqual([0, false]);
    expect(placed(7, { age: RETENTION_MS / 2 })).toEqual([0, false]);
    expect(placed(8, { age: 9e9, firstEvent: 60_000_000, startedAt: now })).toEqual([60_000_000, false]);
  });

  it("is above whatever lower fences wrote, once something can", () => {
    expect(placed(1, { age: RETENTION_MS })).toEqual([0, true]);
    expect(placed(8, { age: RETENTION_MS })).toEqual([70_000_000, true]);
    expect(placed(9, { age: 9e9, firstEvent: 5, startedAt: now - RETENTION_MS })).toEqual([80_000_000, true]);
  });

  it("has room for more fences than twelve digits", async () => {
    const kit = aKit();
    const run = looseRun(kit);
    const at = [999_999_999_999, 1_000_000_000_000, 9_000_000_000_000_000];
    for (const first of at.toReversed())
      await kit.deps.events.append(run, 0, {
        first,
        runId: run.runId,
        fence: 1,
        frames: [{ kind: "data", event: "custom", data: "x" }],
        usedBytes: 0,
      });
    const numbersFrom = async (from: number) =>
      (await kit.deps.events.read(run, 0, from)).frames.map(({ number }) => number);
    expect(await numbersFrom(0)).toEqual(at);
    expect(await numbersFrom(1_000_000_000_000)).toEqual(at.slice(1));
    expect(await kit.deps.events.end(run, 0)).toMatchObject({ next: 9_000_000_000_000_001 });
  });
});

describe("a first delivery that never said anything", () => {
  it("leaves no gap behind that looks like something lost", async () => {
    const kit = aKit();
    const speaker = createSpeaker();
    const run = await aRun(kit);
    const mute = startProcess(kit, speaker);
    mute.deps.events.append = () => new Promise(() => undefined);
    await reaches(kit, run, "running");
    mute.kill();
    await using worker = kit.worker();
    worker.start();
    await reaches(kit, run, "success");
    using reading = read(kit.runtime, run);
    await pass(kit, 1000);
    expect(reading.got).toEqual(["metadata", "success"]);
    expect(reading.numbers).toEqual([0]);
  });
});
