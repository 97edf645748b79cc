import { createServer } from "node:http";
import { join } from "node:path";
import { Client } from "@langchain/langgraph-sdk";
import { expect, it } from "vitest";
import { PROJECT } from "../../scripts/demo/process.ts";
import { listen } from "../support/http.ts";
import { startTestService, testFolder, until } from "../support/process.ts";

const HOLDPOINT_CONFIG = join(PROJECT, "test/e2e/graphs/langgraph.json");

it("on Amazon ECS a process protects its task while it executes, and gives that up when it ends", async () => {
  const asked: boolean[] = [];
  const agent = createServer((request, response) => {
    let text = "";
    request.on("data", (chunk) => (text += String(chunk)));
    request.on("end", () => {
      const { ProtectionEnabled } = JSON.parse(text) as { readonly ProtectionEnabled: boolean };
      asked.push(ProtectionEnabled);
      response.end(JSON.stringify({ protection: { ProtectionEnabled } }));
    });
  });
  await using listening = await listen(agent);
  await using folder = await testFolder();
  const env = { HOLDPOINT_CONFIG, ECS_AGENT_URI: listening.url };
  await using service = startTestService({ role: "all", dataDir: join(folder.path, "data"), env });
  const { url = "" } = await service.ready;
  expect(asked).toEqual([]);
  const client = new Client({ apiUrl: url });
  await client.runs.wait(null, "steps", { input: { steps: 2, pauseMs: 20 } });
  await client.runs.wait(null, "steps", { input: { steps: 2, pauseMs: 20 } });
  await until("the agent was asked", () => asked.length > 0);
  expect((await service.stop("SIGTERM")).code).toBe(0);
  expect(asked).toEqual([true, false]);
});
