/** `POST /threads/{id}/copy` through the official SDK: real runtime, worker, SQLite. */
import { Annotation, END, START, StateGraph, interrupt } from "@langchain/langgraph";
import type { Client } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemIds } from "../../src/core/ids.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import { startService } from "../support/service.ts";
import type { Service } from "../support/service.ts";

const State = Annotation.Root({
  words: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
  asks: Annotation<boolean>(),
});
const sub = new StateGraph(State)
  .addNode("inner", ({ asks }) => ({ words: [asks ? String(interrupt("go on?")) : "inner"] }))
  .addEdge(START, "inner")
  .compile();
const graph = new StateGraph(State)
  .addNode("first", () => ({ words: ["first"] }))
  .addNode("sub", sub)
  .addEdge(START, "first")
  .addEdge("first", "sub")
  .addEdge("sub", END)
  .compile();

let service: Service;
let client: Client;
beforeAll(async () => {
  service = await startService({ graphs: createRegistry([registeredGraph("words", graph)]) });
  client = service.client("acme");
});
afterAll(() => service[Symbol.asyncDispose]());

async function used(asks = false): Promise<string> {
  const { thread_id: thread } = await client.threads.create({ metadata: { case: 7 } });
  await client.runs.wait(thread, "words", { input: { words: ["in"], asks } });
  return thread;
}

/** At once after the end of a run, whose lease may still be there: the service waits for that. */
const copyOf = async (thread: string): Promise<string> => {
  // The SDK declares no answer, and passes on what it gets.
  const copy = (await client.threads.copy(thread)) as unknown as { readonly thread_id: string };
  return copy.thread_id;
};

describe("a copy of a thread", () => {
  it("has the state, the metadata and the whole history, with its own id in place of the source's", async () => {
    const source = await used();
    const copy = await copyOf(source);
    expect(copy).not.toBe(source);
    const thread = await client.threads.get(copy);
    expect(thread).toMatchObject({ status: "idle", metadata: { case: 7, graph_id: "words", thread_id: copy } });
    const [before, after] = await Promise.all([client.threads.getHistory(source), client.threads.getHistory(copy)]);
    expect(before.length).toBeGreaterThan(3);
    expect(JSON.parse(JSON.stringify(before).replaceAll(source, copy))).toEqual(after);
    expect(JSON.stringify(after)).not.toContain(source);
    expect(thread.values).toEqual((await client.threads.get(source)).values);
  });

  it("goes on apart from its source, also from an older checkpoint", async () => {
    const source = await used();
    const copy = await copyOf(source);
    const words = ["in", "first", "in", "first", "inner"];
    await client.runs.wait(copy, "words", { input: { words: ["more"] } });
    const wordsOf = async (thread: string) =>
      ((await client.threads.getState(thread)).values as typeof State.State).words;
    expect(await wordsOf(source)).toEqual(words);
    expect((await wordsOf(copy)).length).toBeGreaterThan(words.length);
    const older = (await client.threads.getHistory(copy)).at(-2);
    await client.runs.wait(copy, "words", { input: null, checkpointId: String(older?.checkpoint.checkpoint_id) });
    expect(await wordsOf(source)).toEqual(words);
  });

  it("of one that waits is asked anew, and is answered apart", async () => {
    const source = await used(true);
    expect((await client.threads.get(source)).status).toBe("interrupted");
    const copy = await copyOf(source);
    expect(await client.threads.get(copy)).toMatchObject({ status: "idle", interrupts: {} });
    expect((await client.threads.getState(copy)).next).toEqual(["sub"]);
    await client.runs.wait(copy, "words", { input: null });
    expect((await client.threads.get(copy)).status).toBe("interrupted");
    await client.runs.wait(copy, "words", { command: { resume: "yes" } });
    expect(JSON.stringify((await client.threads.getState(copy)).values)).toContain("yes");
    expect((await client.threads.get(source)).status).toBe("interrupted");
    await client.runs.wait(source, "words", { command: { resume: "no" } });
    expect(JSON.stringify((await client.threads.getState(source)).values)).not.toContain("yes");
  });

  it("of a thread that has never run is empty", async () => {
    const { thread_id: source } = await client.threads.create({ metadata: { case: 8 } });
    const copy = await copyOf(source);
    expect(await client.threads.get(copy)).toMatchObject({ values: null, metadata: { case: 8, thread_id: copy } });
    expect(await client.threads.getHistory(copy)).toEqual([]);
  });

  it("is not made of another tenant's thread, nor of one that is not there", async () => {
    const source = await used();
    await expect(service.client("globex").threads.copy(source)).rejects.toMatchObject({ status: 404 });
    await expect(client.threads.copy(systemIds.uuid())).rejects.toMatchObject({ status: 404 });
    await client.threads.delete(source);
    await expect(client.threads.copy(source)).rejects.toMatchObject({ status: 404 });
    expect(await service.client("globex").threads.search()).toEqual([]);
  });
});
