/**
 * What stands on disk outlives the version that wrote it. These are items as format 1 has them, of every kind but those
 * of the log (`checkpoint-format.test.ts`); they are never regenerated: a change that breaks this test needs a new format
 * and a reader for both.
 */
import { describe, expect, it } from "vitest";
import { decided, handedTo } from "../../src/core/hold.ts";
import { decisionId, holdId, runId, tenantId, threadId } from "../../src/core/ids.ts";
import { isNewerFormat } from "../../src/core/newer-format.ts";
import { ended, marked } from "../../src/core/run.ts";
import { heartbeat, movedOn, released, tombstone } from "../../src/core/thread-changes.ts";
import { claimKey } from "../../src/runtime/accept/idempotency.ts";
import type { Deps } from "../../src/runtime/deps.ts";
import { createAssistantRecords } from "../../src/storage/assistants.ts";
import { effectKeys, threadKeys } from "../../src/storage/keys.ts";
import { agreeOnShards } from "../../src/storage/shards.ts";
import type { Attributes, Item, Key } from "../../src/storage/table.ts";
import type { MemoryTable } from "../support/memory-table.ts";
import { createKit } from "./runtime-kit.ts";

const bytes = (base64: string): Uint8Array => Uint8Array.from(Buffer.from(base64, "base64"));

