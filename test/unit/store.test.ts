/** Time to live, lost races, what requests it takes, and what becomes of a store when the table fails. */
import { describe, expect, it } from "vitest";
import { createCountingTable } from "../../bench/support/counting-table.ts";
import type { StoreOptions } from "../../src/checkpoint/store/options.ts";
import { createStore } from "../../src/checkpoint/store/store.ts";
import type { TableStore } from "../../src/checkpoint/store/store.ts";
import { tenantId } from "../../src/core/ids.ts";
import { storeKeys } from "../../src/storage/keys.ts";
import type { Table } from "../../src/storage/table.ts";
import { createFaultyTable } from "../support/faulty-table.ts";
import { letterEmbeddings } from "../support/letter-embeddings.ts";
import { createManualClock } from "../support/manual-clock.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { createMemoryTable } from "../support/memory-table.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const ACME = tenantId("acme");

function setUp(options: Partial<StoreOptions> = {}) {
  const clock = createManualClock();
  const table = createMemoryTable({ now: () => clock.wall() });
  const blobs = createMemoryBlobs();
  const open = (more: Partial<StoreOptions> = {}): TableStore =>
    createStore({ table, blobs, tenant: ACME, ...options, ...more });
  return { clock, table, blobs, open, store: open() };
}

describe("an item with a time to live", () => {
  it("is gone for every reader once its minutes have passed, and so is its namespace", async () => {
    const { clock, store, table } = setUp({ ttl: { refreshOnRead: false }, index: { embeddings: letterEmbeddings() } });
    await store.put(["n"], "k", { text: "a" }, undefined, { ttl: 1.5 });
    const { pk, sk } = storeKeys.item(ACME, ["n"], "k");
    expect((await table.get({ pk, sk }))?.expiresAt).toBe(clock.wall() + 90_000);
    clock.advance(90_000 - 1);
    expect(await store.get(["n"], "k")).not.toBeNull();
    clock.advance(1);
    expect(await store.get(["n"], "k")).toBeNull();
    expect(await store.search([])).toEqual([]);
    expect(await store.search(["n"], { query: "a" })).toEqual([]);
    expect(await store.listNamespaces()).toEqual([]);
    await store.put(["n"], "k", {});
    const again = await store.get(["n"], "k");
    expect(again?.createdAt.getTime()).toBe(clock.wall());
  });

  it.each([
    [
      "get",
      (store: TableStore, refreshTtl?: boolean) =>
        store.get(["n"], "k", refreshTtl === undefined ? {} : { refreshTtl }),
    ],
    [
      "search",
      (store: TableStore, refreshTtl?: boolean) => store.search([], refreshTtl === undefined ? {} : { refreshTtl }),
    ],
    [
      "search by query",
      (store: TableStore, refreshTtl?: boolean) =>
        store.search(["n"], { query: "a", ...(refreshTtl === undefined ? {} : { refreshTtl }) }),
    ],
  ])("lives on when it is read by %s, unless the reader or the configuration says otherwise", async (_, read) => {
    const index = { embeddings: letterEmbeddings() };
    const livesOn = async (configured: boolean | undefined, asked: boolean | undefined): Promise<boolean> => {
      const ttl = { defaultTtl: 10, ...(configured === undefined ? {} : { refreshOnRead: configured }) };
      const { clock, store } = setUp({ ttl, index });
      await store.put(["n"], "k", { text: "a" });
      const before = await store.get(["n"], "k", { refreshTtl: false });
      clock.advance(9 * MINUTE_MS);
      await read(store, asked);
      clock.advance(9 * MINUTE_MS);
      const after = await store.get(["n"], "k");
      if (after) expect(after).toEqual(before);
      return after !== null;
    };
    expect(await livesOn(undefined, undefined)).toBe(true);
    expect(await livesOn(false, undefined)).toBe(false);
    expect(await livesOn(false, true)).toBe(true);
    expect(await livesOn(true, false)).toBe(false);
  });

  it("has the default, its own, or none; a write without one has the default again", async () => {
    const { clock, store } = setUp({ ttl: { defaultTtl: 10, refreshOnRead: false } });
    await store.put(["n"], "default", {});
    await store.put(["n"], "own", {}, undefined, { ttl: 20 });
    await store.put(["n"], "none", {}, undefined, { ttl: null });
    await store.put(["n"], "again", {}, undefined, { ttl: null });
    await store.put(["n"], "again", {});
    const there = async (): Promise<readonly string[]> => (await store.search(["n"])).map(({ key }) => key);
    expect(await there()).toEqual(["again", "default", "none", "own"]);
    clock.advance(10 * MINUTE_MS);
    expect(await there()).toEqual(["none", "own"]);
    clock.advance(10 * MINUTE_MS);
    expect(await there()).toEqual(["none"]);
  });

  it("is not written anew by readers that come one after the other within a hundredth of its time", async () => {
    const { clock, table } = setUp();
    const counting = createCountingTable(table, { now: () => 0 });
    const store = createStore({ table: counting, blobs: createMemoryBlobs(), tenant: ACME, ttl: { defaultTtl: 100 } });
    await store.put(["n"], "k", {});
    const before = counting.calls.length;
    for (let n = 0; n < 5; n++) await store.get(["n"], "k");
    expect(counting.calls.slice(before).map(({ operation }) => operation)).toEqual(Array(5).fill("get"));
    clock.advance(MINUTE_MS);
    await store.get(["n"], "k");
    expect(counting.calls.at(-1)?.operation).toBe("put");
  });

  it.each([0, -1, 1e9, Infinity, Number.NaN])("cannot live for %d minutes", async (ttl) => {
    await expect(setUp().store.put(["n"], "k", {}, undefined, { ttl })).rejects.toMatchObject({ code: "invalid" });
  });
});

