/** What graphs and people wrote is encrypted in every record; what moves a record on stays in the clear. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createBodies } from "../../src/checkpoint/store/bodies.ts";
import { createStore } from "../../src/checkpoint/store/store.ts";
import type { EffectEntry } from "../../src/core/effect.ts";
import { decided } from "../../src/core/hold.ts";
import type { Hold } from "../../src/core/hold.ts";
import { decisionId, holdId, runId, systemIds, tenantId, threadId } from "../../src/core/ids.ts";
import type { TenantId } from "../../src/core/ids.ts";
import { isNewerFormat } from "../../src/core/newer-format.ts";
import type { Run } from "../../src/core/run.ts";
import { tombstone } from "../../src/core/thread-changes.ts";
import { newThread } from "../../src/core/thread.ts";
import { createAssistantRecords } from "../../src/storage/assistants.ts";
import type { AssistantRecord } from "../../src/storage/assistants.ts";
import { createEffects } from "../../src/storage/effects.ts";
import { packed, putBack, takenOut, unpacked } from "../../src/storage/encryption/parts.ts";
import { sealedBlobs } from "../../src/storage/encryption/sealed-blobs.ts";
import { plainSealers } from "../../src/storage/encryption/sealer.ts";
import type { Sealers } from "../../src/storage/encryption/sealer.ts";
import { createHolds } from "../../src/storage/holds.ts";
import { storeKeys, threadKeys } from "../../src/storage/keys.ts";
import { createRuns } from "../../src/storage/runs.ts";
import { createStoreItems } from "../../src/storage/store-items.ts";
import type { StoreItem } from "../../src/storage/store-items.ts";
import type { Attributes, Item, Table } from "../../src/storage/table.ts";
import { createThreads } from "../../src/storage/threads.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { createMemoryTable } from "../support/memory-table.ts";
import { encryptionOn } from "../support/sealers.ts";
import { createKit, looseRun } from "./runtime-kit.ts";

const SECRET = "the customer's name is Alice";
const NAMED = "Alice";
const tenant = tenantId("acme");
const ref = { tenant, threadId: threadId("0b8f6f0e-3c63-4a53-9d5c-2f1c6f6f9a01") };
const [ONE, OTHER] = ["018bcfe5-6800-7000-8000-000000000001", "018bcfe5-6800-7000-8000-000000000002"] as const;
const kit = createKit();

const runOf = (id: string): Run =>
  looseRun(kit, {
    ...ref,
    runId: runId(id),
    status: "error",
    error: { name: "Error", message: SECRET },
    sleep: { kind: "retry", reason: SECRET, since: 1, until: 2 },
    cancelAsked: { by: "bob", at: 1, reason: SECRET },
    end: { at: 3, holds: [holdId("h")], waiting: "unchanged", interrupts: [{ id: "i", value: SECRET }] },
  });

const holdOf = (id: string): Hold => ({
  ...ref,
  holdId: holdId(id),
  generation: 0,
  fence: 1,
  runId: runId(ONE),
  root: runId(ONE),
  graphId: "g",
  assistantId: "g",
  pool: "default",
  startedBy: "bob",
  node: "ask",
  origin: "review",
  interruptId: "i",
  raisedBy: { id: "i", ns: "", checkpointId: "c", taskId: "t", ordinal: 0 },
  value: { text: SECRET },
  request: { number: 1, title: SECRET, action: "pay", args: { to: SECRET } },
  digest: SECRET,
  state: "pending",
  followUpDue: false,
  reason: SECRET,
  raisedAt: 1,
  updatedAt: 1,
});
const answered = (hold: Hold): Hold =>
  decided(hold, {
    id: decisionId("d"),
    by: "bob",
    at: 2,
    comment: SECRET,
    answer: { type: "response", message: SECRET },
    continuation: runId(OTHER),
  });

const effectOf = (token: string): EffectEntry => ({
  tenant,
  root: runId(ONE),
  token,
  name: "pay",
  policy: "unsafe",
  path: [["pay", 1, null]],
  argsDigest: SECRET,
  fence: 1,
  runId: runId(ONE),
  deadline: 1,
  outcome: { kind: "result", value: { receipt: SECRET } },
  createdAt: kit.table.now(),
  updatedAt: kit.table.now(),
});

const assistantOf = (assistantId: string): AssistantRecord => ({
  tenant,
  assistantId,
  graphId: "g",
  name: SECRET,
  description: SECRET,
  config: { tags: [SECRET] },
  context: { text: SECRET },
  metadata: { text: SECRET },
  version: 1,
  createdAt: 1,
  updatedAt: 1,
});

const itemOf = (key: string): StoreItem => ({
  tenant,
  namespace: ["notes"],
  key,
  json: JSON.stringify({ text: SECRET }),
  vectors: { dims: 2, bytes: new Uint8Array(Buffer.from(`${NAMED}123`)) },
  createdAt: 1,
  updatedAt: 1,
});

function open(table: Table, sealers: Sealers) {
  const blobs = sealedBlobs(createMemoryBlobs(), sealers);
  return {
    threads: createThreads({ table, shards: 1, sealers }),
    runs: createRuns({ table, blobs, shards: 1, sealers }),
    holds: createHolds(table, 1, sealers),
    effects: createEffects({ table, blobs, shards: 1, sealers }),
    assistants: createAssistantRecords(table, sealers),
    items: createStoreItems(table, sealers),
    store: createStore({ table, blobs, sealers, tenant }),
  };
}
type Opened = ReturnType<typeof open>;

function world() {
  const table = createMemoryTable({ now: () => kit.table.now() });
  const { dataKeys, sealers, strict } = encryptionOn(table);
  /** Of everything but the wrapped keys. */
  const items = (): readonly Item[] => table.dump().filter(({ pk }) => !pk.endsWith("#k"));
  return {
    table,
    dataKeys,
    items,
    sealed: open(table, sealers),
    strict: open(table, strict),
    plain: open(table, plainSealers),
    shows: (text: string): boolean => items().some((item) => says(item, text)),
  };
}