/** By partition and sort key. */
const FORMAT_1: Readonly<Record<string, Attributes>> = {
  "acme#a as-1": {
    d: '{"tenant":"acme","assistantId":"as-1","graphId":"desk","name":"Desk","description":null,"config":{"tags":["a"]},"context":{"tone":"kind"},"metadata":{},"version":1,"createdAt":1700000000000,"updatedAt":1700000000000}',
  },
  "acme#e#0b8f6f0e-3c63-4a53-9d5c-2f1c6f6f9a01 E#000002#000000000004": {
    r: "018bcfe5-6800-7000-8000-000000000001",
    f: 7,
    n: 4,
    u: 40,
    d: '[{"kind":"data","event":"metadata","data":{"run_id":"018bcfe5-6800-7000-8000-000000000001"}}]',
  },
  "acme#e#0b8f6f0e-3c63-4a53-9d5c-2f1c6f6f9a01 E#000002#000000000005": {
    r: "018bcfe5-6800-7000-8000-000000000001",
    f: 7,
    n: 5,
    u: 900,
    z: bytes(
      "i65Wys7MS1GyUkpJLElU0lFKLUvNK1GyUkouLS7Jz1XSgYhbVSvlKVkZ6CiVpFaAZEvys1PzFEYOqVRbq0NKSBmOhhSRIWU0kkMqFgA=",
    ),
  },
  "acme#i#runs#key-1 I": { k: "key-1", h: "h1", d: '{"runId":"018bcfe5-6800-7000-8000-000000000001","threadId":"t"}' },
  "acme#r#018bcfe5-6800-7000-8000-000000000001 M": { thread: "0b8f6f0e-3c63-4a53-9d5c-2f1c6f6f9a01" },
  "acme#t#0b8f6f0e-3c63-4a53-9d5c-2f1c6f6f9a01 A#hold-1": {
    g: 2,
    s: "decided",
    f: 7,
    d: '{"tenant":"acme","threadId":"0b8f6f0e-3c63-4a53-9d5c-2f1c6f6f9a01","holdId":"hold-1","generation":2,"fence":7,"runId":"018bcfe5-6800-7000-8000-000000000001","root":"018bcfe5-6800-7000-8000-000000000001","graphId":"desk","assistantId":"desk","pool":"default","startedBy":"alice","node":"ask","origin":"review","interruptId":"00000000000000000000000000000000","raisedBy":{"id":"00000000000000000000000000000000","ns":"","checkpointId":"cp-1","taskId":"task-1","ordinal":0},"value":{"kind":"review"},"request":{"number":1,"title":"Pay","action":"pay","args":{"amount":5},"groups":["payers"]},"digest":"d1","state":"decided","decision":{"id":"dec-1","by":"bob","at":1700000000000,"answer":{"type":"edit","args":{"amount":4}},"continuation":"018bcfe5-6800-5000-8000-000000000003"},"handedTo":8,"followUpDue":true,"raisedAt":1700000000000,"updatedAt":1700000000000}',
  },
  "acme#t#0b8f6f0e-3c63-4a53-9d5c-2f1c6f6f9a01 H": {
    t: "acme",
    i: "0b8f6f0e-3c63-4a53-9d5c-2f1c6f6f9a01",
    g: 2,
    q: bytes("AYvP5WgAcACAAAAAAAAAAQIAAYvP5WgAcACAAAAAAAAAAgABAYvP5WgAUACAAAAAAAAAAwEA"),
    p: ["default#desk", "batch#desk"],
    d: '{"deleted":false,"fence":7,"lease":{"owner":"host/1/abcd","beat":3,"endsAt":1700000030000},"strikes":{"count":1,"head":"cp-1","owner":"host/0/ffff"},"waiting":{"runId":"018bcfe5-6800-7000-8000-000000000001","reviews":1,"plain":0},"lastEnd":"held","priority":5,"readyAt":1700000000000,"metadata":{"kind":"item","id":"0011223344556677"},"createdAt":1699999999000,"updatedAt":1700000000000,"active":{"kind":"run"}}',
  },
  "acme#t#0b8f6f0e-3c63-4a53-9d5c-2f1c6f6f9a01 I#018bcfe5-6800-7000-8000-000000000002": {
    d: bytes("eyJpbnB1dCI6eyJ0ZXh0IjoibG9uZyJ9fQ=="),
  },
  "acme#t#0b8f6f0e-3c63-4a53-9d5c-2f1c6f6f9a01 M#0011223344556677": { d: '{"note":"long"}' },
  "acme#t#0b8f6f0e-3c63-4a53-9d5c-2f1c6f6f9a01 R#018bcfe5-6800-7000-8000-000000000001": {
    g: 2,
    s: "waiting",
    f: 7,
    d: '{"tenant":"acme","threadId":"0b8f6f0e-3c63-4a53-9d5c-2f1c6f6f9a01","runId":"018bcfe5-6800-7000-8000-000000000001","kind":"input","generation":2,"root":"018bcfe5-6800-7000-8000-000000000001","assistantId":"desk","graphId":"desk","graphVersion":"abc123","pool":"default","priority":5,"startedBy":"alice","stateless":false,"settings":{"streamModes":["values"],"streamSubgraphs":false,"streamResumable":true,"multitaskStrategy":"enqueue"},"payload":{"input":{"text":"hello"},"config":{"recursionLimit":30}},"createdAt":1700000000000,"status":"waiting","fence":7,"deliveries":2,"acceptNumber":1,"updatedAt":1700000000000,"sleep":{"kind":"retry","reason":"a node is tried again: busy","since":1700000000000,"until":1700000005000},"retries":{"task-1":2},"firstEvent":4,"startedAt":1700000000000}',
  },
  "acme#t#0b8f6f0e-3c63-4a53-9d5c-2f1c6f6f9a01 R#018bcfe5-6800-7000-8000-000000000002": {
    g: 2,
    s: "waiting",
    f: 7,
    d: '{"tenant":"acme","threadId":"0b8f6f0e-3c63-4a53-9d5c-2f1c6f6f9a01","runId":"018bcfe5-6800-7000-8000-000000000002","kind":"input","generation":2,"root":"018bcfe5-6800-7000-8000-000000000001","assistantId":"desk","graphId":"desk","graphVersion":"abc123","pool":"default","priority":5,"startedBy":"alice","stateless":false,"settings":{"streamModes":["values"],"streamSubgraphs":false,"streamResumable":true,"multitaskStrategy":"enqueue"},"createdAt":1700000000000,"status":"waiting","fence":7,"deliveries":2,"acceptNumber":1,"updatedAt":1700000000000,"sleep":{"kind":"retry","reason":"a node is tried again: busy","since":1700000000000,"until":1700000005000},"retries":{"task-1":2},"firstEvent":4,"startedAt":1700000000000}',
  },
  "acme#x#018bcfe5-6800-7000-8000-000000000001 X#tok-1": {
    f: 7,
    d: '{"tenant":"acme","runId":"018bcfe5-6800-7000-8000-000000000001","root":"018bcfe5-6800-7000-8000-000000000001","token":"tok-1","name":"pay","policy":"idempotent","path":[["pay",1,null]],"argsDigest":"a1","fence":7,"deadline":1700000009000,"outcome":{"kind":"result","value":{"ok":true}},"createdAt":1700000000000,"updatedAt":1700000000000}',
  },
};

const TIME = 1_700_000_000_000;
const TENANT = tenantId("acme");
const REF = { tenant: TENANT, threadId: threadId("0b8f6f0e-3c63-4a53-9d5c-2f1c6f6f9a01") };
const RUN = runId("018bcfe5-6800-7000-8000-000000000001");
const QUEUED = runId("018bcfe5-6800-7000-8000-000000000002");
const CONTINUATION = runId("018bcfe5-6800-5000-8000-000000000003");
const HOLD = holdId("hold-1");

