/** The writing end of the event log: when frames are appended, and where their bound is told. */
import { describe, expect, it } from "vitest";
import type { Frame } from "../../src/core/event.ts";
import type { Run } from "../../src/core/run.ts";
import { EventWriter } from "../../src/runtime/events/event-writer.ts";
import { eventKeys } from "../../src/storage/keys.ts";
import { createKit, looseRun } from "./runtime-kit.ts";
import type { Kit } from "./runtime-kit.ts";
import { remote, textOf } from "./runtime-events-kit.ts";
import { pass, settle } from "./runtime-pass.ts";

const INTERVAL_MS = 150;
const LIMIT = 4096;

const custom = (data: string): Frame => ({ kind: "data", event: "custom", data });

/** Begins a delivery as `deliver` does. */
async function begin(kit: Kit, run: Run, fence = 1, maxBytes = LIMIT): Promise<EventWriter> {
  const end = await kit.deps.events.end(run, 0);
  const at = { run, fence, end, maxBytes, onLost: () => undefined };
  return new EventWriter(kit.deps, at, { kind: "data", event: "metadata", data: { attempt: fence } });
}

/** Frames of each batch in the log. */
const batches = async (kit: Kit, run: Run): Promise<number[]> => {
  await settle();
  const items = kit.table.dump().filter(({ pk }) => pk === eventKeys.partition(run));
  const firsts = items.map(({ attributes }) => Number(attributes["n"]));
  const { next } = await kit.deps.events.end(run, 0);
  return firsts.map((first, i) => (firsts[i + 1] ?? next) - first);
};

const eventsOf = async (kit: Kit, run: Run) =>
  (await kit.deps.events.read(run, 0, 0)).frames.flatMap(({ frame }) =>
    frame.kind === "data" ? [frame.event === "custom" ? textOf(frame.data) : frame.event] : [],
  );

describe("the frames of a delivery, on a table where each write costs", () => {
  it("begin with one that waits for nothing", async () => {
    const kit = createKit(remote());
    const run = looseRun(kit);
    await begin(kit, run);
    expect(await batches(kit, run)).toEqual([1]);
    expect(kit.clock.sleepers()).toBe(0);
  });

  it("go at once after a pause, and together for 150 ms in a stream", async () => {
    const kit = createKit(remote());
    const run = looseRun(kit);
    const events = await begin(kit, run);
    await settle();
    kit.clock.advance(INTERVAL_MS);
    await events.emit(custom("after a pause"));
    kit.clock.advance(0);
    expect(await batches(kit, run)).toEqual([1, 1]);
    for (let n = 0; n < 3; n++) {
      await events.emit(custom(`in a stream ${n}`));
      kit.clock.advance(INTERVAL_MS / 3 - 1);
    }
    expect(await batches(kit, run)).toEqual([1, 1]);
    kit.clock.advance(3);
    expect(await batches(kit, run)).toEqual([1, 1, 3]);
  });

  it("wait for no time once they are 24 KB, or a hundred", async () => {
    const kit = createKit(remote());
    const run = looseRun(kit);
    const events = await begin(kit, run, 1, Infinity);
    await settle();
    await events.emit(custom("x".repeat(12_000)));
    expect(await batches(kit, run)).toEqual([1]);
    await events.emit(custom("y".repeat(13_000)));
    expect(await batches(kit, run)).toEqual([1, 2]);
    for (let n = 0; n < 99; n++) await events.emit(custom("z"));
    expect(await batches(kit, run)).toEqual([1, 2]);
    await events.emit(custom("z"));
    expect(await batches(kit, run)).toEqual([1, 2, 100]);
  });

  it("come in larger strides the longer a stream goes on, and at the first pace again after a pause", async () => {
    const kit = createKit(remote());
    const run = looseRun(kit);
    const events = await begin(kit, run, 1, Infinity);
    const during = async (ms: number): Promise<number> => {
      const before = (await batches(kit, run)).length;
      for (let gone = 0; gone < ms; gone += 10) {
        await events.emit(custom("word"));
        kit.clock.advance(10);
        await settle();
      }
      return (await batches(kit, run)).length - before;
    };
    const first = await during(3000);
    await during(17_000);
    const later = await during(3000);
    await events.flush();
    kit.clock.advance(2000);
    await settle();
    const again = await during(3000);
    expect(first).toBeGreaterThan(17);
    expect(later).toBeLessThan(11);
    expect(again).toBeGreaterThan(17);
  });

  it("wait in a bounded number of bytes for a table that is slow, and then the graph waits as well", async () => {
    const held = Promise.withResolvers<void>();
    const kit = createKit((table) => ({
      ...table,
      async put(item, ...args) {
        await held.promise;
        return table.put(item, ...args);
      },
    }));
    const run = looseRun(kit);
    const events = await begin(kit, run, 1, Infinity);
    let taken = 0;
    const graph = (async () => {
      for (; taken < 200; taken++) await events.emit(custom("x".repeat(10_000)));
    })();
    await settle();
    expect(taken).toBe(104);
    held.resolve();
    const flushed = graph.then(() => events.flush());
    await pass(kit, 10_000);
    await flushed;
    expect((await kit.deps.events.end(run, 0)).next).toBe(201);
  });
});

