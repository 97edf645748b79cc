import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Client } from "@langchain/langgraph-sdk";
import { PROJECT } from "../../scripts/demo/process.ts";
import { fleetEngines } from "../support/fleet.ts";
import type { Fleet } from "../support/fleet.ts";
import { until } from "../support/process.ts";

const HOLDPOINT_CONFIG = join(PROJECT, "test/e2e/graphs/langgraph.json");
/** So long that whoever waits for a lease to run out fails its test. */
const LONG_LEASE = "120000";

interface Steps {
  readonly taken: readonly number[];
}

const stepsOf = async (client: Client, threadId: string): Promise<readonly number[]> =>
  ((await client.threads.getState(threadId)).values as Partial<Steps>).taken ?? [];

const distinct = (pids: readonly number[]): readonly number[] => [...new Set(pids)];

describe.each(fleetEngines())("an API process and workers on $name", { timeout: 120_000 }, (engine) => {
  it("meet in the table: what one accepts, another executes, and the first streams it", async () => {
    await using fleet = await engine.open({ HOLDPOINT_CONFIG });
    const { client, service: api } = await fleet.startApi();
    const worker = fleet.start({ role: "worker" });
    const thread = await client.threads.create();
    const frames: unknown[] = [];
    const stream = client.runs.stream(thread.thread_id, "steps", {
      input: { steps: 3, pauseMs: 20 },
      streamMode: ["custom", "values"],
    });
    for await (const { event, data } of stream) if (event === "custom") frames.push(data);
    expect(frames).toEqual([{ step: 1 }, { step: 2 }, { step: 3 }]);
    expect(await stepsOf(client, thread.thread_id)).toEqual([worker.pid, worker.pid, worker.pid]);
    for (const service of [api, worker]) expect((await service.stop("SIGTERM")).code).toBe(0);
  });

  it("a cancel at one stops the run that another executes, which then takes the next", async () => {
    await using fleet = await engine.open({ HOLDPOINT_CONFIG });
    const { client } = await fleet.startApi();
    const worker = fleet.start({ role: "worker" });
    await worker.ready;
    const { thread_id: thread } = await client.threads.create();
    // It does not end by itself while a test waits.
    const run = await client.runs.create(thread, "stuck", { input: { text: "" } });
    const statusOf = async () => (await client.runs.get(thread, run.run_id)).status;
    await until("it is executed", async () => (await statusOf()) === "running", 30_000);
    await client.runs.cancel(thread, run.run_id);
    await until("it is stopped", async () => (await statusOf()) === "interrupted", 30_000);
    const { taken } = (await client.runs.wait(thread, "steps", {
      input: { steps: 1, pauseMs: 1 },
    })) as unknown as Steps;
    expect(taken).toEqual([worker.pid]);
  });

  it("a killed worker is replaced at once on the same machine, and no step is lost or taken twice", async () => {
    await using fleet = await engine.open({ HOLDPOINT_CONFIG, HOLDPOINT_LEASE_MS: LONG_LEASE });
    const { client } = await fleet.startApi();
    const first = fleet.start({ role: "worker" });
    await first.ready;
    const thread = await client.threads.create();
    const run = await client.runs.create(thread.thread_id, "steps", { input: { steps: 6, pauseMs: 150 } });
    await until("two steps are taken", async () => (await stepsOf(client, thread.thread_id)).length >= 2);
    await first.stop("SIGKILL");
    const second = fleet.start({ role: "worker" });
    const { taken } = (await client.runs.join(thread.thread_id, run.run_id)) as unknown as Steps;
    expect(taken).toHaveLength(6);
    expect(distinct(taken)).toEqual([first.pid, second.pid]);
  });

  it("a worker that is asked to stop gives its threads up, and another takes over at once", async () => {
    await using fleet = await engine.open({ HOLDPOINT_CONFIG, HOLDPOINT_LEASE_MS: LONG_LEASE });
    const { client } = await fleet.startApi();
    const first = fleet.start({ role: "worker" });
    await first.ready;
    const run = await startEndless(client, fleet);
    const second = fleet.start({ role: "worker" });
    await second.ready;
    expect(await first.stop("SIGTERM")).toEqual({ code: 0, signal: null });
    await until("the other worker takes a step", async () => (await run.taken()).includes(second.pid));
    const taken = await run.end();
    expect(distinct(taken)).toEqual([first.pid, second.pid]);
  });

  it("a worker that was frozen beyond its lease and wakes up changes nothing any more", async () => {
    await using fleet = await engine.open({ HOLDPOINT_CONFIG, HOLDPOINT_LEASE_MS: "1000" });
    const { client } = await fleet.startApi();
    const frozen = fleet.start({ role: "worker" });
    await frozen.ready;
    const run = await startEndless(client, fleet);
    frozen.signal("SIGSTOP");
    const second = fleet.start({ role: "worker" });
    await until("the other worker takes a step", async () => (await run.taken()).includes(second.pid), 30_000);
    frozen.signal("SIGCONT");
    const before = (await run.taken()).length;
    await until("steps go on", async () => (await run.taken()).length >= before + 3);
    const taken = await run.end();
    expect(taken.lastIndexOf(frozen.pid)).toBeLessThan(taken.indexOf(second.pid));
    expect((await frozen.stop("SIGTERM")).code).toBe(0);
  });
});

/** A run that takes steps until it is told to end, and has taken some. */
async function startEndless(client: Client, fleet: Fleet) {
  const stopFile = join(fleet.dataDir, "stop");
  const thread = await client.threads.create();
  const taken = (): Promise<readonly number[]> => stepsOf(client, thread.thread_id);
  const run = await client.runs.create(thread.thread_id, "steps", {
    input: { steps: 1000, pauseMs: 150, stopFile },
    config: { recursion_limit: 1000 },
  });
  await until("two steps are taken", async () => (await taken()).length >= 2);
  return {
    taken,
    async end(): Promise<readonly number[]> {
      await writeFile(stopFile, "");
      return ((await client.runs.join(thread.thread_id, run.run_id)) as unknown as Steps).taken;
    },
  };
}