const HEADER_KEY = threadKeys.header(REF);
const RUN_KEY = threadKeys.run(REF, RUN);
const HOLD_KEY = threadKeys.hold(REF, HOLD);
const EFFECT_KEY = effectKeys.entry(TENANT, RUN, "tok-1");

interface Opened {
  readonly table: MemoryTable;
  readonly deps: Deps;
}

/** A table with nothing but the fixtures. `change` is applied to each. */
async function opened(change: (attributes: Attributes) => Attributes = (same) => same): Promise<Opened> {
  const { table, deps } = createKit();
  for (const [key, attributes] of Object.entries(FORMAT_1)) {
    const [pk = "", sk = ""] = key.split(" ");
    await table.put({ pk, sk, attributes: change(attributes) }, "absent");
  }
  return { table, deps };
}

const attributesAt = async ({ table }: Opened, key: Key): Promise<Attributes | undefined> =>
  (await table.get(key))?.attributes;
const fixture = ({ pk, sk }: Key): Attributes => {
  const found = FORMAT_1[`${pk} ${sk}`];
  if (!found) throw new Error(`no fixture of ${pk} ${sk}`);
  return found;
};
const bodyOf = (attributes: Attributes | undefined): unknown => JSON.parse(attributes?.["d"] as string); // it is text
async function valueOf<T>(reading: Promise<{ readonly value: T; readonly version: number } | undefined>) {
  const found = await reading;
  if (!found) throw new Error("nothing was read");
  return found;
}

describe("items of format 1 are read as what was written", () => {
  it("a header, with its queue and what its metadata are", async () => {
    const { deps } = await opened();
    const { value } = await valueOf(deps.threads.get(REF));
    expect(value).toEqual({
      ...REF,
      generation: 2,
      deleted: false,
      fence: 7,
      lease: { owner: "host/1/abcd", beat: 3, endsAt: TIME + 30_000 },
      active: {
        kind: "run",
        entry: { runId: RUN, kind: "input", pool: "default", graphId: "desk", stop: "interrupt" },
      },
      strikes: { count: 1, head: "cp-1", owner: "host/0/ffff" },
      queue: [
        { runId: QUEUED, kind: "input", pool: "batch", graphId: "desk" },
        { runId: CONTINUATION, kind: "continuation", pool: "default", graphId: "desk" },
      ],
      waiting: { runId: RUN, reviews: 1, plain: 0 },
      lastEnd: "held",
      priority: 5,
      readyAt: TIME,
      metadata: { kind: "item", id: "0011223344556677" },
      createdAt: TIME - 1000,
      updatedAt: TIME,
    });
    expect(await deps.threads.metadata(value)).toEqual({ note: "long" });
  });

  it("a run, with its request, also when that is an item of its own", async () => {
    const { deps } = await opened();
    const { value } = await valueOf(deps.runs.get(REF, RUN));
    expect(value).toMatchObject({
      ...REF,
      status: "waiting",
      generation: 2,
      fence: 7,
      deliveries: 2,
      acceptNumber: 1,
      root: RUN,
      graphVersion: "abc123",
      settings: { streamModes: ["values"], streamResumable: true, multitaskStrategy: "enqueue" },
      sleep: { kind: "retry", until: TIME + 5000 },
      retries: { "task-1": 2 },
      firstEvent: 4,
    });
    expect(await deps.runs.payload(value)).toEqual({ input: { text: "hello" }, config: { recursionLimit: 30 } });
    const long = await valueOf(deps.runs.get(REF, QUEUED));
    expect(await deps.runs.payload(long.value)).toEqual({ input: { text: "long" } });
    expect(await deps.runs.threadOf(TENANT, RUN)).toBe(REF.threadId);
  });

  it("a hold, with its decision", async () => {
    const { deps } = await opened();
    expect((await valueOf(deps.holds.get(REF, HOLD))).value).toMatchObject({
      ...REF,
      state: "decided",
      fence: 7,
      handedTo: 8,
      followUpDue: true,
      digest: "d1",
      request: { action: "pay", args: { amount: 5 }, groups: ["payers"] },
      decision: { by: "bob", answer: { type: "edit", args: { amount: 4 } }, continuation: CONTINUATION },
    });
  });

  it("an effect, an assistant and an idempotency key", async () => {
    const { deps, table } = await opened();
    expect((await valueOf(deps.effects.get(TENANT, RUN, "tok-1"))).value).toMatchObject({
      policy: "idempotent",
      path: [["pay", 1, null]],
      argsDigest: "a1",
      outcome: { kind: "result", value: { ok: true } },
    });
    expect((await valueOf(createAssistantRecords(table).get(TENANT, "as-1"))).value).toMatchObject({
      graphId: "desk",
      config: { tags: ["a"] },
      context: { tone: "kind" },
    });
    const claim = { key: "key-1", bodyHash: "h1", result: { runId: QUEUED } };
    expect(await claimKey(deps, TENANT, claim)).toEqual({ result: { runId: RUN, threadId: "t" }, repeated: true });
  });

  it("batches of events, as text and compressed", async () => {
    const { deps } = await opened();
    const { frames } = await deps.events.read(REF, 2, 4);
    expect(frames.map(({ number, runId: of, frame }) => [number, of, "data" in frame && frame.data])).toEqual([
      [4, RUN, { run_id: RUN }],
      ...[0, 1, 2].map((n) => [5 + n, RUN, { n, text: "token ".repeat(40) }]),
    ]);
    expect(await deps.events.end(REF, 2)).toEqual({ next: 8, fence: 7, runId: RUN, usedBytes: 900 });
  });
});

