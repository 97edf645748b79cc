/** A graph that throws where no promise carries it. */
import { join } from "node:path";
import { Client } from "@langchain/langgraph-sdk";
import { describe, expect, it } from "vitest";
import { PROJECT } from "../../scripts/demo/process.ts";
import { startTestService, testFolder, until } from "../support/process.ts";

const HOLDPOINT_CONFIG = join(PROJECT, "test/e2e/graphs/langgraph.json");

describe("what a graph throws outside of any promise", { timeout: 60_000 }, () => {
  it("ends its own run with that error, and neither the process nor anybody else's run", async () => {
    await using folder = await testFolder();
    const service = startTestService({ role: "all", dataDir: join(folder.path, "data"), env: { HOLDPOINT_CONFIG } });
    await using _ = service;
    const client = new Client({ apiUrl: (await service.ready).url ?? "" });
    const neighbour = await client.threads.create();
    const run = await client.runs.create(neighbour.thread_id, "steps", { input: { steps: 8, pauseMs: 100 } });
    for (const from of ["timer", "tick"]) {
      const { thread_id: thread } = await client.threads.create();
      const stray = await client.runs.create(thread, "stray", { input: { from } });
      await until("the run to fail", async () => (await client.runs.get(thread, stray.run_id)).status === "error");
      const message = `thrown outside of any promise: thrown in a ${from}`;
      expect(await client.runs.join(thread, stray.run_id)).toMatchObject({ __error__: { message } });
    }
    await client.runs.join(neighbour.thread_id, run.run_id);
    expect((await client.runs.get(neighbour.thread_id, run.run_id)).status).toBe("success");
    expect((await fetch(`${(await service.ready).url}/ok`)).status).toBe(200);
  });
});
