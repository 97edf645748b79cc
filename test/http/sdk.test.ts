/** The service as the official SDK sees it: real runtime, worker, SQLite. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Client } from "@langchain/langgraph-sdk";
import { defaultAssistantId } from "../../src/core/ids.ts";
import { eventually } from "../support/eventually.ts";
import { createTestGraphs } from "../support/graphs.ts";
import { startService } from "../support/service.ts";
import type { Service } from "../support/service.ts";

const { registry, gate } = createTestGraphs();
let service: Service;
let client: Client;

beforeAll(async () => {
  service = await startService({ graphs: registry });
  client = service.client("acme");
});
afterAll(async () => {
  gate.open();
  await service[Symbol.asyncDispose]();
});

const newThread = async (): Promise<string> => (await client.threads.create()).thread_id;
const ECHOED = { text: "hi", log: ["one hi", "two hi"] };

async function collect<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const one of stream) all.push(one);
  return all;
}

describe("a run on a thread", () => {
  it("is waited for, and leaves its values on the thread", async () => {
    const thread = await newThread();
    expect(await client.runs.wait(thread, "echo", { input: { text: "hi" } })).toEqual(ECHOED);
    const state = await client.threads.getState(thread);
    expect(state.values).toEqual(ECHOED);
    expect(state.next).toEqual([]);
    const found = await client.threads.get(thread);
    expect(found).toMatchObject({ status: "idle", values: ECHOED, metadata: { graph_id: "echo" } });
  });

  it("is created, listed, read and joined", async () => {
    const thread = await newThread();
    const metadata = { purpose: "test" };
    const run = await client.runs.create(thread, "echo", { input: { text: "hi" }, metadata });
    expect(run).toMatchObject({ thread_id: thread, assistant_id: defaultAssistantId("echo"), metadata });
    expect(run.multitask_strategy).toBe("enqueue");
    expect(await client.runs.join(thread, run.run_id)).toEqual(ECHOED);
    expect(await client.runs.get(thread, run.run_id)).toMatchObject({
      status: "success",
      kwargs: { input: { text: "hi" } },
    });
    const second = await client.runs.create(thread, "echo", { input: null });
    await client.runs.join(thread, second.run_id);
    const listed = await client.runs.list(thread);
    expect(listed.map(({ run_id: id }) => id)).toEqual([second.run_id, run.run_id]);
    expect(await client.runs.list(thread, { limit: 1, offset: 1 })).toHaveLength(1);
    expect(await client.runs.list(thread, { status: "error" })).toEqual([]);
    expect(await client.runs.list(thread, { select: ["run_id"] })).toEqual([
      { run_id: second.run_id },
      { run_id: run.run_id },
    ]);
  });

  it("streams the modes that were asked for", async () => {
    const thread = await newThread();
    const seen = await collect(
      client.runs.stream(thread, "echo", { input: { text: "hi" }, streamMode: ["values", "updates"] }),
    );
    expect(seen[0]?.event).toBe("metadata");
    expect(seen.filter(({ event }) => event === "updates").map(({ data }) => data)).toEqual([
      { one: { log: ["one hi"] } },
      { two: { log: ["two hi"] } },
    ]);
    expect(seen.findLast(({ event }) => event === "values")?.data).toEqual(ECHOED);
    expect(new Set(seen.map(({ event }) => event))).toEqual(new Set(["metadata", "values", "updates"]));
  });

  it("streams messages token by token, custom data, and subgraphs under their names", async () => {
    const chat = await collect(
      client.runs.stream(await newThread(), "chat", {
        input: { messages: [{ role: "user", content: "hi" }] },
        streamMode: "messages-tuple",
      }),
    );
    const tokens = chat.flatMap(({ event, data }) =>
      event === "messages" ? [(data as unknown as [{ content: string }])[0].content] : [],
    );
    expect(tokens.join("")).toContain("hello there");
    expect(tokens.length).toBeGreaterThan(5);

    const talk = await collect(
      client.runs.stream(await newThread(), "talker", { input: { text: "50%" }, streamMode: "custom" }),
    );
    expect(talk.map(({ event, data }) => [event, data]).at(-1)).toEqual(["custom", { progress: "50%" }]);

    const nested = await collect(
      client.runs.stream(await newThread(), "nested", {
        input: { text: "x" },
        streamMode: "updates",
        streamSubgraphs: true,
      }),
    );
    expect(nested.map(({ event }) => event.replace(/:.*/, ""))).toEqual(["metadata", "updates|inner", "updates"]);
  });

  it("is read again from any frame on, by anyone, to the same frames", async () => {
    const thread = await newThread();
    let run = "";
    const first = await collect(
      client.runs.stream(thread, "echo", {
        input: { text: "hi" },
        streamMode: ["values", "updates"],
        streamResumable: true,
        onRunCreated: ({ run_id: id }) => (run = id),
      }),
    );
    const again = await collect(client.runs.joinStream(thread, run, { lastEventId: "-1" }));
    expect(again).toEqual(first);
    const half = await collect(client.runs.joinStream(thread, run, { lastEventId: String(first[2]?.id) }));
    expect(half).toEqual(first.slice(3));
  });

  it("waits in line behind another, and is cancelled there at once", async () => {
    const thread = await newThread();
    const running = await client.runs.create(thread, "gated", { input: { text: "a" } });
    const queued = await client.runs.create(thread, "gated", { input: { text: "b" } });
    await eventually(() => gate.waiting() === 1);
    expect((await client.threads.get(thread)).status).toBe("busy");
    await client.runs.cancel(thread, queued.run_id);
    expect((await client.runs.get(thread, queued.run_id)).status).toBe("interrupted");
    await expect(client.runs.create(thread, "gated", { multitaskStrategy: "reject" })).rejects.toMatchObject({
      status: 409,
    });
    await client.runs.cancel(thread, running.run_id, true);
    expect((await client.runs.get(thread, running.run_id)).status).toBe("interrupted");
    expect(await client.runs.join(thread, running.run_id)).toMatchObject({ log: ["before"] });
    expect((await client.threads.get(thread)).status).toBe("idle");
  });

  it("is asked to stop without waiting for it, which is what the SDK does by default", async () => {
    const thread = await newThread();
    const run = await client.runs.create(thread, "gated", { input: { text: "a" } });
    await eventually(() => gate.waiting() === 1);
    await client.runs.cancel(thread, run.run_id);
    await eventually(async () => (await client.runs.get(thread, run.run_id)).status === "interrupted");
    expect((await client.threads.getState(thread)).values).toMatchObject({ log: ["before"] });
  });

  it("is cancelled when the one who started it goes and had asked for that", async () => {
    const thread = await newThread();
    const leaving = new AbortController();
    const watching = collect(
      client.runs.stream(thread, "gated", { input: { text: "a" }, onDisconnect: "cancel", signal: leaving.signal }),
    ).catch(() => "gone");
    await eventually(() => gate.waiting() === 1);
    leaving.abort();
    expect(await watching).toBe("gone");
    await eventually(async () => (await client.runs.list(thread))[0]?.status === "interrupted");
  });

  it("is streamed on when the connection breaks: the client comes back and misses nothing", async () => {
    const thread = await newThread();
    const stream = client.runs.stream(thread, "gated", {
      input: { text: "a" },
      streamMode: "updates",
      streamResumable: true,
    });
    const watching = collect(stream);
    await eventually(() => gate.waiting() === 1);
    service.app.server.closeAllConnections();
    gate.open();
    const seen = await watching;
    expect(seen.filter(({ event }) => event === "updates").map(({ data }) => data)).toEqual([
      { before: { log: ["before"] } },
      { gate: { log: ["through"] } },
    ]);
    const ids = seen.filter(({ event }) => event !== "end").map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it.each([
    ["an error", { name: "TypeError", message: "Boo!" }],
    ["string", { name: "Error", message: "a thrown string" }],
  ])(
    "that throws %s ends as an error that can be read, and the thread stays usable",
    async (text, { name, message }) => {
      const thread = await newThread();
      await expect(client.runs.wait(thread, "thrower", { input: { text } })).rejects.toThrow(message);
      const told = await client.runs.wait(thread, "thrower", { input: { text }, raiseError: false });
      expect(told).toEqual({ __error__: { error: name, message } });
      expect((await client.threads.get(thread)).status).toBe("error");
      const streamed = await collect(client.runs.stream(thread, "thrower", { input: { text } }));
      expect(streamed.at(-1)).toMatchObject({ event: "error", data: { error: name, message } });
      expect(await client.runs.wait(thread, "echo", { input: { text: "hi" } })).toMatchObject({ text: "hi" });
    },
  );

  it("without input goes on from the checkpoint, and an empty input is an input", async () => {
    const thread = await newThread();
    await client.runs.wait(thread, "echo", { input: { text: "hi" } });
    expect(await client.runs.wait(thread, "echo", {})).toEqual(ECHOED);
    expect(await client.runs.wait(thread, "echo", { input: {} })).toEqual({
      text: "hi",
      log: [...ECHOED.log, ...ECHOED.log],
    });
  });

  it("stops at a static breakpoint and goes on with null", async () => {
    const thread = await newThread();
    await client.runs.wait(thread, "echo", { input: { text: "hi" }, interruptBefore: ["two"] });
    const state = await client.threads.getState(thread);
    expect(state.next).toEqual(["two"]);
    expect(await client.runs.wait(thread, "echo", { input: null })).toEqual(ECHOED);
  });

  it("finds the headers of its request, without credentials", async () => {
    const answer = await service.app.call("POST", "/runs/wait", {
      json: { assistant_id: "headers", input: { text: "" } },
      headers: { "x-case": "7", "x-tenant-id": "globex", "x-service-key": "s" },
    });
    const { log } = (await answer.json()) as { readonly log: readonly string[] };
    expect(log).toContain("x-case");
    expect(log).toContain("user-agent");
    expect(log.filter((name) => ["x-api-key", "x-tenant-id", "x-service-key"].includes(name))).toEqual([]);
  });
});