describe("an item that is written again", () => {
  /** The nouns that are written again, by changes that they go through. */
  const CHANGES: readonly (readonly [string, Key, (deps: Deps) => Promise<unknown>])[] = [
    [
      "header",
      HEADER_KEY,
      async ({ threads, runs }) => {
        const run = (await valueOf(runs.get(REF, RUN))).value;
        const over = { ...run, status: "success" } as const;
        await threads.update(REF, (thread) => heartbeat(thread, { owner: "host/1/abcd", leaseMs: 1, now: TIME }));
        await threads.update(REF, (thread) => released(movedOn(thread, over, TIME + 1), TIME + 2));
      },
    ],
    [
      "run",
      RUN_KEY,
      async ({ runs }) => {
        const delivery = { fence: 8, firstEvent: 9, graphVersion: "abc124" };
        const end = { at: TIME, holds: [], waiting: "unchanged", interrupts: [] } as const;
        await runs.update(REF, RUN, (run) => marked(run, delivery, TIME));
        await runs.update(REF, RUN, (run) => ended(run, 8, { status: "success", end }));
      },
    ],
    [
      "hold",
      HOLD_KEY,
      async ({ holds }) => {
        const by = { by: "bob", at: TIME, answer: { type: "approve" }, continuation: CONTINUATION } as const;
        await holds.update(REF, HOLD, (hold) => handedTo(hold, 9, CONTINUATION));
        await holds.update(REF, HOLD, (hold) => decided(hold, { ...by, id: decisionId("dec-2") }));
      },
    ],
    [
      "effect",
      EFFECT_KEY,
      async ({ effects }) => {
        const { value, version } = await valueOf(effects.get(TENANT, RUN, "tok-1"));
        await effects.put({ ...value, updatedAt: TIME + 1 }, { version });
      },
    ],
  ];

  it.each(CHANGES)("keeps what a later version has added to it: %s", async (_, key, change) => {
    const added = { zz: ["from", "later"], z9: { n: 1 } };
    const at = await opened((attributes) => ({ ...attributes, ...added }));
    await change(at.deps);
    const after = await attributesAt(at, key);
    expect(after).toMatchObject(added);
    expect(after?.["d"]).not.toEqual(fixture(key)["d"]);
  });

  it("loses what it does not have any more, since that is known here (negative control)", async () => {
    const at = await opened((attributes) => ({ ...attributes, zz: 1 }));
    await at.deps.threads.update(REF, (thread) => tombstone(thread, TIME));
    const after = await attributesAt(at, HEADER_KEY);
    expect(after).toHaveProperty("zz");
    expect(after).not.toHaveProperty("q");
    expect(after).not.toHaveProperty("p");
  });

  it.each([
    ["header", HEADER_KEY, ({ threads }: Deps) => threads.update(REF, (thread) => ({ ...thread }))],
    ["run", RUN_KEY, ({ runs }: Deps) => runs.update(REF, RUN, (run) => ({ ...run }))],
    ["hold", HOLD_KEY, ({ holds }: Deps) => holds.update(REF, HOLD, (hold) => ({ ...hold }))],
  ] as const)("is what older versions read, and no byte longer: %s", async (_, key, write) => {
    const at = await opened();
    await write(at.deps);
    const after = await attributesAt(at, key);
    expect(Object.keys(after ?? {}).toSorted()).toEqual(Object.keys(fixture(key)).toSorted());
    expect(bodyOf(after)).toEqual(bodyOf(fixture(key)));
    expect(after?.["q"]).toEqual(fixture(key)["q"]);
  });
});

