/**
 * Items of long-term memory as format 1 has them: never regenerated, as in `record-format.test.ts`. What this test spells
 * is on disk.
 */
import { describe, expect, it } from "vitest";
import { createStore } from "../../src/checkpoint/store/store.ts";
import { tenantId, threadId } from "../../src/core/ids.ts";
import { storeKeys } from "../../src/storage/keys.ts";
import type { Attributes } from "../../src/storage/table.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { createMemoryTable } from "../support/memory-table.ts";

const ACME = tenantId("acme");
const TIME = 1_700_000_000_000;
const TEXT = '{"text":"kept elsewhere"}';
const BODY = "76b79e07cea2e27adcf91b81bfffca57f022454ce0837a6ca0124b9b80e212bf";
const bytes = (base64: string): Uint8Array => Uint8Array.from(Buffer.from(base64, "base64"));

const ITEM: Attributes = {
  t: "acme",
  i: '[["users","a#b"],"prefs"]',
  c: TIME - 5000,
  u: TIME - 1000,
  d: '{"theme":"dark"}',
  w: 2,
  e: bytes("AACAPwAAAAAAAAAAAACAPw=="),
  l: 600_000,
};
const FORMAT_1: Readonly<Record<string, Attributes>> = {
  "acme#s#r N#users#a%23b#": { t: "acme", i: '["users","a#b"]', u: TIME - 5000 },
  "acme#s#n#users#a%23b# I#prefs": ITEM,
  "acme#s#n#users#a%23b# I#large": {
    t: "acme",
    i: '[["users","a#b"],"large"]',
    c: TIME,
    u: TIME,
    o: "store~1",
    b: BODY,
  },
};

async function opened() {
  const table = createMemoryTable({ now: () => TIME });
  for (const [key, attributes] of Object.entries(FORMAT_1)) {
    const [pk = "", sk = ""] = key.split(" ");
    const expiresAt = attributes["l"] === undefined ? {} : { expiresAt: TIME + 1000 };
    await table.put({ pk, sk, attributes, ...expiresAt }, "absent");
  }
  const blobs = createMemoryBlobs();
  await blobs.put({ tenant: ACME, threadId: threadId("store~1") }, new TextEncoder().encode(TEXT));
  const embeddings = { embedQuery: async () => [1, 0], embedDocuments: async () => [] };
  return { table, store: createStore({ table, blobs, tenant: ACME, index: { embeddings } }) };
}

describe("long-term memory of format 1", () => {
  it("stands under these keys", () => {
    const key = storeKeys.item(ACME, ["users", "a#b"], "prefs");
    expect(Object.keys(FORMAT_1)).toContain(`${key.pk} ${key.sk}`);
    const { pk, sk } = storeKeys.namespace(ACME, ["users", "a#b"]);
    expect(Object.keys(FORMAT_1)).toContain(`${pk} ${sk}`);
    const long = "x".repeat(300);
    expect(storeKeys.item(ACME, ["\ud800", long], long)).toEqual({
      pk: "acme#s#n#%~!jAxZ3Q0nWq3NRipf4S6zUsvf6vlh6uT4WkZgUh330vU#%~DU4sqenLztenpTgOsp4aN4O5ttDbct42oQUQOOHB-8c#",
      sk: "I#%~DU4sqenLztenpTgOsp4aN4O5ttDbct42oQUQOOHB-8c",
    });
    expect(storeKeys.namespace(ACME, Array<string>(200).fill("label")).sk).toBe(
      `N#${"label#".repeat(116)}%~=xWh8iUK4wHmxS-5UnQXwy3Dt3Mu_roDWS3VPTmb5HL0#`,
    );
  });

  it("is read as what was written", async () => {
    const { store } = await opened();
    expect(await store.get(["users", "a#b"], "prefs", { refreshTtl: false })).toEqual({
      namespace: ["users", "a#b"],
      key: "prefs",
      value: { theme: "dark" },
      createdAt: new Date(TIME - 5000),
      updatedAt: new Date(TIME - 1000),
    });
    expect((await store.get(["users", "a#b"], "large"))?.value).toEqual({ text: "kept elsewhere" });
    expect(await store.listNamespaces()).toEqual([["users", "a#b"]]);
    const found = await store.search(["users"], { query: "x", refreshTtl: false });
    expect(found.map(({ key, score }) => [key, score])).toEqual([
      ["prefs", 1],
      ["large", undefined],
    ]);
  });

  it("keeps, when its time is given to it again, all that it has and what a later version has added", async () => {
    const { table, store } = await opened();
    const key = storeKeys.item(ACME, ["users", "a#b"], "prefs");
    await table.put({ ...key, attributes: { ...ITEM, later: [1] }, expiresAt: TIME + 1000 }, "any");
    await store.get(["users", "a#b"], "prefs");
    expect(await table.get(key)).toMatchObject({ attributes: { ...ITEM, later: [1] }, expiresAt: TIME + 600_000 });
  });

  it("is left alone where it says that it is of a later one", async () => {
    const { table, store } = await opened();
    for (const item of table.dump()) await table.put({ ...item, attributes: { ...item.attributes, v: 2 } }, "any");
    await expect(store.get(["users", "a#b"], "prefs")).rejects.toMatchObject({ code: "unsupported" });
    await expect(store.put(["users", "a#b"], "new", {})).rejects.toMatchObject({ code: "unsupported" });
    expect(await store.search([])).toEqual([]);
    expect(await store.listNamespaces()).toEqual([]);
  });
});