describe("two writers of one item", () => {
  /** One has read that there is none, and writes only after the other has made it. `unconditional` switches the protection off. */
  async function race(
    unconditional: boolean,
  ): Promise<{ readonly made: number; readonly value: unknown; readonly first: number }> {
    const { clock, table, open } = setUp();
    const first = clock.wall();
    let hasRead = false;
    const late: Table = {
      ...table,
      async get(key) {
        const item = await table.get(key);
        if (!hasRead && key.sk.startsWith("I#")) {
          hasRead = true;
          await open().put(["n"], "k", { by: 1 });
          clock.advance(1000);
        }
        return item;
      },
      put: (draft, when, options) => table.put(draft, unconditional ? "any" : when, options),
    };
    await open({ table: late }).put(["n"], "k", { by: 2 });
    const item = await open().get(["n"], "k");
    return { made: item?.createdAt.getTime() ?? 0, value: item?.value["by"], first };
  }

  it("agree on when it was made, and the last one wins", async () => {
    const { made, value, first } = await race(false);
    expect([made, value]).toEqual([first, 2]);
  });

  it("would not without conditions (negative control)", async () => {
    const { made, first } = await race(true);
    expect(made).toBe(first + 1000);
  });

  it("do not bring back what was deleted meanwhile as if it had been there all along", async () => {
    const { clock, table, open } = setUp();
    await open().put(["n"], "k", { v: 1 });
    const raced: Table = {
      ...table,
      async get(key) {
        const item = await table.get(key);
        await open().delete(["n"], "k");
        clock.advance(5000);
        return item;
      },
    };
    await open({ table: raced }).put(["n"], "k", { v: 2 });
    const item = await open().get(["n"], "k");
    expect(item).toMatchObject({ value: { v: 2 }, createdAt: new Date(clock.wall()) });
  });
});

