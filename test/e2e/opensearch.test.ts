/** An OpenSearch of its own, killed in the middle of an ingestion; and the shipped graph that answers from one. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { Client } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { PROJECT } from "../../scripts/demo/process.ts";
import { createOpenSearchRetriever } from "../../src/aws/opensearch-retriever.ts";
import { systemClock } from "../../src/core/clock.ts";
import { systemIds } from "../../src/core/ids.ts";
import { countingEmbedder } from "../support/counting-embedder.ts";
import { eachDocument, textDocument } from "../support/documents.ts";
import { OPENSEARCH_START_MS, startOpenSearch } from "../support/opensearch.ts";
import type { OpenSearchServer } from "../support/opensearch.ts";
import { startTestService, testFolder } from "../support/process.ts";

const DOCUMENTS = join(PROJECT, "graphs/policy-desk/documents");
const PLACE = { tenant: "acme", collection: "policies" } as const;

describe.skipIf(inject("openSearchLauncher") === null)("an OpenSearch", () => {
  let server: OpenSearchServer;
  beforeAll(async () => {
    server = await startOpenSearch();
  }, OPENSEARCH_START_MS);
  afterAll(() => server[Symbol.asyncDispose]());

  it("serves the policy desk: documents that one process ingested are cited by it", async () => {
    await using folder = await testFolder();
    const env = { HOLDPOINT_OPENSEARCH_URL: server.endpoint, HOLDPOINT_DOCUMENTS: DOCUMENTS };
    await using service = startTestService({ role: "all", dataDir: folder.path, env });
    const { url = "" } = await service.ready;
    const report = await service.line((line) => (line.includes('"documents ingested"') ? line : undefined));
    expect(JSON.parse(report)).toMatchObject({ documents: (await readdir(DOCUMENTS)).length, unchanged: 0 });
    const client = new Client({ apiUrl: url });
    const { thread_id: thread } = await client.threads.create();
    const input = { question: "How long is a gift card valid?" };
    const values = (await client.runs.wait(thread, "policy-desk", { input })) as unknown as {
      readonly outcome: string;
      readonly citations: readonly unknown[];
    };
    expect(values.outcome).toBe("answered");
    expect(values.citations).toMatchObject([{ documentId: "gift-cards.md" }]);
    // Nothing of it is on this machine's disk.
    expect(await readdir(folder.path)).not.toContain("search");
  });

  it(
    "that is killed in the middle of an ingestion has kept what it took, and that is not paid or sent again",
    { timeout: OPENSEARCH_START_MS + 60_000 },
    async () => {
      const embedder = countingEmbedder();
      const options = { url: server.endpoint, index: "killed", clock: systemClock, ids: systemIds, embedder };
      const retriever = createOpenSearchRetriever(options);
      const documents = Array.from({ length: 400 }, (_, n) => textDocument(`d${n}`, `refund number ${n}`));
      let killed: Promise<void> | undefined;
      const onProgress = (): void => {
        killed ??= server.kill();
      };
      const ingestion = retriever.ingest(eachDocument(...documents), { ...PLACE, onProgress });
      await expect(ingestion).rejects.toMatchObject({ code: "unavailable" });
      await killed;
      const before = embedder.paid.length;
      await server.restart();
      const report = await retriever.ingest(eachDocument(...documents), PLACE);
      expect(report.documents).toBe(400);
      expect(report.unchanged).toBeGreaterThanOrEqual(128);
      expect(report.embedded).toBe(400 - report.unchanged);
      expect(embedder.paid.length).toBe(before + report.embedded);
      expect(await retriever.search("refund", { ...PLACE, k: 1_000 })).toHaveLength(400);
      expect(await retriever.ingest(eachDocument(...documents), PLACE)).toMatchObject({ unchanged: 400, embedded: 0 });
    },
  );
});
