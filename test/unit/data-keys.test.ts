import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { systemIds, tenantId, threadId } from "../../src/core/ids.ts";
import type { TenantId } from "../../src/core/ids.ts";
import { createLocalKeys } from "../../src/local/local-keys.ts";
import { createDataKeys } from "../../src/storage/encryption/data-keys.ts";
import type { DataKeysOptions } from "../../src/storage/encryption/data-keys.ts";
import type { Place } from "../../src/storage/encryption/envelope.ts";
import { sealedBlobs } from "../../src/storage/encryption/sealed-blobs.ts";
import { createSealers, plainSealer } from "../../src/storage/encryption/sealer.ts";
import type { Sealers, SealersOptions } from "../../src/storage/encryption/sealer.ts";
import { combinedKeys } from "../../src/storage/encryption/wrapping-keys.ts";
import type { WrappingKeys } from "../../src/storage/encryption/wrapping-keys.ts";
import { createManualClock } from "../support/manual-clock.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { createMemoryTable } from "../support/memory-table.ts";

const DAY_MS = 86_400_000;
const KEEP_MS = 300_000;
const KEY = randomBytes(32).toString("base64");
const acme = tenantId("acme");
const body = Buffer.from("the customer's name is Alice");
const placeOf = (tenant: TenantId, part = "body"): Place => ({
  tenant,
  threadId: threadId("t"),
  ns: "",
  checkpointId: "",
  part,
});
const at = placeOf(acme);

/** Wrapping keys whose calls are counted. */
function counted(keys: WrappingKeys) {
  const calls = { newDataKey: 0, unwrap: 0 };
  const counting: WrappingKeys = {
    newDataKey: (tenant) => (calls.newDataKey++, keys.newDataKey(tenant)),
    unwrap: (tenant, wrapped) => (calls.unwrap++, keys.unwrap(tenant, wrapped)),
    owns: (wrappedBy) => keys.owns(wrappedBy),
  };
  return { calls, keys: counting };
}

/** Several processes on one table and one clock. */
function world() {
  const clock = createManualClock();
  const table = createMemoryTable({ now: () => clock.wall() });
  const open = (
    keys: WrappingKeys = createLocalKeys([KEY]),
    options: Partial<DataKeysOptions> & Partial<Omit<SealersOptions, "dataKeys">> = {},
  ) => {
    const { required = false, maxSealed, ...rest } = options;
    const dataKeys = createDataKeys({ table, keys, clock, ids: systemIds, ...rest });
    const sealers = createSealers({ dataKeys, required, ...(maxSealed === undefined ? {} : { maxSealed }) });
    return { dataKeys, sealers };
  };
  return { clock, table, open };
}

async function sealed(sealers: Sealers, place: Place = at): Promise<Uint8Array> {
  const sealer = sealers(place.tenant);
  await sealer.ready();
  return sealer.seal(body, place);
}
const opened = async (sealers: Sealers, stored: Uint8Array, place: Place = at): Promise<string> =>
  Buffer.from(await sealers(place.tenant).open(stored, place)).toString();