const says = ({ pk, sk, attributes, index }: Item, text: string): boolean =>
  [pk, sk, JSON.stringify(index ?? {}), ...Object.values(attributes)].some((value) =>
    value instanceof Uint8Array ? Buffer.from(value).includes(text) : JSON.stringify(value).includes(text),
  );

interface Noun {
  readonly name: string;
  write(on: Opened, id: string): Promise<unknown>;
  /** The value, or undefined when it is not there. */
  read(on: Opened, id: string, as?: TenantId): Promise<unknown>;
  readonly whole: (id: string) => unknown;
  /** What can be read by who has no key. */
  readonly clear: Readonly<Record<string, unknown>>;
}

const short = { note: SECRET };
const long = { note: SECRET.repeat(10) };
const threadOf = (id: string) => ({ tenant, threadId: threadId(id) });
const writeThread = async ({ threads }: Opened, id: string, metadata: typeof short) =>
  threads.put(newThread(threadOf(id), await threads.keepMetadata(threadOf(id), metadata, "m"), 1), "absent");
const readMetadata = async ({ threads }: Opened, id: string, as = tenant): Promise<unknown> => {
  const stored = await threads.get({ ...threadOf(id), tenant: as });
  return stored && threads.metadata(stored.value);
};

const NOUNS: readonly Noun[] = [
  {
    name: "a run",
    write: ({ runs }, id) => runs.create(runOf(id)),
    read: async ({ runs }, id, as = tenant) => (await runs.get({ ...ref, tenant: as }, runId(id)))?.value,
    whole: (id) => ({ ...runOf(id), root: expect.any(String) as unknown }),
    clear: { s: "error", g: 0, f: 0 },
  },
  {
    name: "a hold",
    write: ({ holds }, id) => holds.put(answered(holdOf(id)), "absent"),
    read: async ({ holds }, id, as = tenant) => (await holds.get({ ...ref, tenant: as }, holdId(id)))?.value,
    whole: (id) => answered(holdOf(id)),
    clear: { s: "decided", g: 0, f: 1 },
  },
  {
    name: "an effect",
    write: ({ effects }, id) => effects.put(effectOf(id), "absent"),
    read: async ({ effects }, id, as = tenant) => (await effects.get(as, runId(ONE), id))?.value,
    whole: effectOf,
    clear: { f: 1 },
  },
  {
    name: "an assistant",
    write: ({ assistants }, id) => assistants.create(assistantOf(id)),
    read: async ({ assistants }, id, as = tenant) => (await assistants.get(as, id))?.value,
    whole: assistantOf,
    clear: {},
  },
  {
    name: "an item of long-term memory",
    write: ({ items }, id) => items.put(itemOf(id), "absent"),
    read: async ({ items }, id, as = tenant) => (await items.get(storeKeys.item(as, ["notes"], id)))?.value,
    whole: itemOf,
    clear: { t: "acme", w: 2 },
  },
  {
    name: "metadata of a thread",
    write: (on, id) => writeThread(on, id, short),
    read: readMetadata,
    whole: () => short,
    clear: { t: "acme", g: 0 },
  },
];
const LONG: Noun = {
  name: "long metadata of a thread",
  write: (on, id) => writeThread(on, id, long),
  read: readMetadata,
  whole: () => long,
  clear: {},
};
const ALL = [...NOUNS, LONG].map((noun) => [noun.name, noun] as const);

