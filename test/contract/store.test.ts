/** LangGraph's long-term memory, on every engine. LangGraph's own validation package has no suite for stores. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createStore } from "../../src/checkpoint/store/store.ts";
import type { TableStore } from "../../src/checkpoint/store/store.ts";
import { systemIds, tenantId, threadId } from "../../src/core/ids.ts";
import { createItemBlobs } from "../../src/storage/item-blobs.ts";
import { storeKeys, threadKeys } from "../../src/storage/keys.ts";
import type { Table } from "../../src/storage/table.ts";
import type { StoreOptions } from "../../src/checkpoint/store/options.ts";
import { everyTable } from "../support/engines.ts";
import type { Handles } from "../support/engines.ts";
import { letterEmbeddings } from "../support/letter-embeddings.ts";

const KB = 1024;

describe.each(everyTable())("a store on $name", (engine) => {
  let opened: Handles;
  let table: Table;
  beforeAll(async () => {
    opened = await engine.open();
    ({ table } = opened);
  });
  afterAll(() => opened[Symbol.asyncDispose]());

  const freshTenant = (): string => `tenant-${systemIds.token(6)}`;
  const storeOf = (tenant = freshTenant(), options: Partial<StoreOptions> = {}): TableStore =>
    createStore({ table, blobs: createItemBlobs({ table }), tenant: tenantId(tenant), ...options });
  const keysOf = (items: readonly { readonly key: string }[]): readonly string[] => items.map(({ key }) => key);

  it("keeps items until they are deleted, and says when they were made and changed", async () => {
    const store = storeOf();
    expect(await store.get(["users", "ada"], "prefs")).toBeNull();
    await store.put(["users", "ada"], "prefs", { theme: "dark", nested: { list: [1, null, "x"] } });
    const first = await store.get(["users", "ada"], "prefs");
    expect(first).toMatchObject({
      namespace: ["users", "ada"],
      key: "prefs",
      value: { theme: "dark", nested: { list: [1, null, "x"] } },
    });
    expect(first?.createdAt).toEqual(first?.updatedAt);
    await store.put(["users", "ada"], "prefs", { theme: "light" });
    const second = await store.get(["users", "ada"], "prefs");
    expect(second?.value).toEqual({ theme: "light" });
    expect(second?.createdAt).toEqual(first?.createdAt);
    await store.delete(["users", "ada"], "prefs");
    await store.delete(["users", "ada"], "prefs");
    expect(await store.get(["users", "ada"], "prefs")).toBeNull();
  });

  it("keeps whatever names are given, apart from each other", async () => {
    const store = storeOf();
    const labels = ["a", "a#", "#a", "a%23", "a%", "%~a", "🙂", "\u{1F642}b", "é", "e\u0301", " ", "\ud800", "\ud801"];
    const long = ["x".repeat(1024), `${"x".repeat(1023)}y`, "#".repeat(1024), "🙂".repeat(256)];
    const keys = ["", "k", "k#", "a.b:c", "\u0000", "\u0000\u0000", "k".repeat(5000), `${"k".repeat(4999)}l`, "\udc00"];
    const names = [
      ...[...labels, ...long].map((label) => [[label], "k"] as const),
      ...labels.map((label) => [["a", label], "k"] as const),
      [["a", "b", "c"], "k"] as const,
      [["a#b", "c"], "k"] as const,
      [long, "k"] as const,
      [[...long, "z"], "k"] as const,
      ...keys.map((key) => [["keys"], key] as const),
    ];
    await store.batch(names.map(([namespace, key], n) => ({ namespace: [...namespace], key, value: { n } })));
    for (const [n, [namespace, key]] of names.entries()) {
      expect(await store.get([...namespace], key)).toMatchObject({ namespace, key, value: { n } });
    }
    const all = await store.search([], { limit: 1000 });
    expect(all).toHaveLength(names.length);
    const distinct = new Set(names.map(([namespace]) => JSON.stringify(namespace)));
    const listed = await store.listNamespaces({ limit: 1000 });
    expect(new Set(listed.map((namespace) => JSON.stringify(namespace)))).toEqual(distinct);
    expect(keysOf(await store.search(long, { limit: 1000 }))).toEqual(["k", "k"]);
    expect(await store.search([...long.slice(0, 3), "🙂"], { limit: 1000 })).toEqual([]);
  });

  it.each([[[]], [[""]], [["a", ""]], [["a.b"]], [["a:b"]], [["a\u0000"]], [["langgraph"]]])(
    "refuses to write into the namespace %j, as LangGraph does",
    async (namespace) => {
      await expect(storeOf().put(namespace, "k", {})).rejects.toThrow(/namespace/i);
    },
  );

  it("finds what is under a prefix, label by label", async () => {
    const store = storeOf();
    for (const namespace of [["users"], ["users", "a"], ["users2"], ["users#"], ["us"]]) {
      await store.put(namespace, "k", { of: namespace.join("/") });
    }
    const found = await store.search(["users"]);
    expect(found.map(({ value }): unknown => value["of"])).toEqual(["users", "users/a"]);
    expect(await store.listNamespaces({ prefix: ["users"] })).toEqual([["users"], ["users", "a"]]);
    expect(await store.search(["user"])).toEqual([]);
  });

  it("goes on reading until as many match as were asked for", async () => {
    const store = storeOf();
    const pad = "x".repeat(100 * KB);
    // More than a page of a partition holds, and over two namespaces.
    for (const namespace of [["logs"], ["logs", "old"]]) {
      await store.batch(
        Array.from({ length: 14 }, (_, n) => ({
          namespace,
          key: `k${String(n).padStart(2, "0")}`,
          value: { pad, wanted: n % 5 === 4 },
        })),
      );
    }
    const filter = { wanted: true };
    expect(keysOf(await store.search(["logs"], { filter, limit: 3 }))).toEqual(["k04", "k09", "k04"]);
    expect(keysOf(await store.search(["logs"], { filter, limit: 3, offset: 2 }))).toEqual(["k04", "k09"]);
    expect(keysOf(await store.search(["logs"], { limit: 2, offset: 13 }))).toEqual(["k13", "k00"]);
    expect(await store.search(["logs"], { limit: 100 })).toHaveLength(28);
    expect(await store.search(["logs"], { limit: 0 })).toEqual([]);
  });

  it("lists namespaces by beginning, end and depth, a page at a time, and no empty ones", async () => {
    const store = storeOf();
    const namespaces = [["a", "b", "c"], ["a", "b", "d"], ["a", "x", "c"], ["b", "c"], ["c"]];
    for (const namespace of namespaces) await store.put(namespace, "k", {});
    expect(await store.listNamespaces()).toEqual(namespaces);
    expect(await store.listNamespaces({ prefix: ["a", "*", "c"] })).toEqual([namespaces[0], namespaces[2]]);
    expect(await store.listNamespaces({ prefix: ["*"], suffix: ["c"] })).toEqual(
      [0, 2, 3, 4].map((n) => namespaces[n]),
    );
    expect(await store.listNamespaces({ maxDepth: 2 })).toEqual([["a", "b"], ["a", "x"], ["b", "c"], ["c"]]);
    expect(await store.listNamespaces({ maxDepth: 1, limit: 1, offset: 1 })).toEqual([["b"]]);
    await store.delete(["a", "x", "c"], "k");
    expect(await store.listNamespaces({ prefix: ["a"] })).toEqual([namespaces[0], namespaces[1]]);
    await store.put(["a", "x", "c"], "again", {});
    expect(await store.listNamespaces({ prefix: ["a", "x"] })).toEqual([namespaces[2]]);
  });

  it("reads before it writes in one batch, answers in order, and lets the last of several writes count", async () => {
    const store = storeOf();
    await store.put(["n"], "a", { v: 0 });
    const results: readonly unknown[] = await store.batch([
      { namespace: ["n"], key: "a" },
      { namespace: ["n"], key: "a", value: { v: 1 } },
      { namespacePrefix: ["n"] },
      { namespace: ["n"], key: "a", value: { v: 2 } },
      { matchConditions: [], limit: 10, offset: 0 },
      { namespace: ["m"], key: "a" },
      { namespace: ["m"], key: "b", value: { v: 3 } },
      { namespace: ["m"], key: "b", value: null },
    ]);
    expect(results).toMatchObject([
      { value: { v: 0 } },
      undefined,
      [{ value: { v: 0 } }],
      undefined,
      [["n"]],
      null,
      undefined,
      undefined,
    ]);
    expect((await store.get(["n"], "a"))?.value).toEqual({ v: 2 });
    expect(await store.get(["m"], "b")).toBeNull();
  });

  it("keeps the time at which an item was made through writes at the same time", async () => {
    const tenant = freshTenant();
    const first = storeOf(tenant);
    const stores = [first, storeOf(tenant), storeOf(tenant)];
    await first.put(["n"], "k", { n: -1 });
    const made = (await first.get(["n"], "k"))?.createdAt;
    const writers = Array.from({ length: 4 }, (_, round) => stores.map((store, n) => ({ store, n: round * 3 + n })));
    await Promise.all(writers.flat().map(({ store, n }) => store.put(["n"], "k", { n })));
    const after = await first.get(["n"], "k");
    expect(after?.createdAt).toEqual(made);
    expect(after?.value["n"]).toBeGreaterThanOrEqual(0);
  });

  it("keeps values that no item can hold, and leaves nothing of them behind", async () => {
    const tenant = freshTenant();
    const ids: string[] = [];
    const token = (bytes: number): string => {
      ids.push(systemIds.token(bytes));
      return ids.at(-1) ?? "";
    };
    const store = storeOf(tenant, { ids: { ...systemIds, token } });
    const bodies = async (): Promise<number> => {
      const owners = ids.map((id) => ({ tenant: tenantId(tenant), threadId: threadId(`store~${id}`) }));
      const pages = await Promise.all(
        owners.map((owner) => table.query(threadKeys.partition(owner), { prefix: threadKeys.blobPrefix })),
      );
      return pages.flatMap(({ items }) => items).length;
    };
    const large = (letter: string): Record<string, unknown> => ({ text: letter.repeat(900 * KB), letter });
    await store.put(["n"], "k", large("é"));
    await store.put(["n"], "small", { letter: "s" });
    expect((await store.get(["n"], "k"))?.value).toEqual(large("é"));
    const once = await bodies();
    expect(once).toBeGreaterThan(1);
    await store.put(["n"], "k", large("b"));
    expect(await store.search(["n"], { filter: { letter: "b" } })).toMatchObject([{ key: "k", value: large("b") }]);
    expect(await bodies()).toBeLessThanOrEqual(once);
    await store.delete(["n"], "k");
    expect(await bodies()).toBe(0);
    expect(keysOf(await store.search(["n"]))).toEqual(["small"]);
  });

  it("never shows a large value half replaced", async () => {
    const store = storeOf();
    const text = "x".repeat(400 * KB);
    await store.put(["n"], "k", { n: 0, text });
    const writing = (async () => {
      for (let n = 1; n <= 5; n++) await store.put(["n"], "k", { n, text });
    })();
    const seen: unknown[] = [];
    for (let i = 0; i < 10; i++) seen.push((await store.get(["n"], "k"))?.value["n"]);
    await writing;
    expect(seen.every((n) => typeof n === "number")).toBe(true);
    expect((await store.get(["n"], "k"))?.value["n"]).toBe(5);
  });

  it("finds the nearest by the cosine of its vectors, and keeps them from one process to the next", async () => {
    const tenant = freshTenant();
    const index = { embeddings: letterEmbeddings(), dims: 6, fields: ["text", "tags[*]"] };
    const writer = storeOf(tenant, { index });
    await writer.batch([
      { namespace: ["d"], key: "1", value: { text: "aaab", kind: "x" } },
      { namespace: ["d", "e"], key: "2", value: { text: "b", tags: ["a", "cc"], kind: "y" } },
      { namespace: ["d"], key: "3", value: { text: "c", kind: "x" } },
      { namespace: ["d"], key: "4", value: { text: "a", kind: "x" }, index: false },
      { namespace: ["d"], key: "5", value: { text: "a", other: "f" }, index: ["other"] },
      { namespace: ["z"], key: "6", value: { text: "a" } },
    ]);
    const store = storeOf(tenant, { index });
    const found = await store.search(["d"], { query: "a", limit: 10 });
    expect(found.map(({ key, score }) => [key, score])).toEqual([
      ["2", 1],
      ["1", 3 / Math.sqrt(10)],
      ["3", 0],
      ["5", 0],
      ["4", undefined],
    ]);
    expect(keysOf(await store.search(["d"], { query: "a", filter: { kind: "x" }, limit: 2 }))).toEqual(["1", "3"]);
    expect(keysOf(await store.search(["d"], { query: "a", limit: 2, offset: 3 }))).toEqual(["5", "4"]);
    expect(keysOf(await store.search(["d"], { filter: { kind: "x" } }))).toEqual(["1", "3", "4"]);
    await writer.put(["d"], "1", { text: "f" });
    const again = await store.search(["d"], { query: "a" });
    expect(again.map(({ key, score }) => [key, score])).toContainEqual(["1", 0]);
  });

  it("keeps more vectors than an item can hold", async () => {
    const embeddings = letterEmbeddings("abcdefghijklmnopqrstuvwxyz0123456789".repeat(30));
    const store = storeOf(undefined, { index: { embeddings, fields: ["parts[*]"] } });
    const parts = Array.from({ length: 120 }, (_, n) => `part ${n}`);
    await store.put(["n"], "k", { parts, pad: "x".repeat(300 * KB) });
    await store.put(["n"], "other", { parts: ["zzz"] });
    const [first] = await store.search(["n"], { query: "part 7" });
    expect(first).toMatchObject({ key: "k", value: { parts } });
    expect(first?.score).toBeCloseTo(1, 10);
  });

  it("keeps two tenants apart, whatever the names they choose", async () => {
    const mine = freshTenant();
    const others = [`${mine}#s#n`, `${mine}#s`, `${mine}#`, `${mine}%23s`, "", `${mine}2`];
    const store = storeOf(mine);
    const crafted = [["s"], ["n"], ["s#n#a"], ["#s#n#a"], ["a"], ["a#"], [mine], ["a", mine]];
    for (const namespace of crafted) await store.put(namespace, "k", { of: "mine" });
    const kept = await store.search([], { limit: 100 });
    for (const tenant of others) {
      const other = storeOf(tenant);
      expect(await other.search([], { limit: 100 })).toEqual([]);
      expect(await other.listNamespaces()).toEqual([]);
      for (const namespace of [...crafted, ["n", "a"], ["a", "I#k"]]) {
        expect(await other.get(namespace, "k")).toBeNull();
        await other.put(namespace, "k", { of: "other" });
      }
      for (const { namespace, key } of await other.search([], { limit: 100 })) await other.delete(namespace, key);
    }
    expect(await store.search([], { limit: 100 })).toEqual(kept);
    for (const namespace of crafted) {
      for (const { pk } of [
        storeKeys.item(tenantId(mine), namespace, "k"),
        storeKeys.namespace(tenantId(mine), namespace),
      ])
        expect(pk.startsWith(`${mine}#s#`)).toBe(true);
    }
  });
});
