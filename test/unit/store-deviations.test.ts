/** Where the store does not do what LangGraph's InMemoryStore does, and why: each with what InMemoryStore does. */
import { InMemoryStore } from "@langchain/langgraph-checkpoint";
import { describe, expect, it } from "vitest";
import { createStore } from "../../src/checkpoint/store/store.ts";
import type { TableStore } from "../../src/checkpoint/store/store.ts";
import { tenantId } from "../../src/core/ids.ts";
import { letterEmbeddings } from "../support/letter-embeddings.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { createMemoryTable } from "../support/memory-table.ts";

type Either = Pick<TableStore, "get" | "put" | "delete" | "search" | "listNamespaces" | "batch">;

const index = { embeddings: letterEmbeddings(), dims: 6, fields: ["text"] };

/** What both come to. */
async function both<T>(story: (store: Either) => Promise<T>): Promise<{ readonly theirs: T; readonly ours: T }> {
  const options = { table: createMemoryTable(), blobs: createMemoryBlobs(), tenant: tenantId("acme") };
  // Its types want LangChain's class; it calls the two methods.
  const stock = new InMemoryStore({ index: { ...index, embeddings: index.embeddings as never } }) as Either;
  return { theirs: await story(stock), ours: await story(createStore({ ...options, index })) };
}

const scores = async (store: Either, query: string): Promise<readonly unknown[]> =>
  (await store.search(["n"], { query })).map(({ key, score }) => [key, score]);

describe("what InMemoryStore gets wrong", () => {
  it("a text that an item no longer has is no longer found by it", async () => {
    const { theirs, ours } = await both(async (store) => {
      await store.put(["n"], "k", { text: "a" });
      await store.put(["n"], "k", { text: "b" }, false);
      return scores(store, "a");
    });
    expect(theirs).toEqual([["k", 1]]);
    expect(ours).toEqual([["k", undefined]]);
  });

  it("a namespace without items is not listed", async () => {
    const { theirs, ours } = await both(async (store) => {
      await store.put(["n"], "k", {});
      await store.delete(["n"], "k");
      await store.delete(["never"], "k");
      return store.listNamespaces();
    });
    expect(theirs).toEqual([["n"], ["never"]]);
    expect(ours).toEqual([]);
  });

  it("objects and lists are equal when they are the same JSON, whatever the order of their keys", async () => {
    const { theirs, ours } = await both(async (store) => {
      await store.put(["n"], "k", { at: { city: "Rome", zip: [1, 2] }, none: [] });
      const filters = [
        { at: { zip: [1, 2], city: "Rome" } },
        { at: { $eq: { city: "Rome", zip: [1, 2] } } },
        { at: { $in: [{ city: "Rome", zip: [1, 2] }] } },
        { at: { city: "Rome" } },
        { none: [] },
        { at: [] },
      ];
      return Promise.all(filters.map(async (filter) => (await store.search(["n"], { filter })).length));
    });
    // Nothing that was read from a table is ever the same reference. A list without elements matches everything there.
    expect(theirs).toEqual([0, 0, 0, 0, 1, 1]);
    expect(ours).toEqual([1, 1, 1, 0, 1, 0]);
  });

  it.each([
    ["$regex", { text: { $regex: "a" } }],
    ["toString", { text: { $toString: 1 } }],
    ["side by side", { text: { $eq: "a", also: 1 } }],
  ])("a filter that cannot be understood is an error: %s", async (said, filter) => {
    const search = async (store: Either): Promise<unknown> => {
      await store.put(["n"], "k", { text: "a" });
      return store.search(["n"], { filter }).catch((error: unknown) => error);
    };
    const { theirs, ours } = await both(search);
    expect(theirs).toEqual([]);
    expect(ours).toMatchObject({ code: "invalid", message: expect.stringContaining(said) as string });
  });

  it("two items are two, also in one batch", async () => {
    const { theirs, ours } = await both(async (store) => {
      await store.batch([
        { namespace: ["a", "b"], key: "c", value: { n: 1 } },
        { namespace: ["a"], key: "b:c", value: { n: 2 } },
      ]);
      return (await store.search(["a"])).map(({ value }) => value["n"] as number);
    });
    expect(theirs).toEqual([2]);
    expect(ours.toSorted((a, b) => a - b)).toEqual([1, 2]);
  });

  it("what has no vectors stands on one page", async () => {
    const { theirs, ours } = await both(async (store) => {
      await store.put(["n"], "1", { text: "a" });
      await store.put(["n"], "2", {});
      await store.put(["n"], "3", {});
      const pages = [0, 1, 2].map((offset) => store.search(["n"], { query: "a", limit: 1, offset }));
      return (await Promise.all(pages)).map((page) => page.map(({ key }) => key).join());
    });
    expect(theirs).toEqual(["1", "2", "2"]);
    expect(ours).toEqual(["1", "2", "3"]);
  });

  it("a null is no text", async () => {
    const { theirs, ours } = await both(async (store) => {
      await store.put(["n"], "k", { text: null }, ["{text}"]);
      return scores(store, "a");
    });
    expect(theirs).toEqual([["k", 0]]);
    expect(ours).toEqual([["k", undefined]]);
  });

  it("what was handed out stays what it was", async () => {
    const { theirs, ours } = await both(async (store) => {
      await store.put(["n"], "k", { v: 1 });
      const item = await store.get(["n"], "k");
      await store.put(["n"], "k", { v: 2 });
      return item?.value;
    });
    expect(theirs).toEqual({ v: 2 });
    expect(ours).toEqual({ v: 1 });
  });
});

it("what is found comes in the order of namespaces and keys, so that pages need no sorting", async () => {
  const { theirs, ours } = await both(async (store) => {
    for (const key of ["b", "a", "c"]) await store.put(["n"], key, {});
    return (await store.search(["n"])).map(({ key }) => key);
  });
  expect(theirs).toEqual(["b", "a", "c"]);
  expect(ours).toEqual(["a", "b", "c"]);
});