/** The items of one noun that are sealed, by their ids. */
const sealedItems = (items: readonly Item[]): readonly [Item, Item] => {
  const [one, other, ...more] = items.filter(({ attributes: { v } }) => v === 2);
  if (!one || !other || more.length > 0) throw new Error(`${more.length + 2} items are sealed`);
  return [one, other];
};
const bytesIn = ({ attributes: { z } }: Item): Uint8Array => {
  if (z instanceof Uint8Array) return z;
  throw new Error("the item has no sealed bytes");
};

describe.each(ALL)("%s", (_, noun) => {
  it("is read as it was written, and shows nothing of what it says", async () => {
    const { sealed, strict, items, shows } = world();
    await noun.write(sealed, ONE);
    expect(await noun.read(sealed, ONE)).toEqual(noun.whole(ONE));
    expect(await noun.read(strict, ONE)).toEqual(noun.whole(ONE));
    expect(shows(NAMED)).toBe(false);
    const found = items().find(({ attributes: { v } }) => v === 2);
    expect(found?.attributes).toMatchObject({ ...noun.clear, z: expect.any(Uint8Array) as unknown });
  });

  it("shows it without keys, in format 1 (negative control)", async () => {
    const { plain, items, shows } = world();
    await noun.write(plain, ONE);
    expect(shows(NAMED)).toBe(true);
    for (const { attributes } of items()) {
      expect(attributes).not.toHaveProperty("v");
      expect(attributes).not.toHaveProperty("z");
    }
  });

  it("from before keys is read as it is, and refused where encryption is required", async () => {
    const { plain, sealed, strict } = world();
    await noun.write(plain, ONE);
    const whole = await noun.read(plain, ONE);
    expect(await noun.read(sealed, ONE)).toEqual(whole);
    await expect(noun.read(strict, ONE)).rejects.toMatchObject({ code: "corrupt" });
  });

  it("is left to others by who has no key", async () => {
    const { sealed, plain } = world();
    await noun.write(sealed, ONE);
    await expect(noun.read(plain, ONE)).rejects.toSatisfy(isNewerFormat);
    await expect(noun.read(plain, ONE)).rejects.toThrow("needs an encryption key");
  });

  it("does not open when it was swapped, moved, cut or taken away, and is named", async () => {
    const { table, sealed, items } = world();
    for (const id of [ONE, OTHER]) await noun.write(sealed, id);
    const [one, other] = sealedItems(items());
    const bytes = bytesIn(one);
    const damaged: readonly Attributes[] = [
      { ...one.attributes, z: bytesIn(other) },
      { ...one.attributes, z: bytes.subarray(0, -1) },
      { ...one.attributes, z: bytes.subarray(0, 20) },
      { ...one.attributes, z: bytes.with(bytes.length - 20, (bytes.at(-20) ?? 0) ^ 1) },
      // As if it were in the clear, which is still read where an item says so.
      { ...one.attributes, z: new Uint8Array(bytes).fill(7, 0, 8) },
      { ...one.attributes, z: Buffer.from('{"note":"forged"}') },
      { ...one.attributes, z: new Uint8Array() },
    ];
    for (const attributes of damaged) {
      await table.put({ ...one, attributes }, "any");
      await expect(noun.read(sealed, ONE)).rejects.toMatchObject({
        code: "corrupt",
        message: expect.stringContaining(`item ${one.sk} of partition ${one.pk}`) as unknown,
      });
      expect(await noun.read(sealed, OTHER)).toEqual(noun.whole(OTHER));
    }
    const { z: _z, ...without } = one.attributes;
    await table.put({ ...one, attributes: without }, "any");
    await expect(noun.read(sealed, ONE)).rejects.toMatchObject({ code: "corrupt" });
    await table.put(one, "any");
    expect(await noun.read(sealed, ONE)).toEqual(noun.whole(ONE));
  });

  it.each([
    ["says so", true],
    ["still says whose it was", false],
  ])("does not open in the partition of another tenant, also when it %s", async (_says, isForged) => {
    const { table, sealed, items } = world();
    await noun.write(sealed, ONE);
    for (const item of items()) {
      const attributes = isForged ? asIfOf(other, item.attributes) : item.attributes;
      await table.put({ ...item, pk: item.pk.replace(/^acme/, other), attributes }, "any");
    }
    await expect(noun.read(sealed, ONE, other)).rejects.toMatchObject({ code: "corrupt" });
    expect(await noun.read(sealed, ONE)).toEqual(noun.whole(ONE));
  });
});

