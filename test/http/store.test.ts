/** Long-term memory, as the official SDK's client and as graphs see it: of one tenant the same. */
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import type { LangGraphRunnableConfig } from "@langchain/langgraph";
import type { Client } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import { letterEmbeddings } from "../support/letter-embeddings.ts";
import { startService } from "../support/service.ts";
import type { Service } from "../support/service.ts";

const State = Annotation.Root({ remember: Annotation<string>(), known: Annotation<string[]>() });
type Config = LangGraphRunnableConfig;

/** Keeps what it is told, and says everything that it was ever told, on whatever thread. */
const memory = new StateGraph(State)
  .addNode("keep", async ({ remember }, { store }: Config) => {
    if (remember) await store?.put(["memories"], remember, { text: remember });
    return {};
  })
  .addNode("recall", async (_, { store }: Config) => ({
    known: ((await store?.search(["memories"])) ?? []).map(({ key }) => key),
  }))
  .addEdge(START, "keep")
  .addEdge("keep", "recall")
  .addEdge("recall", END);

let service: Service;
let client: Client;
let other: Client;

beforeAll(async () => {
  service = await startService({
    graphs: createRegistry([registeredGraph("memory", memory)]),
    store: { index: { embeddings: letterEmbeddings(), fields: ["text"] } },
  });
  client = service.client("acme");
  other = service.client("globex");
});
afterAll(() => service[Symbol.asyncDispose]());

describe("a graph", () => {
  it("finds on a later run, on another thread, what it kept; another tenant's does not", async () => {
    await client.runs.wait(null, "memory", { input: { remember: "likes tea" } });
    const { thread_id: thread } = await client.threads.create();
    expect(await client.runs.wait(thread, "memory", { input: { remember: "" } })).toMatchObject({
      known: ["likes tea"],
    });
    expect(await other.runs.wait(null, "memory", { input: { remember: "" } })).toMatchObject({ known: [] });
    expect((await client.store.searchItems(["memories"])).items.map(({ key }) => key)).toEqual(["likes tea"]);
    expect((await other.store.searchItems([])).items).toEqual([]);
  });
});

describe("the client's store", () => {
  it("puts, gets, and deletes", async () => {
    await client.store.putItem(["users", "ada"], "prefs", { theme: "dark", n: { m: [1] } });
    const item = await client.store.getItem(["users", "ada"], "prefs");
    expect(item).toMatchObject({ namespace: ["users", "ada"], key: "prefs", value: { theme: "dark", n: { m: [1] } } });
    expect(Date.parse(item?.createdAt ?? "")).toBeGreaterThan(1_600_000_000_000);
    expect(await other.store.getItem(["users", "ada"], "prefs")).toBeNull();
    await other.store.deleteItem(["users", "ada"], "prefs");
    expect(await client.store.getItem(["users", "ada"], "prefs")).toEqual(item);
    await client.store.deleteItem(["users", "ada"], "prefs");
    await client.store.deleteItem(["users", "ada"], "prefs");
    expect(await client.store.getItem(["users", "ada"], "prefs")).toBeNull();
  });

  it("searches by prefix, filter, page and meaning", async () => {
    for (const [key, text] of Object.entries({ a: "aaa", b: "abb", c: "ccc" })) {
      await client.store.putItem(["docs", key], "d", { text, size: text.length, kind: key === "c" ? "x" : "y" });
    }
    const keys = async (...of: Parameters<Client["store"]["searchItems"]>): Promise<readonly unknown[]> =>
      (await client.store.searchItems(...of)).items.map(({ value }): unknown => value["text"]);
    expect(await keys(["docs"])).toEqual(["aaa", "abb", "ccc"]);
    expect(await keys(["docs"], { filter: { kind: "y" }, limit: 1, offset: 1 })).toEqual(["abb"]);
    expect(await keys(["docs"], { filter: { size: { $gte: 4 } } })).toEqual([]);
    expect(await keys(["doc"])).toEqual([]);
    const near = (await client.store.searchItems(["docs"], { query: "b" })).items;
    expect(near[0]).toMatchObject({ value: { text: "abb" }, score: 2 / Math.sqrt(5) });
    await client.store.putItem(["docs", "d"], "d", { text: "bbbbb" }, { index: false });
    expect(await keys(["docs"], { query: "b", limit: 1 })).toEqual(["abb"]);
  });

  it("lists namespaces", async () => {
    for (const user of ["ada", "bob"]) await client.store.putItem(["list", user, "notes"], "n", {});
    const listed = async (options: Parameters<Client["store"]["listNamespaces"]>[0]) =>
      (await client.store.listNamespaces(options)).namespaces;
    expect(await listed({ prefix: ["list"] })).toEqual([
      ["list", "ada", "notes"],
      ["list", "bob", "notes"],
    ]);
    expect(await listed({ prefix: ["list"], maxDepth: 1 })).toEqual([["list"]]);
    expect(await listed({ prefix: ["list", "*"], suffix: ["notes"], limit: 1, offset: 1 })).toEqual([
      ["list", "bob", "notes"],
    ]);
    expect((await other.store.listNamespaces({ prefix: ["list"] })).namespaces).toEqual([]);
  });

  it("gives items a time to live, in minutes", async () => {
    await client.store.putItem(["ttl"], "short", {}, { ttl: 0.001 });
    await client.store.putItem(["ttl"], "none", {}, { ttl: null });
    await expect.poll(() => client.store.getItem(["ttl"], "short", { refreshTtl: false })).toBeNull();
    expect(await client.store.getItem(["ttl"], "none", { refreshTtl: true })).not.toBeNull();
    expect((await client.store.searchItems(["ttl"], { refreshTtl: true })).items).toHaveLength(1);
  });
});

