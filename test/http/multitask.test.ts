/** Runs that meet others on their thread, or begin later: the real runtime, as the official SDK asks for it. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Client, Run } from "@langchain/langgraph-sdk";
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

const input = (text: string) => ({ input: { text } });
const statusOf = async ({ thread_id: thread, run_id: run }: Run) => (await client.runs.get(thread, run)).status;
const logOf = async (thread: string) =>
  ((await client.threads.getState(thread)).values as { readonly log?: readonly string[] }).log;

/** A thread with two steps behind it, and a run that stands before its gate. */
async function gated(): Promise<Run> {
  const { thread_id: thread } = await client.threads.create();
  await client.runs.wait(thread, "echo", input("old"));
  const before = gate.waiting();
  const run = await client.runs.create(thread, "gated", input("first"));
  await eventually(() => gate.waiting() === before + 1);
  return run;
}

describe("a run that meets another", () => {
  it("interrupts it: what that did stays", async () => {
    const first = await gated();
    const thread = first.thread_id;
    await client.runs.wait(thread, "echo", { ...input("new"), multitaskStrategy: "interrupt" });
    expect(await statusOf(first)).toBe("interrupted");
    expect(await logOf(thread)).toEqual(["one old", "two old", "before", "one new", "two new"]);
  });

  it("rolls it back: what that did is gone", async () => {
    const first = await gated();
    const thread = first.thread_id;
    await client.runs.wait(thread, "echo", { ...input("new"), multitaskStrategy: "rollback" });
    expect(await logOf(thread)).toEqual(["one old", "two old", "one new", "two new"]);
  });

  it("is refused, or waits, as it asks", async () => {
    const { thread_id: thread } = await gated();
    const refused = client.runs.create(thread, "echo", { ...input("new"), multitaskStrategy: "reject" });
    await expect(refused).rejects.toThrow(/409.*Thread is busy/);
    const queued = await client.runs.create(thread, "echo", input("new"));
    expect(await statusOf(queued)).toBe("pending");
    gate.open();
    await client.runs.join(thread, queued.run_id);
    expect(await logOf(thread)).toEqual(["one old", "two old", "before", "through", "one new", "two new"]);
  });
});

describe("cancelling a run", () => {
  it.each([
    ["interrupt", ["one old", "two old", "before"]],
    ["rollback", ["one old", "two old"]],
  ] as const)("with %s", async (action, log) => {
    const { thread_id: thread, run_id: run } = await gated();
    await client.runs.cancel(thread, run, true, action);
    await eventually(async () => JSON.stringify(await logOf(thread)) === JSON.stringify(log));
    expect((await client.threads.get(thread)).status).not.toBe("busy");
  });

  it("with those that wait behind it", async () => {
    const first = await gated();
    const second = await client.runs.create(first.thread_id, "echo", input("new"));
    await client.runs.cancelMany({ threadId: first.thread_id, status: "all" });
    await eventually(async () => (await statusOf(first)) === "interrupted");
    expect(await statusOf(second)).toBe("interrupted");
    expect(await logOf(first.thread_id)).toEqual(["one old", "two old", "before"]);
  });
});

describe("a client that goes", () => {
  it.each(["stream", "wait"] as const)("from a %s cancels its run if it asked for that", async (how) => {
    const { thread_id: thread } = await client.threads.create();
    const before = gate.waiting();
    const leaving = new AbortController();
    const path = `/threads/${thread}/runs/${how}`;
    const json = { assistant_id: "gated", input: { text: "" }, on_disconnect: "cancel" };
    const asked = service.app.call("POST", path, { json, signal: leaving.signal }).then(
      (response) => response.text().catch(() => "gone"),
      () => "gone",
    );
    await eventually(() => gate.waiting() === before + 1);
    leaving.abort();
    expect(await asked).toBe("gone");
    await eventually(async () => (await client.runs.list(thread))[0]?.status === "interrupted");
  });

  it("from a join cancels the run if it asked for that", async () => {
    const first = await gated();
    const leaving = new AbortController();
    const path = `/threads/${first.thread_id}/runs/${first.run_id}/join?cancel_on_disconnect=1`;
    // Answered once the first keep-alive was sent: by then it waits.
    const joined = await service.app.call("GET", path, { signal: leaving.signal });
    leaving.abort();
    await expect(joined.text()).rejects.toThrow(/abort/);
    await eventually(async () => (await statusOf(first)) === "interrupted");
  });
});