describe("the data keys of a tenant", () => {
  it("are shared by every process on a table, and open what any of them sealed", async () => {
    const { table, open } = world();
    const processes = [open(), open(), open()];
    const stored = await Promise.all(processes.map(({ sealers }) => sealed(sealers)));
    const ids = new Set(stored.map((bytes) => Buffer.from(bytes.subarray(9, 17)).toString("hex")));
    const late = await sealed(open().sealers);
    expect(ids).toContain(Buffer.from(late.subarray(9, 17)).toString("hex"));
    for (const bytes of [...stored, late]) {
      for (const { sealers } of processes) expect(await opened(sealers, bytes)).toBe(body.toString());
    }
    // Nothing of what the table holds is a key in the open.
    const { key } = (await processes[0]?.dataKeys.current(acme)) ?? { key: new Uint8Array() };
    const values = table.dump().flatMap(({ attributes }) => Object.values(attributes));
    const held = values.filter((value) => value instanceof Uint8Array);
    expect(held.length).toBeGreaterThan(0);
    expect(held.some((value) => Buffer.from(value).includes(Buffer.from(key)))).toBe(false);
  });

  it("are those of one tenant: another's place is refused, and another's key opens nothing", async () => {
    const { table, open } = world();
    const { sealers } = open();
    const stored = await sealed(sealers);
    const sealer = sealers(acme);
    await sealer.ready();
    expect(() => sealer.seal(body, placeOf(tenantId("globex")))).toThrow("another tenant");
    await expect(opened(sealers, stored, placeOf(tenantId("globex")))).rejects.toMatchObject({ code: "corrupt" });
    // Also when somebody moves the wrapped key along: it was wrapped for its tenant.
    for (const { pk, sk, attributes } of table.dump()) {
      if (sk.startsWith("K#")) await table.put({ pk: pk.replace("acme", "globex"), sk, attributes }, "any");
    }
    await expect(opened(open().sealers, stored, placeOf(tenantId("globex")))).rejects.toMatchObject({
      code: "corrupt",
    });
  });

  it("are replaced when their time has come, and the older ones still open what they sealed", async () => {
    const { clock, open } = world();
    const { sealers, dataKeys } = open();
    const first = await sealed(sealers);
    const before = await dataKeys.current(acme);
    clock.advance(DAY_MS - 1);
    expect((await dataKeys.current(acme)).id).toBe(before.id);
    clock.advance(1);
    const after = await dataKeys.current(acme);
    expect(after.id).not.toBe(before.id);
    expect((await open().dataKeys.current(acme)).id).toBe(after.id);
    expect(await opened(open().sealers, first)).toBe(body.toString());
  });

  it("are replaced under a sealer that is in use, without its having to wait", async () => {
    const { clock, open } = world();
    const { sealers } = open();
    const sealer = sealers(acme);
    await sealer.ready();
    const idOf = (bytes: Uint8Array): string => Buffer.from(bytes.subarray(9, 17)).toString("hex");
    const before = idOf(sealer.seal(body, at));
    clock.advance(DAY_MS);
    expect(idOf(sealer.seal(body, at))).toBe(before);
    await expect.poll(() => idOf(sealer.seal(body, at))).not.toBe(before);
  });

  it("are replaced when they have sealed much, and never seal more than they may", async () => {
    const { open } = world();
    const { sealers } = open(createLocalKeys([KEY]), { maxSealed: 8 });
    const sealer = sealers(acme);
    await sealer.ready();
    const stored: Uint8Array[] = [];
    for (let n = 0; n < 40; n++) {
      stored.push(sealer.seal(body, at));
      await sealer.ready();
    }
    const uses = Map.groupBy(stored, (bytes) => Buffer.from(bytes.subarray(9, 17)).toString("hex"));
    expect(Math.max(...[...uses.values()].map(({ length }) => length))).toBeLessThanOrEqual(8);
    const { sealers: alone } = open(createLocalKeys([KEY]), { maxSealed: 8 });
    const busy = alone(acme);
    await busy.ready();
    const all = (): void => {
      for (let n = 0; n < 9; n++) busy.seal(body, at);
    };
    expect(all).toThrow(expect.objectContaining({ code: "unavailable" }));
  });

  it("are unwrapped once while they are at hand, by one caller at a time, and again after their time", async () => {
    const { clock, open } = world();
    const stored = await sealed(open().sealers);
    const { calls, keys } = counted(createLocalKeys([KEY]));
    const { sealers } = open(keys, { keepMs: KEEP_MS });
    await Promise.all(Array.from({ length: 5 }, () => opened(sealers, stored)));
    expect(sealers(acme).open(stored, at)).toBeInstanceOf(Uint8Array);
    expect(calls).toEqual({ newDataKey: 0, unwrap: 1 });
    clock.advance(KEEP_MS);
    await opened(sealers, stored);
    expect(calls.unwrap).toBe(2);
  });

  it("are kept in a bounded number", async () => {
    const { open } = world();
    const tenants = Array.from({ length: 6 }, (_, n) => tenantId(`tenant-${n}`));
    const stored = await Promise.all(tenants.map((tenant) => sealed(open().sealers, placeOf(tenant))));
    const { calls, keys } = counted(createLocalKeys([KEY]));
    const { sealers } = open(keys, { keepCount: 3 });
    const readAll = async (): Promise<void> => {
      for (const [n, tenant] of tenants.entries()) {
        await opened(sealers, stored[n] ?? new Uint8Array(), placeOf(tenant));
      }
    };
    await readAll();
    await readAll();
    expect(calls.unwrap).toBe(12);
    const large = open(keys, { keepCount: 6 });
    for (let times = 0; times < 2; times++) {
      for (const [n, tenant] of tenants.entries())
        await opened(large.sealers, stored[n] ?? new Uint8Array(), placeOf(tenant));
    }
    expect(calls.unwrap).toBe(18);
  });
});

