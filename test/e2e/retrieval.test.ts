/** A real process with an embedder, before a fake of Bedrock: what it ingests, what it asks, and what it does meanwhile. */
import { join } from "node:path";
import { Client } from "@langchain/langgraph-sdk";
import { expect, it } from "vitest";
import { PROJECT } from "../../scripts/demo/process.ts";
import type { Service } from "../../scripts/demo/service.ts";
import { startFakeBedrock } from "../support/fake-bedrock.ts";
import { startTestService, testFolder } from "../support/process.ts";

const DOCUMENTS = join(PROJECT, "graphs/policy-desk/documents");
const EMBEDDER = "bedrock:amazon.titan-embed-text-v2:0@256";

const start = (folder: string, endpoint: string): Service =>
  startTestService({
    role: "all",
    dataDir: join(folder, "data"),
    env: { HOLDPOINT_EMBEDDER: EMBEDDER, BEDROCK_ENDPOINT: endpoint, HOLDPOINT_DOCUMENTS: DOCUMENTS },
  });

const QUESTION = "How long do I have to return a tent?";

async function answered(url: string): Promise<boolean> {
  const input = { messages: [{ role: "user", content: QUESTION }] };
  const said = (await new Client({ apiUrl: url }).runs.wait(null, "policy-desk", { input })) as {
    readonly citations: readonly unknown[];
  };
  return said.citations.length > 0;
}

it("embeds its documents once, and each question; an embedder that is away at the start does not stop it", async () => {
  await using folder = await testFolder();
  await using bedrock = await startFakeBedrock();
  const service = () => start(folder.path, bedrock.endpoint);
  const ingested = async (one: Service) => one.line((line) => line.includes("documents ingested") || undefined);
  const embedded = (from: number): readonly unknown[] =>
    bedrock.seen.slice(from).map(({ body }) => ("inputText" in body ? body.inputText : undefined));
  const away = { kind: "refuse", status: 503, type: "ServiceUnavailableException" } as const;
  bedrock.fault(({ index }) => (index >= 5 ? away : undefined));
  {
    await using first = service();
    await first.line((line) => line.includes("documents cannot be ingested at present") || undefined);
    expect((await fetch(`${(await first.ready).url}/ok`)).status).toBe(200);
  }
  bedrock.fault(() => undefined);
  const before = bedrock.seen.length;
  {
    await using second = service();
    const { url = "" } = await second.ready;
    await ingested(second);
    const documents = embedded(before);
    expect(new Set(documents).size).toBe(documents.length);
    expect(await answered(url)).toBe(true);
    expect(embedded(before + documents.length)).toContain(QUESTION);
  }
  const done = bedrock.seen.length;
  await using third = service();
  await ingested(third);
  expect(bedrock.seen.length).toBe(done);
});

it("does not start with an embedder of no known form, and says which there are", async () => {
  await using folder = await testFolder();
  await using service = startTestService({
    role: "all",
    dataDir: join(folder.path, "data"),
    env: { HOLDPOINT_EMBEDDER: "titan" },
  });
  expect((await service.exited).code).toBe(1);
  expect(service.stderr).toEqual([
    "holdpoint: HOLDPOINT_EMBEDDER: bedrock:<model id> or bedrock:<model id>@<dimensions> is expected, such as bedrock:amazon.titan-embed-text-v2:0@512 (see --help)",
  ]);
});