describe("a run that begins later", () => {
  it("is pending until its time, and can be cancelled before", async () => {
    const { thread_id: thread } = await client.threads.create();
    const soon = await client.runs.create(thread, "echo", { ...input("soon"), afterSeconds: 0.2 });
    const never = await client.runs.create(thread, "echo", { ...input("never"), afterSeconds: 3600 });
    // As they were accepted: by now the first may have begun.
    expect([soon.status, never.status]).toEqual(["pending", "pending"]);
    expect(await statusOf(never)).toBe("pending");
    expect(await client.runs.join(thread, soon.run_id)).toMatchObject({ log: ["one soon", "two soon"] });
    await client.runs.cancel(thread, never.run_id, true);
    expect(await statusOf(never)).toBe("interrupted");
  });
});

describe("reviews that wait", () => {
  it("keep new input away unless it cancels them", async () => {
    const { thread_id: thread } = await client.threads.create();
    await client.runs.wait(thread, "refund", input("100"));
    const path = `/threads/${thread}/runs/wait`;
    const json = { assistant_id: "echo", input: { text: "new" } };
    expect((await service.app.call("POST", path, { json })).status).toBe(409);
    const answered = await service.app.call("POST", path, { json: { ...json, on_pending: "cancel" } });
    expect([answered.status, await answered.json()]).toMatchObject([200, { log: ["one new", "two new"] }]);
    const reviews = await service.app.call("GET", "/v1/reviews?state=open");
    expect(await reviews.json()).toMatchObject({ items: [] });
  });

  it("keep an update of the state away unless it cancels them", async () => {
    const { thread_id: thread } = await client.threads.create();
    await client.runs.wait(thread, "refund", input("100"));
    const path = `/threads/${thread}/state`;
    const json = { values: { text: "by hand" } };
    expect((await service.app.call("POST", path, { json })).status).toBe(409);
    expect((await service.app.call("POST", path, { json: { ...json, on_pending: "approve" } })).status).toBe(422);
    expect((await service.app.call("POST", path, { json: { ...json, on_pending: "cancel" } })).status).toBe(200);
    expect((await client.threads.getState(thread)).values).toMatchObject({ text: "by hand" });
    expect((await client.threads.get(thread)).status).toBe("idle");
    expect(await client.runs.wait(thread, "echo", input("new"))).toMatchObject({ text: "new" });
  });

  it("are cancelled with the held run that asks, once; after an answer that is 409", async () => {
    for (const answersFirst of [false, true]) {
      const { thread_id: thread } = await client.threads.create();
      await client.runs.wait(thread, "refund", input("100"));
      const open = await service.app.call("GET", "/v1/reviews?state=open");
      const { items } = (await open.json()) as {
        readonly items: readonly { readonly id: string; readonly thread_id: string; readonly digest: string }[];
      };
      const { id, digest } = items.find((review) => review.thread_id === thread) ?? { id: "", digest: "" };
      const approve = () =>
        service.app.call("POST", `/v1/reviews/${id}/decisions`, { json: { type: "approve", digest } });
      const [run] = await client.runs.list(thread);
      const cancel = () => service.app.call("POST", `/threads/${thread}/runs/${run?.run_id}/cancel?reason=moot`);
      if (answersFirst) {
        expect((await approve()).status).toBe(200);
        expect((await cancel()).status).toBe(409);
        continue;
      }
      expect([(await cancel()).status, (await cancel()).status, (await approve()).status]).toEqual([202, 202, 410]);
      expect(await client.runs.get(thread, run?.run_id ?? "")).toMatchObject({ holdpoint: { status: "held" } });
      expect((await client.threads.get(thread)).status).toBe("idle");
    }
  });
});
