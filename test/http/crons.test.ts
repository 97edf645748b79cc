/** Crons over HTTP, through the unchanged SDK. */
import type { Client } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestGraphs } from "../support/graphs.ts";
import { startService } from "../support/service.ts";
import type { Service } from "../support/service.ts";

type NewCron = NonNullable<Parameters<Client["crons"]["create"]>[1]>;

let service: Service;
let client: Client;

beforeAll(async () => {
  service = await startService({ graphs: createTestGraphs().registry });
  client = service.client("acme");
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
});

const post = (path: string, json: object): Promise<Response> => service.app.call("POST", path, { json });

describe("a cron", () => {
  it("is created, found, counted, changed and deleted by the SDK", async () => {
    const made = await client.crons.create("echo", {
      schedule: "0 9 * * 1-5",
      timezone: "Europe/Berlin",
      input: { text: "weekly" },
      metadata: { team: "a" },
      endTime: "2099-01-01T00:00:00Z",
      onRunCompleted: "keep",
      webhook: "https://example.com/hook",
    });
    expect(made).toMatchObject({
      thread_id: null,
      schedule: "0 9 * * 1-5",
      timezone: "Europe/Berlin",
      end_time: "2099-01-01T00:00:00.000Z",
      enabled: true,
      on_run_completed: "keep",
      user_id: "alice",
      metadata: { team: "a" },
      payload: { input: { text: "weekly" }, webhook: "https://example.com/hook" },
    });
    expect(Date.parse(made.next_run_date)).toBeGreaterThan(Date.now());
    const other = await client.crons.create("echo", { schedule: "0 0 1 1 *", enabled: false });
    expect(other.next_run_date).toBeNull();

    expect((await client.crons.search({ metadata: { team: "a" } })).map((cron) => cron.cron_id)).toEqual([
      made.cron_id,
    ]);
    expect((await client.crons.search({ enabled: false })).map((cron) => cron.cron_id)).toEqual([other.cron_id]);
    const byDate = await client.crons.search({ sortBy: "next_run_date", sortOrder: "asc", select: ["cron_id"] });
    expect(byDate).toEqual([{ cron_id: made.cron_id }, { cron_id: other.cron_id }]);
    expect(await client.crons.search({ limit: 1, offset: 1, sortOrder: "asc" })).toHaveLength(1);
    expect(await client.crons.count()).toBe(2);
    expect(await client.crons.count({ assistantId: made.assistant_id, metadata: { team: "b" } })).toBe(0);

    const paused = (await client.crons.update(made.cron_id, {
      enabled: false,
      metadata: { more: 1 },
      input: { text: "changed" },
    })) as unknown as Record<string, unknown>;
    expect(paused).toMatchObject({
      enabled: false,
      next_run_date: null,
      metadata: { team: "a", more: 1 },
      payload: { input: { text: "changed" }, webhook: "https://example.com/hook" },
      schedule: "0 9 * * 1-5",
    });
    const resumed = await client.crons.update(made.cron_id, { enabled: true, endTime: null });
    expect(resumed).toMatchObject({ enabled: true, end_time: null });
    await client.crons.delete(made.cron_id);
    await client.crons.delete(other.cron_id);
    expect(await client.crons.count()).toBe(0);
    await expect(client.crons.delete(made.cron_id)).rejects.toThrow(/404/);
  });

  it("takes every field that the SDK sends, and of a change none that it does not know", async () => {
    const all: NewCron = {
      schedule: "0 0 1 1 *",
      input: { text: "x" },
      config: { tags: ["a"] },
      context: {},
      metadata: { a: 1 },
      interruptBefore: ["say"],
      interruptAfter: ["say"],
      webhook: "https://example.com/hook",
      multitaskStrategy: "enqueue",
      durability: "sync",
      enabled: true,
      timezone: "UTC",
      streamMode: "values",
      streamSubgraphs: true,
      streamResumable: true,
      endTime: "2099-01-01T00:00:00Z",
      onRunCompleted: "keep",
    };
    const made = await client.crons.create("echo", all);
    const older = { assistant_id: "echo", schedule: "0 0 1 1 *", checkpoint_during: true };
    const { cron_id: other } = (await (await post("/runs/crons", older)).json()) as { readonly cron_id: string };
    await client.crons.delete(other);
    const { multitaskStrategy: _, ...rest } = all;
    const { cron_id: id } = await client.crons.update(made.cron_id, rest);
    const misspelt = await service.app.call("PATCH", `/runs/crons/${id}`, { json: { overlap_polcy: "skip" } });
    expect([misspelt.status, await misspelt.text()]).toEqual([422, expect.stringContaining("body.overlap_polcy")]);
    await client.crons.delete(id);
  });

  it("on a thread belongs to it", async () => {
    const { thread_id: thread } = await client.threads.create();
    const made = await client.crons.createForThread(thread, "echo", { schedule: "0 0 1 1 *", input: { text: "x" } });
    expect(made.thread_id).toBe(thread);
    expect(await client.crons.search({ threadId: thread })).toHaveLength(1);
    expect(await client.crons.count({ threadId: thread })).toBe(1);
    await client.crons.delete(made.cron_id);
    const nowhere = `/threads/${crypto.randomUUID()}/runs/crons`;
    expect((await post(nowhere, { assistant_id: "echo", schedule: "0 0 1 1 *" })).status).toBe(404);
  });

  it.each([
    [{ schedule: "0 0 31 2 *" }, 422, /never due/],
    [{ schedule: "every day" }, 422, /five fields/],
    [{ schedule: "61 * * * *" }, 422, /not a cron expression/],
    [{ schedule: "* * * * *", timezone: "Europe/Atlantis" }, 422, /time zone/],
    [{ schedule: "* * * * *", end_time: "2020-01-01T00:00:00Z" }, 422, /never due before its end/],
    [{ schedule: "* * * * *", end_time: "soon" }, 422, /end_time/],
    [{ schedule: "* * * * *", assistant_id: "nobody" }, 404, /not found/],
    [{ schedule: "* * * * *", webhook: "http://169.254.169.254/" }, 422, /webhook/],
    [{ schedule: "* * * * *", missed_policy: "some" }, 422, /missed_policy/],
    [{ schedule: "* * * * *", missed_polcy: "skip" }, 422, /body\.missed_polcy: a cron has no such field/],
    [{ schedule: "* * * * *", onRunCompleted: "keep" }, 422, /body\.onRunCompleted/],
    [{ schedule: "* * * * *", after_seconds: 5 }, 422, /after_seconds/],
    [{ schedule: "* * * * *", stream_mode: "nonsense" }, 422, /stream_mode/],
    [{ schedule: "* * * * *", input: { text: "x".repeat(200_000) } }, 413, /128 KB/],
    [{}, 422, /schedule/],
  ])("%j is refused", async (body, status, reason) => {
    const response = await post("/runs/crons", { assistant_id: "echo", ...body });
    expect(await response.text()).toMatch(reason);
    expect(response.status).toBe(status);
    expect(await client.crons.count()).toBe(0);
  });
});