describe("prefixes", () => {
  it("end at a separator, without which `users` would be the beginning of `users2` (negative control)", () => {
    const prefix = storeKeys.namespacePrefix(["users"]);
    const { sk } = storeKeys.namespace(ACME, ["users2"]);
    expect(sk.startsWith(prefix)).toBe(false);
    expect(sk.startsWith(prefix.slice(0, -1))).toBe(true);
    expect(storeKeys.namespace(ACME, ["users", "2"]).sk.startsWith(prefix)).toBe(true);
  });

  it("are compared label by label as well, whatever the registry answers", async () => {
    const { table, open } = setUp();
    for (const namespace of [["users"], ["users2"], ["users", "2"]]) await open().put(namespace, "k", {});
    const careless: Table = {
      ...table,
      query: (pk, range) => table.query(pk, { ...range, prefix: (range.prefix ?? "").replace(/users#$/, "users") }),
    };
    const found = await open({ table: careless }).search(["users"]);
    expect(found.map(({ namespace }) => namespace)).toEqual([["users"], ["users", "2"]]);
  });

  it("have keys that fit, however long and deep they are", () => {
    const deep = Array.from({ length: 60 }, (_, n) => `${"#".repeat(90)}${n}`);
    for (const { pk, sk } of [storeKeys.namespace(ACME, deep), storeKeys.item(ACME, deep, "k".repeat(9999))]) {
      expect(Buffer.byteLength(pk)).toBeLessThanOrEqual(2048);
      expect(Buffer.byteLength(sk)).toBeLessThanOrEqual(1024);
    }
  });
});

describe("the registry of namespaces", () => {
  const entries = async (table: Table): Promise<readonly string[]> =>
    (await table.query(storeKeys.namespaces(ACME), {})).items.map(({ sk }) => sk);

  it("forgets one that is empty, but only when nobody has relied on its entry for a day", async () => {
    const { clock, table, store } = setUp();
    await store.put(["full"], "k", {});
    await store.put(["n"], "k", {});
    await store.delete(["n"], "k");
    clock.advance(24 * HOUR_MS);
    await store.listNamespaces();
    expect(await entries(table)).toEqual(["N#full#", "N#n#"]);
    clock.advance(1);
    await store.search([]);
    expect(await entries(table)).toEqual(["N#full#"]);
  });

  it("is told again by a process that has known a namespace for long, so that none is missed", async () => {
    const { clock, table, open, store: old } = setUp();
    await old.put(["n"], "k", {});
    await old.delete(["n"], "k");
    clock.advance(25 * HOUR_MS);
    await open().listNamespaces();
    expect(await entries(table)).toEqual([]);
    await old.put(["n"], "k", {});
    expect(await open().listNamespaces()).toEqual([["n"]]);
  });

  it("keeps an entry that is touched while it is looked at", async () => {
    const { clock, table, open } = setUp();
    await open().put(["n"], "k", {});
    await open().delete(["n"], "k");
    clock.advance(25 * HOUR_MS);
    let looks = 0;
    const raced: Table = {
      ...table,
      async query(pk, range) {
        const page = await table.query(pk, range);
        // The second look comes right before the entry would be removed.
        if (pk === storeKeys.items(ACME, ["n"]) && ++looks === 2) await open().put(["n"], "new", {});
        return page;
      },
    };
    await open({ table: raced }).listNamespaces();
    expect(looks).toBe(2);
    expect(await open().listNamespaces()).toEqual([["n"]]);
  });
});

describe("what it takes", () => {
  function counted(options: Partial<StoreOptions> = {}) {
    const counting = createCountingTable(createMemoryTable({ pageBytes: 2000 }), { now: () => 0 });
    const store = createStore({ table: counting, blobs: createMemoryBlobs(), tenant: ACME, ...options });
    const during = async (work: () => Promise<unknown>): Promise<readonly string[]> => {
      const before = counting.calls.length;
      await work();
      return counting.calls
        .slice(before)
        .map(({ operation }) => operation)
        .toSorted();
    };
    return { store, during, again: () => createStore({ table: counting, blobs: createMemoryBlobs(), tenant: ACME }) };
  }

  it("a put is one read and one write, and two writes for the first item of a namespace", async () => {
    const { store, during, again } = counted();
    expect(await during(() => store.put(["n"], "a", {}))).toEqual(["get", "put", "put"]);
    expect(await during(() => store.put(["n"], "b", {}))).toEqual(["get", "put"]);
    expect(await during(() => store.put(["n"], "a", {}))).toEqual(["get", "put"]);
    // Another process does not know the namespace yet, and needs not to for an item that is there.
    expect(await during(() => again().put(["n"], "a", {}))).toEqual(["get", "put"]);
    expect(await during(() => again().put(["n"], "c", {}))).toEqual(["get", "put", "put"]);
  });

  it("a get is one read, many are one, and so is what many puts have to know", async () => {
    const { store, during } = counted();
    const many = Array.from({ length: 30 }, (_, n) => ({ namespace: ["n"], key: `k${n}` }));
    await store.put(["n"], "a", {});
    expect(await during(() => store.batch(many.map((one) => ({ ...one, value: {} }))))).toEqual([
      "batchGet",
      ...Array<string>(30).fill("put"),
    ]);
    expect(await during(() => store.get(["n"], "a"))).toEqual(["get"]);
    expect(await during(() => store.batch(many))).toEqual(["batchGet"]);
    expect(await during(() => store.delete(["n"], "a"))).toEqual(["get", "remove"]);
  });

  it("a search is one query for each page of a namespace, and one of the registry", async () => {
    const { store, during } = counted();
    const puts = Array.from({ length: 8 }, (_, n) => ({
      namespace: ["n"],
      key: `k${n}`,
      value: { pad: "x".repeat(900) },
    }));
    await store.batch([...puts, { namespace: ["m"], key: "k", value: {} }]);
    expect(await during(() => store.search(["n"], { limit: 2 }))).toEqual(["query", "query"]);
    expect(await during(() => store.search(["n"], { limit: 8 }))).toHaveLength(1 + 4);
    expect(await during(() => store.search([], { limit: 1 }))).toEqual(["query", "query"]);
    expect(await during(() => store.listNamespaces())).toEqual(["query", "query", "query"]);
  });

  it("texts are embedded once, and all of a batch in one call", async () => {
    const embeddings = letterEmbeddings();
    const { store } = counted({ index: { embeddings, fields: ["text"] } });
    await store.batch([
      { namespace: ["n"], key: "1", value: { text: "a" } },
      { namespace: ["n"], key: "2", value: { text: "a" } },
      { namespace: ["n"], key: "3", value: { text: "b" } },
      { namespace: ["n"], key: "4", value: { text: "c" }, index: false },
      { namespace: ["n"], key: "5", value: {} },
    ]);
    expect(embeddings.calls).toEqual([["a", "b"]]);
  });
});

describe("what fails", () => {
  it("is thrown by every operation, and nothing is made of it", async () => {
    const { table, open } = setUp();
    await open().put(["n"], "k", { text: "a" });
    const store = open({ table: createFaultyTable(table, { random: () => 0, faults: { refused: 1 } }) });
    const unavailable = { code: "unavailable" };
    await expect(store.get(["n"], "k")).rejects.toMatchObject(unavailable);
    await expect(store.put(["n"], "k", {})).rejects.toMatchObject(unavailable);
    await expect(store.delete(["n"], "k")).rejects.toMatchObject(unavailable);
    await expect(store.search([])).rejects.toMatchObject(unavailable);
    await expect(store.search(["n"])).rejects.toMatchObject(unavailable);
    await expect(store.listNamespaces()).rejects.toMatchObject(unavailable);
    expect((await open().get(["n"], "k"))?.value).toEqual({ text: "a" });
  });

  it("in the embeddings fails the operation before anything is written", async () => {
    const failing = { embedDocuments: () => Promise.reject(new Error("no model")), embedQuery: async () => [0] };
    const { open, store } = setUp();
    await expect(open({ index: { embeddings: failing } }).put(["n"], "k", { a: 1 })).rejects.toThrow("no model");
    const narrow = { embeddings: letterEmbeddings(), dims: 7 };
    await expect(open({ index: narrow }).put(["n"], "k", { a: 1 })).rejects.toMatchObject({ code: "invalid" });
    expect(await store.get(["n"], "k")).toBeNull();
  });

  it("is a value that is no JSON, or no object", async () => {
    const { store } = setUp();
    const itself: Record<string, unknown> = {};
    itself["itself"] = itself;
    for (const value of [itself, { big: 1n }, [1] as never, "text" as never, undefined as never]) {
      await expect(store.put(["n"], "k", value)).rejects.toMatchObject({ code: "invalid" });
    }
    for (const limit of [-1, 1.5, Number.NaN]) {
      await expect(store.search(["n"], { limit })).rejects.toMatchObject({ code: "invalid" });
    }
    expect(await store.search([])).toEqual([]);
  });

  it("is an item of a later format: not judged by who asks for it, and left out of lists", async () => {
    const { store, table } = setUp();
    await store.put(["n"], "a", {});
    await store.put(["n"], "b", {});
    const key = storeKeys.item(ACME, ["n"], "a");
    const item = await table.get(key);
    await table.put({ ...key, attributes: { ...item?.attributes, v: 2 } }, "any");
    await expect(store.get(["n"], "a")).rejects.toMatchObject({ code: "unsupported" });
    await expect(store.put(["n"], "a", {})).rejects.toMatchObject({ code: "unsupported" });
    expect((await store.search(["n"])).map((found) => found.key)).toEqual(["b"]);
    await store.delete(["n"], "b");
    expect(await store.listNamespaces()).toEqual([["n"]]);
  });
});

describe("vectors", () => {
  it("of another width are those of another model: their items are found, without a score", async () => {
    const { open } = setUp();
    await open({ index: { embeddings: letterEmbeddings("ab") } }).put(["n"], "k", { text: "a" });
    const [found] = await open({ index: { embeddings: letterEmbeddings("abc") } }).search(["n"], { query: "a" });
    expect(found).toMatchObject({ key: "k" });
    expect(found?.score).toBeUndefined();
  });

  it("of the nearest few are kept while all are looked at, in the order of a full sort", async () => {
    const { store } = setUp({ index: { embeddings: letterEmbeddings(), fields: ["text"] } });
    const texts = Array.from({ length: 200 }, (_, n) => "a".repeat(1 + ((n * 7) % 13)) + "b".repeat((n * 5) % 11));
    await store.batch(texts.map((text, n) => ({ namespace: ["n"], key: String(n).padStart(3, "0"), value: { text } })));
    const all = await store.search(["n"], { query: "aab", limit: 200 });
    expect(all.map(({ score = 0 }) => score)).toEqual(all.map(({ score = 0 }) => score).toSorted((a, b) => b - a));
    expect(await store.search(["n"], { query: "aab", limit: 7, offset: 20 })).toEqual(all.slice(20, 27));
  });
});