/** Never made anew: what stands on disk outlives the version that wrote it. */
const FORMAT_1 = {
  setting: "a key of 32 characters, not more",
  pointer: { t: "acme", s: "live", a: 1_700_000_000_000, i: "93e270a14a20a0e4" },
  key: {
    t: "acme",
    i: "93e270a14a20a0e4",
    w: "Ae9gBE5Auk/b2zduDLX1LVjLeZmynT4qa1QFWZkTFWhoMwApbtvz7xRpgkpMdUP6tqElDH27nahAeH8zzg==",
    k: "local:b1c951023bc8e52b",
    a: 1_700_000_000_000,
  },
  stored: "/khQ5QybN6EBk+JwoUogoORouvYFa/zb6uNe43bejxPM1I3hfldTncMFxtrLdpB8JIQCJUg=",
} as const;

describe("format 1", () => {
  it("is read: the tenant's pointer, its wrapped keys, and what they sealed", async () => {
    const { table, open } = world();
    const { pointer, key, setting, stored } = FORMAT_1;
    await table.put({ pk: "acme#k", sk: "C", attributes: pointer }, "any");
    const w = new Uint8Array(Buffer.from(key.w, "base64"));
    await table.put({ pk: "acme#k", sk: `K#${key.i}`, attributes: { ...key, w } }, "any");
    const { sealers, dataKeys } = open(createLocalKeys([setting]));
    expect(await opened(sealers, Buffer.from(stored, "base64"))).toBe("format 1");
    expect((await dataKeys.current(acme)).id).toBe(key.i);
  });
});

describe("a tenant whose keys were dropped", () => {
  it("cannot be read or written any more, and the error says so", async () => {
    const { table, open } = world();
    const { sealers, dataKeys } = open();
    const stored = await sealed(sealers);
    expect(await dataKeys.drop(acme)).toBeGreaterThan(0);
    expect(await dataKeys.drop(acme)).toBe(0);
    expect(table.dump().filter(({ sk }) => sk.startsWith("K#"))).toEqual([]);
    for (const process of [{ sealers }, open()]) {
      await expect(opened(process.sealers, stored)).rejects.toMatchObject({
        code: "gone",
        detail: { reason: "keys_dropped" },
      });
      await expect(opened(process.sealers, stored)).rejects.toThrow(
        "body of thread t cannot be decrypted: the tenant's encryption keys were dropped at 2023-11-14",
      );
      await expect(process.sealers(acme).ready()).rejects.toMatchObject({ code: "gone" });
    }
  });

  it("leaves others alone, and gets a new key only when that is asked for", async () => {
    const { open } = world();
    const { sealers, dataKeys } = open();
    const [lost, kept] = [await sealed(sealers), await sealed(sealers, placeOf(tenantId("globex")))];
    await dataKeys.drop(acme);
    expect(await opened(sealers, kept, placeOf(tenantId("globex")))).toBe(body.toString());
    await dataKeys.renew(tenantId("globex"));
    await dataKeys.renew(acme);
    const again = await sealed(open().sealers);
    expect(await opened(sealers, again)).toBe(body.toString());
    await expect(opened(sealers, lost)).rejects.toMatchObject({ code: "gone" });
  });

  it("is read by another process only for as long as that keeps its keys", async () => {
    const { clock, open } = world();
    const [one, other] = [open(), open(createLocalKeys([KEY]), { keepMs: KEEP_MS })];
    const stored = await sealed(one.sealers);
    await opened(other.sealers, stored);
    await one.dataKeys.drop(acme);
    expect(await opened(other.sealers, stored)).toBe(body.toString());
    clock.advance(KEEP_MS);
    await expect(opened(other.sealers, stored)).rejects.toMatchObject({ code: "gone" });
  });

  it("has no key made behind its back by who began to make one before", async () => {
    const { table, open } = world();
    const local = createLocalKeys([KEY]);
    const waiting = Promise.withResolvers<void>();
    const slow: WrappingKeys = {
      ...local,
      newDataKey: (tenant) => waiting.promise.then(() => local.newDataKey(tenant)),
    };
    const making = open(slow).dataKeys.current(acme);
    await open().dataKeys.drop(acme);
    waiting.resolve();
    await expect(making).rejects.toMatchObject({ code: "gone" });
    await expect(open().dataKeys.current(acme)).rejects.toMatchObject({ code: "gone" });
    expect(table.dump().find(({ sk }) => sk === "C")?.attributes).toMatchObject({ s: "dropped" });
  });

  it("is not one who never had a key of that name", async () => {
    const { open } = world();
    const stored = Uint8Array.from(await sealed(open().sealers));
    stored[10] = (stored[10] ?? 0) ^ 1;
    await expect(opened(open().sealers, stored)).rejects.toMatchObject({ code: "corrupt" });
  });
});