describe("a run that stops for somebody", () => {
  it("answers wait with the interrupts, and goes on with command.resume, also beside an empty input", async () => {
    const thread = await newThread();
    const held = await client.runs.wait(thread, "asker", { input: { text: "why?" } });
    expect(held).toMatchObject({ __interrupt__: [{ value: { question: "why?" } }] });
    const view = await client.threads.get(thread);
    expect(view.status).toBe("interrupted");
    expect(Object.values(view.interrupts).flat()).toMatchObject([{ value: { question: "why?" } }]);
    const answer = await client.runs.wait(thread, "asker", { input: {}, command: { resume: "because" } });
    expect(answer).toMatchObject({ log: ["answer because"] });
    expect((await client.threads.get(thread)).status).toBe("idle");
  });

  it("streams the interrupt as its last values", async () => {
    const seen = await collect(
      client.runs.stream(await newThread(), "asker", { input: { text: "q" }, streamMode: "values" }),
    );
    expect(seen.at(-1)).toMatchObject({ event: "values", data: { __interrupt__: [{ value: { question: "q" } }] } });
  });
});

describe("a stateless run", () => {
  it("is waited for and streamed on a thread of its own", async () => {
    expect(await client.runs.wait(null, "echo", { input: { text: "hi" } })).toEqual(ECHOED);
    const seen = await collect(client.runs.stream(null, "echo", { input: { text: "hi" } }));
    expect(seen.at(-1)?.data).toEqual(ECHOED);
    const run = await client.runs.create(null, "echo", { input: { text: "hi" } });
    expect(run.run_id).toMatch(/^[0-9a-f-]{36}$/);
  });
});

describe("a repeated request", () => {
  it("under one Idempotency-Key starts one run; another body under it is refused", async () => {
    const headers = { "idempotency-key": "order-17" };
    const start = (text: string) =>
      service.app.call("POST", "/runs", { json: { assistant_id: "echo", input: { text } }, headers });
    const [first, second] = [await start("hi"), await start("hi")];
    const ids = [await first.json(), await second.json()].map((run) => (run as { readonly run_id: string }).run_id);
    expect(ids[0]).toBe(ids[1]);
    expect((await start("other")).status).toBe(422);
    const elsewhere = await service.app.call("POST", "/runs", {
      json: { assistant_id: "echo", input: { text: "hi" } },
      headers,
      as: "globex",
    });
    expect(((await elsewhere.json()) as { readonly run_id: string }).run_id).not.toBe(ids[0]);
  });
});
