/**
 * How good the rankings of the embedded retriever are, on a real collection with real vectors. It is not of this
 * repository: HOLDPOINT_BEIR names the folder, as `npm run bench -- retrieval --data` does.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { readCollection } from "../../bench/retrieval-collection.ts";
import { measureQuality } from "../../bench/retrieval-quality.ts";
import { createSqliteRetriever } from "../../src/local/sqlite-search.ts";
import { vectorExtension } from "../../src/local/sqlite-vec.ts";

const FOLDER = process.env["HOLDPOINT_BEIR"];
const PLACE = { tenant: "acme", collection: "beir" };

it.skipIf(FOLDER === undefined)(
  "words and meaning together find more of SciFact than either alone",
  async () => {
    const collection = await readCollection(FOLDER ?? "");
    const { embedder, documents } = collection;
    if (embedder === undefined) throw new Error("the collection has no vectors");
    const dataDir = await mkdtemp(join(tmpdir(), "holdpoint-beir-"));
    try {
      await using retriever = createSqliteRetriever({
        dataDir,
        meaning: { embedder, extension: await vectorExtension() },
      });
      await retriever.ingest(ReadableStream.from(documents), PLACE);
      const { lexical, vector, fused } = await measureQuality(retriever, PLACE, collection);
      expect(lexical.ndcg).toBeGreaterThanOrEqual(0.678);
      // Exact cosine over these vectors, as it is published with them.
      expect(vector.ndcg).toBeCloseTo(0.654, 3);
      expect(fused.ndcg).toBeGreaterThan(Math.max(lexical.ndcg, vector.ndcg));
      expect(fused.recall).toBeGreaterThan(Math.max(lexical.recall, vector.recall));
    } finally {
      await rm(dataDir, { recursive: true });
    }
  },
  120_000,
);