describe("a request that cannot be served", () => {
  const item = { namespace: ["n"], key: "k", value: {} };
  it.each([
    ["PUT", "/store/items", { ...item, namespace: [] }],
    ["PUT", "/store/items", { ...item, namespace: [""] }],
    ["PUT", "/store/items", { ...item, namespace: ["a.b"] }],
    ["PUT", "/store/items", { ...item, namespace: ["langgraph"] }],
    ["PUT", "/store/items", { ...item, namespace: "n" }],
    ["PUT", "/store/items", { ...item, value: [1] }],
    ["PUT", "/store/items", { ...item, value: null }],
    ["PUT", "/store/items", { ...item, ttl: 0 }],
    ["PUT", "/store/items", { ...item, index: true }],
    ["PUT", "/store/items", undefined],
    ["DELETE", "/store/items", { namespace: ["n"] }],
    ["DELETE", "/store/items", undefined],
    ["GET", "/store/items?key=k", undefined],
    ["GET", "/store/items?namespace=&key=k", undefined],
    ["GET", "/store/items?namespace=a..b&key=k", undefined],
    ["GET", "/store/items?namespace=a&key=k&refresh_ttl=perhaps", undefined],
    ["POST", "/store/items/search", {}],
    ["POST", "/store/items/search", { namespace_prefix: ["n"], filter: { a: { $regex: "x" } } }],
    ["POST", "/store/items/search", { namespace_prefix: ["n"], limit: 0 }],
    ["POST", "/store/namespaces", { prefix: ["a:b"] }],
    ["POST", "/store/namespaces", { max_depth: 0 }],
  ])("%s %s with %j is 422, and says why", async (method, path, json) => {
    const answer = await service.app.call(method, path, json === undefined ? {} : { json });
    expect(answer.status).toBe(422);
    expect(((await answer.json()) as { readonly detail: string }).detail.length).toBeGreaterThan(5);
  });

  it("has no key", async () => {
    for (const [method, path] of [
      ["PUT", "/store/items"],
      ["DELETE", "/store/items"],
    ] as const) {
      expect((await service.app.call(method, path, { json: item, as: "nobody" })).status).toBe(401);
    }
  });
});