describe("the bound on what a run says", () => {
  const MARKER = {
    message: `what the run said after this is not kept (limit: event log per run, ${LIMIT}; setting: HOLDPOINT_MAX_EVENT_BYTES)`,
    limit: "event log per run",
    value: LIMIT,
    setting: "HOLDPOINT_MAX_EVENT_BYTES",
  };
  const WORDS = Array.from({ length: 10 }, (_, n) => String(n).repeat(900));

  it("is told once, by name, over several deliveries; how the run goes is told all the same", async () => {
    const kit = createKit(remote());
    const run = looseRun(kit);
    for (const fence of [1, 2, 3]) {
      const events = await begin(kit, run, fence);
      for (const word of WORDS) await events.emit(custom(word));
      await events.emit({ kind: "state", event: "values", ns: "", checkpointId: "c" });
      await events.emit({ kind: "data", event: "error", data: {} });
      await events.flush();
    }
    expect(await eventsOf(kit, run)).toEqual([
      "metadata",
      ...WORDS.slice(0, 4),
      "truncated",
      "error",
      "metadata",
      "error",
      "metadata",
      "error",
    ]);
    const { frames } = await kit.deps.events.read(run, 0, 0);
    expect(frames.filter(({ frame }) => frame.kind === "state")).toHaveLength(3);
    expect(
      frames.flatMap(({ frame }) => (frame.kind === "data" && frame.event === "truncated" ? [frame.data] : [])),
    ).toEqual([MARKER]);
  });

  it("is not told for a run that stays within it (negative control)", async () => {
    const kit = createKit(remote());
    const run = looseRun(kit);
    const events = await begin(kit, run);
    for (const word of WORDS.slice(0, 4)) await events.emit(custom(word));
    await events.flush();
    expect(await eventsOf(kit, run)).toEqual(["metadata", ...WORDS.slice(0, 4)]);
  });

  it("is that run's own: the next one on the thread begins anew", async () => {
    const kit = createKit(remote());
    const one = looseRun(kit);
    const two = looseRun(kit, { threadId: one.threadId });
    for (const run of [one, two]) {
      const events = await begin(kit, run);
      for (const word of WORDS) await events.emit(custom(word));
      await events.flush();
    }
    const said = ["metadata", ...WORDS.slice(0, 4), "truncated"];
    expect(await eventsOf(kit, one)).toEqual([...said, ...said]);
  });

  it("is still told by the next delivery when the process died before it could tell", async () => {
    const held = Promise.withResolvers<void>();
    const kit = createKit(remote());
    const { blobs, events } = kit.deps;
    const run = looseRun(kit);
    const maxBytes = 40_000;
    const original = { put: blobs.put.bind(blobs), append: events.append.bind(events) };
    blobs.put = async (...args) => {
      await held.promise;
      return original.put(...args);
    };
    const dying = await begin(kit, run, 1, maxBytes);
    await settle();
    kit.clock.advance(INTERVAL_MS);
    await dying.emit(custom("x".repeat(33_000)));
    await settle();
    // These are said while the large one is still on its way to its blob, and go with the batch after it.
    for (const word of WORDS) await dying.emit(custom(word));
    events.append = async (...args) => {
      events.append = () => new Promise(() => undefined);
      return original.append(...args);
    };
    held.resolve();
    expect(await batches(kit, run)).toEqual([1, 1]);
    events.append = original.append;
    const next = await begin(kit, run, 2, maxBytes);
    for (const word of WORDS) await next.emit(custom(word));
    await next.flush();
    expect((await eventsOf(kit, run)).filter((event) => event === "truncated")).toHaveLength(1);
  });

  it("counts a frame as what it takes, however little it says", async () => {
    const kit = createKit(remote());
    const run = looseRun(kit);
    const events = await begin(kit, run);
    for (let n = 0; n < 1000; n++) await events.emit(custom(""));
    await events.flush();
    expect((await eventsOf(kit, run)).length).toBeLessThan(LIMIT / 90);
  });
});