describe("an item of a format to come", () => {
  /** As little as it may have in common with this format. */
  const later = (): Attributes => ({ v: 2, x: Uint8Array.of(1, 2) });
  const READERS: readonly (readonly [string, (at: Opened) => Promise<unknown>])[] = [
    ["a header", ({ deps }) => deps.threads.get(REF)],
    ["a run", ({ deps }) => deps.runs.get(REF, RUN)],
    ["the thread of a run", ({ deps }) => deps.runs.threadOf(TENANT, RUN)],
    ["a hold", ({ deps }) => deps.holds.get(REF, HOLD)],
    ["holds by their ids", ({ deps }) => deps.holds.getMany(REF, [HOLD])],
    ["every hold of a thread", ({ deps }) => deps.holds.ofThread(REF, 2)],
    ["an effect", ({ deps }) => deps.effects.get(TENANT, RUN, "tok-1")],
    ["every effect of a lineage", ({ deps }) => deps.effects.ofRoot(TENANT, RUN)],
    ["the end of the events", ({ deps }) => deps.events.end(REF, 2)],
    ["a page of events", ({ deps }) => deps.events.read(REF, 2, 4)],
    ["an assistant", ({ table }) => createAssistantRecords(table).get(TENANT, "as-1")],
    ["an idempotency key", ({ deps }) => claimKey(deps, TENANT, { key: "key-1", bodyHash: "h1", result: {} })],
  ];

  it.each(READERS)("is not judged: %s", async (_, read) => {
    const error: unknown = await read(await opened(later)).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "unsupported", detail: { reason: "newer_format" } });
    expect(isNewerFormat(error)).toBe(true);
    expect(error).toHaveProperty("message", expect.stringContaining("written by a newer version of Holdpoint"));
  });

  it.each(READERS)("is corrupt when there never was such a format: %s", async (_, read) => {
    const at = await opened((attributes) => ({ ...attributes, v: 0 }));
    await expect(read(at)).rejects.toMatchObject({ code: "corrupt" });
  });

  it("is not judged where it won a race", async () => {
    const { deps, table } = await opened();
    const { value, version } = await valueOf(deps.threads.get(REF));
    await table.put({ ...HEADER_KEY, attributes: later() }, "any");
    await expect(deps.threads.put(value, { version })).rejects.toSatisfy(isNewerFormat);
    await expect(deps.threads.put(value, "absent")).rejects.toSatisfy(isNewerFormat);
    expect((await table.get(HEADER_KEY))?.attributes).toEqual(later());
  });

  it("is not judged by what it is part of: request, metadata, number of shards", async () => {
    const { deps, table } = await opened();
    const header = (await valueOf(deps.threads.get(REF))).value;
    const long = (await valueOf(deps.runs.get(REF, QUEUED))).value;
    for (const key of [threadKeys.runBody(REF, QUEUED), threadKeys.metadata(REF, "0011223344556677")])
      await table.put({ ...key, attributes: later() }, "any");
    await expect(deps.runs.payload(long)).rejects.toSatisfy(isNewerFormat);
    await expect(deps.threads.metadata(header)).rejects.toSatisfy(isNewerFormat);
    await agreeOnShards(table, 4);
    const agreed = table.dump().find(({ attributes }) => attributes["n"] === 4 && attributes["f"] === undefined);
    await table.put({ ...(agreed as Item), attributes: later() }, "any"); // it was found or the next line fails
    await expect(agreeOnShards(table, 4)).rejects.toSatisfy(isNewerFormat);
  });

  it("is passed over by lists, which show the others", async () => {
    const { deps, table } = await opened();
    await table.put({ ...RUN_KEY, attributes: { v: 2 } }, "any");
    expect((await deps.runs.list(REF, 2)).map((run) => run.runId)).toEqual([QUEUED]);
    const of = [RUN, QUEUED].map((id) => ({ ...REF, runId: id }));
    expect((await deps.runs.getMany(of)).map(({ value }) => value.runId)).toEqual([QUEUED]);
    const assistants = createAssistantRecords(table);
    const { value } = await valueOf(assistants.get(TENANT, "as-1"));
    await assistants.create({ ...value, assistantId: "as-2" });
    await table.put({ pk: "acme#a", sk: "as-1", attributes: { v: 2 } }, "any");
    expect((await assistants.list(TENANT, 10)).map(({ assistantId }) => assistantId)).toEqual(["as-2"]);
  });
});