const other = tenantId("other");
const asIfOf = (of: TenantId, attributes: Attributes): Attributes =>
  Object.fromEntries(
    Object.entries(attributes).map(([name, value]) => [
      name,
      typeof value === "string" ? value.replaceAll(/^acme$|(?<=")acme(?=")/g, of) : value,
    ]),
  );

describe("a tenant whose keys were dropped", () => {
  const dropped = async () => {
    const at = world();
    for (const [, noun] of ALL.slice(0, -1)) await noun.write(at.sealed, ONE);
    await at.dataKeys.drop(tenant);
    return at;
  };
  const gone = { code: "gone", detail: { reason: "keys_dropped" } };

  it("has runs that can still be listed, moved on and removed, and keep what nobody can read", async () => {
    const { sealed, items } = await dropped();
    const run = (await sealed.runs.get(ref, runId(ONE)))?.value;
    expect(run).toMatchObject({ status: "error", error: { name: "gone" }, end: { holds: ["h"], interrupts: [] } });
    expect(await sealed.runs.list(ref, 0)).toHaveLength(1);
    const bytesOf = () => items().find(({ sk }) => sk === `R#${ONE}`)?.attributes["z"];
    const before = bytesOf();
    const after = await sealed.runs.update(ref, runId(ONE), (now) => ({ ...now, followUpAt: 9 }));
    expect(after?.value.followUpAt).toBe(9);
    expect((await sealed.runs.get(ref, runId(ONE)))?.value).toMatchObject({ followUpAt: 9, error: { name: "gone" } });
    expect(bytesOf()).toEqual(before);
    if (after) expect(await sealed.runs.remove(after)).toEqual({ outcome: "removed" });
  });

  it("has requests that are gone, also those that stood on their runs before there were keys", async () => {
    const { plain, sealed, dataKeys } = world();
    await plain.runs.create({ ...runOf(ONE), payload: { input: SECRET } });
    await sealed.runs.update(ref, runId(ONE), (now) => ({ ...now, followUpAt: 9 }));
    const payload = async () => sealed.runs.payload((await sealed.runs.get(ref, runId(ONE)))?.value ?? runOf(ONE));
    expect(await payload()).toEqual({ input: SECRET });
    await dataKeys.drop(tenant);
    await expect(payload()).rejects.toMatchObject(gone);
  });

  it("has headers that can be moved on and deleted, whose metadata are gone", async () => {
    const { sealed } = await dropped();
    await expect(readMetadata(sealed, ONE)).rejects.toMatchObject(gone);
    const after = await sealed.threads.update(threadOf(ONE), (thread) => tombstone(thread, 2));
    expect(after?.value).toMatchObject({ deleted: true, generation: 1 });
  });

  it("has holds, effects and assistants that are gone, and that lists go on without", async () => {
    const { sealed } = await dropped();
    for (const noun of NOUNS.slice(1, 4)) {
      await expect(noun.read(sealed, ONE)).rejects.toMatchObject(gone);
    }
    await expect(sealed.effects.ofRoot(tenant, runId(ONE))).rejects.toMatchObject(gone);
    expect((await sealed.holds.list(tenant, false, {})).items).toEqual([]);
    expect(await sealed.assistants.list(tenant, 10)).toEqual([]);
  });

  it("has long-term memory that is gone, and that can be replaced and removed once there are keys again", async () => {
    const { sealed, dataKeys } = await dropped();
    await expect(sealed.store.get(["notes"], ONE)).rejects.toMatchObject(gone);
    await dataKeys.renew(tenant);
    await sealed.store.put(["notes"], OTHER, { text: "new" });
    expect((await sealed.store.search(["notes"])).map(({ key }) => key)).toEqual([OTHER]);
    expect((await sealed.store.search(["notes"], { filter: { text: "new" } })).map(({ key }) => key)).toEqual([OTHER]);
    await sealed.store.put(["notes"], ONE, { text: "again" });
    expect((await sealed.store.get(["notes"], ONE))?.value).toEqual({ text: "again" });
    await sealed.store.delete(["notes"], ONE);
    expect(await sealed.store.get(["notes"], ONE)).toBeNull();
  });
});

