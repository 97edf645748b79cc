/** Two versions of the service as real processes on one table; `test/unit/rolling-update.test.ts` has every case of it. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { PROJECT } from "../../scripts/demo/process.ts";
import { fleetEngines } from "../support/fleet.ts";
import { NEXT_VERSION } from "../support/next-version.ts";
import { until } from "../support/process.ts";

const HOLDPOINT_CONFIG = join(PROJECT, "test/e2e/graphs/langgraph.json");
const STEPS = { input: { steps: 2, pauseMs: 1 } } as const;

describe.each(fleetEngines())("a roll-out that skipped a release, on $name", { timeout: 120_000 }, (engine) => {
  it("stops nobody's own work, and what the next version wrote waits for its workers", async () => {
    await using fleet = await engine.open({ HOLDPOINT_CONFIG });
    const old = await fleet.startApi();
    const oldWorker = fleet.start({ role: "worker" });
    const next = await fleet.startApi({ env: NEXT_VERSION });
    const theirs = await next.client.threads.create();
    const run = await next.client.runs.create(theirs.thread_id, "steps", STEPS);
    await until("the old worker says that it leaves the thread", () =>
      oldWorker.lines.some((line) => line.includes("left to workers of a later version")),
    );

    const asked = await fetch(`${old.url}/threads/${theirs.thread_id}`);
    expect([asked.status, asked.headers.get("retry-after")]).toEqual([503, "1"]);
    expect(await asked.text()).toContain("was written by a newer version of Holdpoint");
    const ours = await old.client.threads.create();
    expect(await old.client.runs.wait(ours.thread_id, "steps", STEPS)).toMatchObject({
      taken: [oldWorker.pid, oldWorker.pid],
    });
    expect((await old.client.threads.search()).map((thread) => thread.thread_id)).toEqual([ours.thread_id]);
    expect((await next.client.runs.get(theirs.thread_id, run.run_id)).status).toBe("pending");

    const nextWorker = fleet.start({ role: "worker", env: NEXT_VERSION });
    expect(await next.client.runs.join(theirs.thread_id, run.run_id)).toMatchObject({
      taken: [nextWorker.pid, nextWorker.pid],
    });
    // The next version goes on with what this one left.
    await oldWorker.stop("SIGTERM");
    expect(await next.client.runs.wait(ours.thread_id, "steps", STEPS)).toMatchObject({
      taken: [oldWorker.pid, oldWorker.pid, nextWorker.pid],
    });
  });
});
