/** Threads, states and assistants through the official SDK: real runtime, worker, SQLite. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Client } from "@langchain/langgraph-sdk";
import { defaultAssistantId, systemIds, tenantId, threadId as toThreadId } from "../../src/core/ids.ts";
import { threadKeys } from "../../src/storage/keys.ts";
import { createTestGraphs } from "../support/graphs.ts";
import { startService } from "../support/service.ts";
import type { Service } from "../support/service.ts";

let service: Service;
let client: Client;

beforeAll(async () => {
  service = await startService({ graphs: createTestGraphs().registry });
  client = service.client("acme");
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
});

const status = (code: number) => ({ status: code });

describe("a thread", () => {
  it("is created under an id of the client's choice, once", async () => {
    const threadId = systemIds.uuid();
    const created = await client.threads.create({ threadId, metadata: { case: 7 } });
    expect(created).toMatchObject({
      thread_id: threadId,
      metadata: { case: 7 },
      status: "idle",
      values: null,
      interrupts: {},
    });
    await expect(client.threads.create({ threadId })).rejects.toMatchObject(status(409));
    const same = await client.threads.create({ threadId, metadata: { case: 8 }, ifExists: "do_nothing" });
    expect(same.metadata).toEqual({ case: 7 });
    const upper = await service.app.call("GET", `/threads/${threadId.toUpperCase()}`);
    expect(await upper.json()).toMatchObject({ thread_id: threadId });
  });

  it("of the same id belongs to each tenant apart", async () => {
    const threadId = systemIds.uuid();
    await client.threads.create({ threadId, metadata: { of: "acme" } });
    await service.client("globex").threads.create({ threadId, metadata: { of: "globex" } });
    expect((await client.threads.get(threadId)).metadata).toEqual({ of: "acme" });
    await client.threads.delete(threadId);
    expect((await service.client("globex").threads.get(threadId)).metadata).toEqual({ of: "globex" });
  });

  it("that never ran has the empty state, exactly", async () => {
    const { thread_id: threadId } = await client.threads.create();
    expect(await client.threads.getState(threadId)).toEqual({
      values: {},
      next: [],
      tasks: [],
      created_at: null,
      checkpoint: null,
      parent_checkpoint: null,
    });
    expect(await client.threads.getHistory(threadId)).toEqual([]);
  });

  it("takes metadata key by key, also much of it, also from many at once", async () => {
    const { thread_id: threadId } = await client.threads.create({ metadata: { a: 1, b: 1 } });
    expect((await client.threads.update(threadId, { metadata: { b: 2 } })).metadata).toEqual({ a: 1, b: 2 });
    await client.threads.update(threadId, { metadata: { long: "x".repeat(20_000) } });
    const keys = Array.from({ length: 8 }, (_, i) => `k${i}`);
    await Promise.all(keys.map((key) => client.threads.update(threadId, { metadata: { [key]: true } })));
    const { metadata } = await client.threads.get(threadId);
    expect(Object.keys(metadata as object).toSorted()).toEqual(["a", "b", ...keys, "long"].toSorted());
  });

  it("answers a minimal patch without a body", async () => {
    const { thread_id: threadId } = await client.threads.create();
    const headers = { prefer: "return=minimal" };
    const answer = await service.app.call("PATCH", `/threads/${threadId}`, { json: { metadata: { a: 1 } }, headers });
    expect(answer.status).toBe(204);
    expect(await answer.text()).toBe("");
  });

  it("is deleted with its runs and states, and may be created again, empty", async () => {
    const threadId = systemIds.uuid();
    await client.threads.create({ threadId });
    const run = await client.runs.create(threadId, "echo", { input: { text: "hi" } });
    await client.runs.join(threadId, run.run_id);
    await client.threads.delete(threadId);
    await expect(client.threads.get(threadId)).rejects.toMatchObject(status(404));
    await expect(client.threads.delete(threadId)).rejects.toMatchObject(status(404));
    await expect(client.runs.get(threadId, run.run_id)).rejects.toMatchObject(status(404));
    await expect(client.runs.wait(threadId, "echo", { input: {} })).rejects.toMatchObject(status(404));
    await client.threads.create({ threadId });
    expect((await client.threads.getState(threadId)).values).toEqual({});
    expect(await client.runs.list(threadId)).toEqual([]);
    await expect(client.runs.get(threadId, run.run_id)).rejects.toMatchObject(status(404));
    expect(await client.runs.wait(threadId, "echo", { input: { text: "hi" } })).toEqual({
      text: "hi",
      log: ["one hi", "two hi"],
    });
  });

  it("comes into being with its first run, if that run says so", async () => {
    const threadId = systemIds.uuid();
    await expect(client.runs.wait(threadId, "echo", { input: { text: "hi" } })).rejects.toMatchObject(status(404));
    await client.runs.wait(threadId, "echo", { input: { text: "hi" }, ifNotExists: "create" });
    expect((await client.threads.get(threadId)).metadata).toMatchObject({
      graph_id: "echo",
      assistant_id: defaultAssistantId("echo"),
    });
  });
});

describe("a thread with a time to live", () => {
  it("says how long it has, and may be given another", async () => {
    const { thread_id: threadId } = await client.threads.create({ ttl: 90 });
    const shown = await client.threads.get(threadId, { include: ["ttl"] });
    expect(shown).toMatchObject({ ttl: { strategy: "delete", ttl_minutes: 90 } });
    const day = { ttl: { ttl: 1440, strategy: "keep_latest" } };
    const changed = await service.app.call("PATCH", `/threads/${threadId}`, { body: JSON.stringify(day) });
    const { updated_at: used } = (await changed.json()) as { updated_at: string };
    const end = new Date(Date.parse(used) + 24 * 3_600_000).toISOString();
    expect(await client.threads.get(threadId, { include: ["ttl"] })).toMatchObject({
      ttl: { strategy: "keep_latest", ttl_minutes: 1440, expires_at: end },
    });
    expect(await client.threads.get(threadId)).not.toHaveProperty("ttl");
    const { thread_id: kept } = await client.threads.create();
    expect(await client.threads.get(kept, { include: ["ttl"] })).toMatchObject({ ttl: null });
    for (const wrong of [0, -1, "1", 1e9, { ttl: 1e15 }, { ttl: 1, strategy: "archive" }, { strategy: "delete" }])
      expect((await service.app.call("POST", "/threads", { body: JSON.stringify({ ttl: wrong }) })).status).toBe(422);
  });

  it("whose record is damaged is passed over by a search, or shown without what cannot be read", async () => {
    const [whole, header, record] = [
      await client.threads.create(),
      await client.threads.create(),
      await client.threads.create(),
    ].map(({ thread_id: id }) => id);
    await client.runs.wait(record ?? "", "echo", { input: { text: "hi" } });
    const damage = async (id: string | undefined, sk: string) => {
      const pk = threadKeys.partition({ tenant: tenantId("acme"), threadId: toThreadId(id ?? "") });
      const page = await service.deps.table.query(pk, { prefix: sk, limit: 100 });
      for (const { version: _, writeId: __, ...item } of page.items)
        await service.deps.table.put(
          { ...item, attributes: { ...item.attributes, d: "{", b: new Uint8Array([9]) } },
          "any",
        );
      return page.items.length;
    };
    expect(await damage(header, "H")).toBe(1);
    await damage(record, "C#");
    const found = await client.threads.search({ ids: [whole, header, record].map(String) });
    expect(found.map(({ thread_id: id }) => id)).toContain(whole);
    expect(found.map(({ thread_id: id }) => id)).not.toContain(header);
    const all = await client.threads.search({ limit: 1000 });
    expect(all.map(({ thread_id: id }) => id)).toContain(whole);
    await expect(client.threads.get(header ?? "")).rejects.toMatchObject(status(500));
  });

  it("is pruned on demand, of one tenant only", async () => {
    const { thread_id: threadId } = await client.threads.create();
    await client.runs.wait(threadId, "echo", { input: { text: "hi" } });
    const values = (await client.threads.getState(threadId)).values;
    expect(await service.client("globex").threads.prune([threadId])).toEqual({ pruned_count: 0 });
    expect(await client.threads.prune([threadId], { strategy: "keep_latest" })).toEqual({ pruned_count: 1 });
    expect(await client.threads.getHistory(threadId)).toHaveLength(1);
    expect((await client.threads.getState(threadId)).values).toEqual(values);
    expect(await client.runs.wait(threadId, "echo", { input: { text: "ho" } })).toMatchObject({ text: "ho" });
    expect(await client.threads.prune([threadId, systemIds.uuid()])).toEqual({ pruned_count: 1 });
    await expect(client.threads.get(threadId)).rejects.toMatchObject(status(404));
  });
});

describe("states", () => {
  it("are kept through time, read at a checkpoint, and gone back to", async () => {
    const { thread_id: threadId } = await client.threads.create();
    await client.runs.wait(threadId, "echo", { input: { text: "hi" } });
    const history = await client.threads.getHistory<{ log: string[] }>(threadId);
    expect(history.map(({ next }) => next)).toEqual([[], ["two"], ["one"], ["__start__"]]);
    const [newest, afterOne] = history;
    if (!newest || !afterOne) throw new Error("there is no history");
    expect(afterOne.values.log).toEqual(["one hi"]);
    expect(newest.parent_checkpoint?.checkpoint_id).toBe(afterOne.checkpoint.checkpoint_id);

    const id = afterOne.checkpoint.checkpoint_id ?? "";
    expect(await client.threads.getState(threadId, id)).toMatchObject({ values: { log: ["one hi"] }, next: ["two"] });
    expect(
      await client.threads.getState(threadId, {
        thread_id: threadId,
        checkpoint_ns: "",
        checkpoint_id: id,
        checkpoint_map: {},
      }),
    ).toMatchObject({
      values: { log: ["one hi"] },
    });
    const before = { configurable: { thread_id: threadId, checkpoint_id: id } };
    expect((await client.threads.getHistory(threadId, { before })).map(({ next }) => next)).toEqual([
      ["one"],
      ["__start__"],
    ]);
    expect(await client.threads.getHistory(threadId, { limit: 1 })).toHaveLength(1);
    const get = await service.app.call("GET", `/threads/${threadId}/history?limit=2&before=${id}`);
    expect(await get.json()).toHaveLength(2);

    const forked = await client.runs.wait(threadId, "echo", { checkpointId: id });
    expect(forked).toEqual({ text: "hi", log: ["one hi", "two hi"] });
    await expect(client.threads.getState(threadId, "1ef00000-0000-6000-8000-000000000000")).rejects.toMatchObject(
      status(404),
    );
  });

  it("show only what was selected", async () => {
    const { thread_id: threadId } = await client.threads.create();
    await client.runs.wait(threadId, "echo", { input: { text: "hi" } });
    const select = async (query: string): Promise<unknown> =>
      (await service.app.call("GET", `/threads/${threadId}/state?${query}`)).json();
    expect(await select("select=next&select=values.text")).toEqual({ next: [], values: { text: "hi" } });
    expect(Object.keys((await select("subgraphs=true")) as object)).toContain("interrupts");
  });

  it("are changed by hand, on behalf of a node, but not under a run that is under way", async () => {
    const { thread_id: threadId } = await client.threads.create({ graphId: "echo" });
    await client.runs.wait(threadId, "echo", { input: { text: "hi" }, interruptBefore: ["two"] });
    const updated = await client.threads.updateState(threadId, { values: { text: "ho" }, asNode: "one" });
    expect(updated).toMatchObject({ checkpoint: { thread_id: threadId, checkpoint_ns: "" } });
    expect(await client.threads.getState(threadId)).toMatchObject({ values: { text: "ho" }, next: ["two"] });
    expect(await client.runs.wait(threadId, "echo", { input: null })).toMatchObject({ log: ["one hi", "two ho"] });
    await expect(
      client.threads.updateState(threadId, { values: { text: "x" }, asNode: "nobody" }),
    ).rejects.toMatchObject(status(422));
  });
});

describe("searching threads", () => {
  it("finds by metadata, status, values and ids, sorts, and says how many there are", async () => {
    const batch = systemIds.uuid();
    const created: string[] = [];
    for (const n of [1, 2, 3]) {
      created.push((await client.threads.create({ metadata: { batch, n, tags: ["a", `t${n}`] } })).thread_id);
    }
    const [first = "", second = "", third = ""] = created;
    await client.runs.wait(first, "echo", { input: { text: "needle" } });
    await client.runs.wait(second, "asker", { input: { text: "q" } });
    const ids = async (query: Parameters<Client["threads"]["search"]>[0]): Promise<string[]> =>
      (await client.threads.search({ metadata: { batch }, ...query })).map(({ thread_id: id }) => id);

    expect(await ids({})).toEqual([second, first, third]);
    expect(await ids({ sortBy: "created_at" })).toEqual([third, second, first]);
    expect(await ids({ sortBy: "created_at", sortOrder: "asc" })).toEqual(created);
    expect(await ids({ metadata: { batch, tags: ["t3"] } })).toEqual([third]);
    expect(await ids({ status: "interrupted" })).toEqual([second]);
    expect(await ids({ values: { text: "needle" } })).toEqual([first]);
    expect(await ids({ ids: [third, systemIds.uuid()] })).toEqual([third]);
    expect(await client.threads.count({ metadata: { batch }, status: "idle" })).toBe(2);

    const page = await service.app.call("POST", "/threads/search", {
      json: { metadata: { batch }, limit: 2, select: ["thread_id"] },
    });
    expect(page.headers.get("x-pagination-total")).toBe("3");
    expect(page.headers.get("x-pagination-next")).toBe("2");
    expect(await page.json()).toEqual([{ thread_id: second }, { thread_id: first }]);
    const last = await service.app.call("POST", "/threads/search", {
      json: { metadata: { batch }, limit: 2, offset: 2 },
    });
    expect(last.headers.get("x-pagination-next")).toBeNull();
    expect(await last.json()).toHaveLength(1);
  });

  it("never looks beyond the tenant", async () => {
    const batch = systemIds.uuid();
    const { thread_id: threadId } = await client.threads.create({ metadata: { batch } });
    const other = service.client("globex");
    expect(await other.threads.search({ metadata: { batch } })).toEqual([]);
    expect(await other.threads.search({ ids: [threadId] })).toEqual([]);
    expect(await other.threads.count({ metadata: { batch } })).toBe(0);
  });
});

describe("assistants", () => {
  it("exist for every graph, under the graph's id and under theirs", async () => {
    const byGraph = await client.assistants.get("echo");
    expect(byGraph).toMatchObject({
      assistant_id: defaultAssistantId("echo"),
      graph_id: "echo",
      name: "echo",
      version: 1,
      metadata: { created_by: "system" },
    });
    expect(await client.assistants.get(defaultAssistantId("echo"))).toEqual(byGraph);
    await expect(client.assistants.get("nothing")).rejects.toMatchObject(status(404));
    await expect(client.assistants.get(systemIds.uuid())).rejects.toMatchObject(status(404));
  });

  it("are created with a configuration, which their runs find, and seen by their tenant only", async () => {
    const created = await client.assistants.create({ graphId: "echo", name: "Polite echo", metadata: { team: "x" } });
    expect(created).toMatchObject({ graph_id: "echo", name: "Polite echo", version: 1, description: null });
    expect(await client.assistants.get(created.assistant_id)).toEqual(created);
    expect(await client.runs.wait(null, created.assistant_id, { input: { text: "hi" } })).toMatchObject({ text: "hi" });
    await expect(client.assistants.create({ graphId: "nothing" })).rejects.toMatchObject(status(404));
    const again = { graphId: "echo", assistantId: created.assistant_id };
    await expect(client.assistants.create(again)).rejects.toMatchObject(status(409));
    expect(await client.assistants.create({ ...again, ifExists: "do_nothing" })).toEqual(created);
    const reserved = { graphId: "echo", assistantId: defaultAssistantId("echo") };
    await expect(client.assistants.create(reserved)).rejects.toMatchObject(status(409));

    const other = service.client("globex");
    await expect(other.assistants.get(created.assistant_id)).rejects.toMatchObject(status(404));
    await expect(other.runs.wait(null, created.assistant_id, { input: {} })).rejects.toMatchObject(status(404));
    expect(await other.assistants.search({ metadata: { team: "x" } })).toEqual([]);
  });

  it("are searched, sorted and counted", async () => {
    await client.assistants.create({ graphId: "talker", name: "Zebra", metadata: { kind: "animal" } });
    await client.assistants.create({ graphId: "talker", name: "aardvark", metadata: { kind: "animal" } });
    const names = async (query: Parameters<Client["assistants"]["search"]>[0]): Promise<string[]> =>
      (await client.assistants.search({ metadata: { kind: "animal" }, ...query })).map(({ name }) => name);
    expect(await names({})).toEqual(["aardvark", "Zebra"]);
    expect(await names({ sortBy: "name", sortOrder: "asc" })).toEqual(["Zebra", "aardvark"]);
    expect(await client.assistants.count({ graphId: "talker" })).toBe(3);
    const found = await client.assistants.search({ graphId: "talker", limit: 2, includePagination: true });
    expect(found).toMatchObject({ next: "2" });
    expect(await client.assistants.search({ name: "AARD" })).toHaveLength(1);
  });

  it("of a graph that could not be loaded say so", async () => {
    await expect(client.runs.wait(null, "broken", { input: {} })).rejects.toMatchObject(status(409));
    const answer = await service.app.call("POST", "/runs", { json: { assistant_id: "broken", input: {} } });
    expect(await answer.json()).toMatchObject({ detail: expect.stringContaining("no such module") as string });
  });
});