describe("wrapping keys of a setting", () => {
  const [older, newer] = [KEY, randomBytes(32).toString("base64")];

  it("are changed by a new one in front: it wraps from now on, the older ones still open", async () => {
    const { clock, table, open } = world();
    const first = await sealed(open(createLocalKeys([older])).sealers);
    clock.advance(DAY_MS);
    const { sealers } = open(createLocalKeys([newer, older]));
    const second = await sealed(sealers);
    expect(new Set(table.dump().flatMap(({ attributes }) => attributes["k"] ?? [])).size).toBe(2);
    for (const stored of [first, second]) expect(await opened(sealers, stored)).toBe(body.toString());
    const without = open(createLocalKeys([newer])).sealers;
    expect(await opened(without, second)).toBe(body.toString());
    await expect(opened(without, first)).rejects.toMatchObject({ code: "unavailable" });
  });

  it("may be those of another kind", async () => {
    const { open } = world();
    const stored = await sealed(open(createLocalKeys([older])).sealers);
    const elsewhere: WrappingKeys = { ...createLocalKeys([newer]), owns: (name) => name.startsWith("arn:") };
    const both = open(combinedKeys([elsewhere, createLocalKeys([older])])).sealers;
    expect(await opened(both, stored)).toBe(body.toString());
    await expect(opened(open(combinedKeys([elsewhere])).sealers, stored)).rejects.toMatchObject({
      code: "unavailable",
    });
    expect(() => combinedKeys([])).toThrow(expect.objectContaining({ code: "invalid" }));
  });

  it.each([
    ["16 characters", "a".repeat(16)],
    ["24 characters", "a".repeat(24)],
    ["32 characters", "a".repeat(32)],
    ["base64 of 32 bytes", newer],
  ])("may be %s", async (_, text) => {
    const { open } = world();
    const stored = await sealed(open(createLocalKeys([text])).sealers);
    expect(await opened(open(createLocalKeys([text])).sealers, stored)).toBe(body.toString());
  });

  it.each(["short", "a".repeat(33), Buffer.alloc(31).toString("base64"), "é".repeat(32)])(
    "are refused without being shown: %s",
    (text) => {
      const making = (): unknown => createLocalKeys([newer, text]);
      expect(making).toThrow(expect.objectContaining({ code: "invalid" }));
      expect(making).not.toThrow(text);
    },
  );
});

describe("a sealer", () => {
  it("that is not ready seals nothing", () => {
    const sealer = world().open().sealers(acme);
    expect(() => sealer.seal(body, at)).toThrow(expect.objectContaining({ code: "internal" }));
  });

  it("reads plaintext from before, until it is told that none is left", async () => {
    const { open } = world();
    expect(await opened(open().sealers, body)).toBe(body.toString());
    const { sealers } = open(createLocalKeys([KEY]), { required: true });
    await expect(opened(sealers, body)).rejects.toMatchObject({ code: "corrupt" });
    await expect(opened(sealers, new Uint8Array())).rejects.toMatchObject({ code: "corrupt" });
    expect(await opened(sealers, await sealed(sealers))).toBe(body.toString());
  });

  it("without keys leaves bytes as they are, and says so of those that are encrypted", async () => {
    expect(plainSealer.seal(body, at)).toBe(body);
    expect(plainSealer.open(body, at)).toBe(body);
    const stored = await sealed(world().open().sealers);
    expect(() => plainSealer.open(stored, at)).toThrow(expect.objectContaining({ code: "unavailable" }));
  });
});

describe("sealed bodies", () => {
  const owner = { tenant: acme, threadId: threadId("t"), generation: 0 };

  it("are named by what is stored, open for their thread only, and older plain ones are still read", async () => {
    const blobs = createMemoryBlobs();
    const sealing = sealedBlobs(blobs, world().open().sealers);
    const [name, again] = [await sealing.put(owner, body), await sealing.put(owner, body)];
    expect(name).not.toBe(again);
    expect(Buffer.from(await sealing.get(owner, name))).toEqual(body);
    const stored = await blobs.get(owner, name);
    expect(Buffer.from(stored).includes(body)).toBe(false);
    const other = { ...owner, threadId: threadId("u") };
    await blobs.put(other, stored);
    await expect(sealing.get(other, name)).rejects.toMatchObject({ code: "corrupt" });
    const old = await blobs.put(owner, body);
    expect(Buffer.from(await sealing.get(owner, old))).toEqual(body);
    await sealing.removeOld(owner, { before: 1, unplaced: true });
    expect(blobs.size).toBe(1);
  });
});
