/** Requests and frames are encrypted where they are kept, and older ones in the clear are still read. */
import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { isNewerFormat } from "../../src/core/newer-format.ts";
import { runId, systemIds, tenantId, threadId } from "../../src/core/ids.ts";
import type { EventBatch } from "../../src/core/event.ts";
import type { Run, RunPayload } from "../../src/core/run.ts";
import { createLocalKeys } from "../../src/local/local-keys.ts";
import { createDataKeys } from "../../src/storage/encryption/data-keys.ts";
import { sealedBlobs } from "../../src/storage/encryption/sealed-blobs.ts";
import { createSealers, plainSealers } from "../../src/storage/encryption/sealer.ts";
import type { Sealers } from "../../src/storage/encryption/sealer.ts";
import { createEvents } from "../../src/storage/events.ts";
import { createRuns } from "../../src/storage/runs.ts";
import { createManualClock } from "../support/manual-clock.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { createMemoryTable } from "../support/memory-table.ts";
import { createKit, looseRun } from "./runtime-kit.ts";

const SECRET = "the customer's name is Alice";
const ref = { tenant: tenantId("acme"), threadId: threadId("t") };
const kit = createKit();
const runOf = (payload: RunPayload): Run => looseRun(kit, { ...ref, payload });

function world() {
  const clock = createManualClock();
  const table = createMemoryTable({ now: () => clock.wall() });
  const keys = createLocalKeys([randomBytes(32).toString("base64")]);
  const dataKeys = createDataKeys({ table, keys, clock, ids: systemIds });
  const sealersOf = (required: boolean): Sealers => createSealers({ dataKeys, required });
  const bodies = createMemoryBlobs();
  const on = (by: Sealers) => ({
    runs: createRuns({ table, blobs: sealedBlobs(bodies, by), shards: 1, sealers: by }),
    events: createEvents(table, { retentionMs: 1000, sealers: by }),
  });
  const shows = (text: string): boolean =>
    table
      .dump()
      .some((item) =>
        Object.values(item.attributes).some((value) =>
          value instanceof Uint8Array ? Buffer.from(value).includes(text) : JSON.stringify(value).includes(text),
        ),
      );
  return { table, sealed: on(sealersOf(false)), strict: on(sealersOf(true)), plain: on(plainSealers), shows };
}

const batch = (first: number, text: string): EventBatch => ({
  first,
  runId: runId("018bcfe5-6800-7000-8000-000000000001"),
  fence: 1,
  frames: [{ kind: "data", event: "updates", data: { text } }],
  usedBytes: 10,
});

describe("a request", () => {
  it("is encrypted on its run when it is short, and read back", async () => {
    const { table, sealed, plain, shows } = world();
    const run = runOf({ input: { text: SECRET } });
    await sealed.runs.create(run);
    expect(shows("Alice")).toBe(false);
    expect(table.dump().filter(({ sk }) => sk.startsWith("I#"))).toEqual([]);
    const stored = await sealed.runs.get(ref, run.runId);
    expect(stored && (await sealed.runs.payload(stored.value))).toEqual(run.payload);
    await expect(plain.runs.get(ref, run.runId)).rejects.toSatisfy(isNewerFormat);
  });

  it.each([
    ["long", SECRET.repeat(1000)],
    ["longer than an item", SECRET.repeat(20_000)],
  ])("is encrypted in an item of its own when it is %s, and read back", async (_, text) => {
    const { sealed, plain, shows } = world();
    const run = runOf({ input: { text } });
    await sealed.runs.create(run);
    expect(shows("Alice")).toBe(false);
    const stored = await sealed.runs.get(ref, run.runId);
    expect(stored?.value.payload).toBeUndefined();
    expect(stored && (await sealed.runs.payload(stored.value))).toEqual(run.payload);
    await expect(stored && plain.runs.payload(stored.value)).rejects.toMatchObject({ code: "unavailable" });
  });

  it("from before is read as it is, and shows what encryption hides (negative control)", async () => {
    const { sealed, plain, shows } = world();
    for (const text of [SECRET, SECRET.repeat(1000)]) {
      const run = runOf({ input: { text } });
      await plain.runs.create(run);
      const stored = await sealed.runs.get(ref, run.runId);
      expect(stored && (await sealed.runs.payload(stored.value))).toEqual(run.payload);
    }
    expect(shows("Alice")).toBe(true);
  });

  it("does not open as that of another run", async () => {
    const { table, sealed } = world();
    const [one, other] = ["1", "2"].map((text) => runOf({ input: text.repeat(5000) }));
    if (one === undefined || other === undefined) throw new Error("there are two runs");
    for (const run of [one, other]) await sealed.runs.create(run);
    const items = table.dump().filter(({ sk }) => sk.startsWith("I#"));
    const [first, second] = items;
    if (first === undefined || second === undefined) throw new Error("both requests have an item");
    await table.put({ ...first, attributes: second.attributes }, "any");
    const moved = [one, other].find(({ runId: id }) => first.sk.endsWith(id));
    const stored = moved && (await sealed.runs.get(ref, moved.runId));
    await expect(stored && sealed.runs.payload(stored.value)).rejects.toMatchObject({ code: "corrupt" });
  });
});

describe("frames", () => {
  it("are encrypted, few or many, and read among older ones in the clear", async () => {
    const { sealed, plain, shows } = world();
    await sealed.events.append(ref, 0, batch(0, SECRET));
    await sealed.events.append(ref, 0, batch(1, SECRET.repeat(100)));
    expect(shows("Alice")).toBe(false);
    await plain.events.append(ref, 0, batch(2, SECRET));
    expect(shows("Alice")).toBe(true);
    await plain.events.append(ref, 0, batch(3, SECRET.repeat(100)));
    const { frames } = await sealed.events.read(ref, 0, 0);
    expect(frames.map(({ frame }) => frame)).toEqual(
      [0, 1, 2, 3].flatMap((n) => batch(n, n % 2 === 0 ? SECRET : SECRET.repeat(100)).frames),
    );
    expect(await sealed.events.end(ref, 0)).toMatchObject({ next: 4, fence: 1 });
    const lost = await sealed.events.append(ref, 0, batch(0, "other"));
    expect(lost).toMatchObject({ won: false, current: batch(0, SECRET) });
  });

  it("in the clear are refused where encryption is required", async () => {
    const { strict, plain, sealed } = world();
    await sealed.events.append(ref, 0, batch(0, SECRET));
    expect((await strict.events.read(ref, 0, 0)).frames).toHaveLength(1);
    for (const [first, text] of [
      [1, SECRET],
      [2, SECRET.repeat(100)],
    ] as const) {
      await plain.events.append(ref, 0, batch(first, text));
      await expect(strict.events.read(ref, 0, first)).rejects.toMatchObject({ code: "corrupt" });
    }
  });

  it("do not open at another number", async () => {
    const { table, sealed } = world();
    await sealed.events.append(ref, 0, batch(0, SECRET));
    await sealed.events.append(ref, 0, batch(1, SECRET));
    const [first, second] = table.dump().filter(({ sk }) => sk.startsWith("E#"));
    if (first === undefined || second === undefined) throw new Error("both batches have an item");
    await table.put({ ...first, attributes: { ...first.attributes, ...second.attributes, n: 0 } }, "any");
    await expect(sealed.events.read(ref, 0, 0)).rejects.toMatchObject({ code: "corrupt" });
  });
});