describe("an item that is written again", () => {
  it("is encrypted then, and keeps what a later version has added", async () => {
    const { table, plain, sealed, shows } = world();
    await plain.holds.put(holdOf("h"), "absent");
    const key = threadKeys.hold(ref, holdId("h"));
    const item = await table.get(key);
    if (!item) throw new Error("the hold has an item");
    await table.put({ ...item, attributes: { ...item.attributes, zz: 1 } }, "any");
    expect(shows(NAMED)).toBe(true);
    await sealed.holds.update(ref, holdId("h"), answered);
    expect(shows(NAMED)).toBe(false);
    expect((await table.get(key))?.attributes).toMatchObject({ zz: 1, v: 2, s: "decided" });
    expect((await sealed.holds.get(ref, holdId("h")))?.value).toMatchObject(answered(holdOf("h")));
  });

  it("needs no key to move a thread on", async () => {
    const { table, dataKeys, sealed } = world();
    await writeThread(sealed, ONE, short);
    await dataKeys.drop(tenant);
    const calls: string[] = [];
    const counted: Table = { ...table, get: (key) => (calls.push(key.sk), table.get(key)) };
    const { sealers } = encryptionOn(table);
    const moved = await open(counted, sealers).threads.update(threadOf(ONE), (thread) => ({ ...thread, fence: 5 }));
    expect(moved?.value.fence).toBe(5);
    expect(calls).toEqual(["H"]);
  });

  it("of a lost race is read with its content", async () => {
    const { sealed } = world();
    await sealed.effects.put(effectOf("t"), "absent");
    const written = await sealed.effects.put(effectOf("t"), "absent");
    expect(written).toMatchObject({ won: false, current: { value: effectOf("t") } });
  });
});

describe("a value that just fits into an item", () => {
  it("fits into it encrypted, whatever it consists of", async () => {
    const { table, sealed, items } = world();
    const text = '"\\'.repeat(80_000);
    const bodies = createBodies({ blobs: createMemoryBlobs(), ids: systemIds, items: createStoreItems(table) });
    const item = await bodies.fitted({ ...itemOf("k"), json: JSON.stringify({ text }) });
    expect(item.json).toBeDefined();
    await sealed.items.put(item, "absent");
    expect(items()).toHaveLength(1);
    expect((await sealed.store.get(["notes"], "k"))?.value).toEqual({ text });
  });
});

describe("the fields that are content", () => {
  const field = fc.oneof(
    fc.string({ unit: "binary" }),
    fc.constant("\ud800"),
    fc.uint8Array(),
    fc.jsonValue().map((value) => JSON.parse(JSON.stringify(value)) as unknown),
  );

  it("come back as they were, whatever they are", () => {
    const record = fc.record(
      { id: fc.string(), a: field, in: fc.record({ b: field, id: fc.nat() }) },
      { requiredKeys: ["id"] },
    );
    fc.assert(
      fc.property(record, (value) => {
        const [rest, parts] = takenOut(value, ["a", "in.b", "none.at.all"]);
        expect(rest).not.toHaveProperty("a");
        expect(rest).not.toHaveProperty("in.b");
        expect(putBack(rest, unpacked(packed(parts)))).toEqual(value);
      }),
    );
  });

  it("are refused where the rest has no place for them", () => {
    expect(() => putBack({ end: null }, new Map([["end.interrupts", []]]))).toThrow("lacks the field end");
  });
});
