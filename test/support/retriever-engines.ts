/** The engines that every adapter of the retrieval port is tested on. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inject } from "vitest";
import { createOpenSearchRetriever } from "../../src/aws/opensearch-retriever.ts";
import { systemClock } from "../../src/core/clock.ts";
import { systemIds } from "../../src/core/ids.ts";
import { createSqliteRetriever } from "../../src/local/sqlite-search.ts";
import { vectorExtension } from "../../src/local/sqlite-vec.ts";
import type { PassageEmbedder } from "../../src/retrieval/embedding.ts";
import type { Retriever } from "../../src/retrieval/retriever.ts";

/** A place for documents of its own, empty at first; disposing removes it. */
export interface RetrieverPlace extends AsyncDisposable {
  /** A retriever on it, as another process has. */
  open(embedder?: PassageEmbedder): Retriever;
}

export interface RetrieverEngine {
  readonly name: string;
  /** Cases of a property: each is a few requests. */
  readonly runs: number;
  /** Digits to which its cosines are those of the vectors that it was given. */
  readonly cosineDigits: number;
  place(): Promise<RetrieverPlace>;
}

const sqlite: RetrieverEngine = {
  name: "SQLite",
  runs: 30,
  // What is kept of a vector are bytes.
  cosineDigits: 1,
  async place() {
    const dataDir = await mkdtemp(join(tmpdir(), "holdpoint-search-"));
    const extension = await vectorExtension();
    const opened = new AsyncDisposableStack();
    opened.defer(() => rm(dataDir, { recursive: true }));
    const open = (embedder?: PassageEmbedder): Retriever =>
      opened.use(
        createSqliteRetriever({ dataDir, ...(embedder === undefined ? {} : { meaning: { embedder, extension } }) }),
      );
    return { open, [Symbol.asyncDispose]: () => opened.disposeAsync() };
  },
};

/** The endpoint of the OpenSearch that all tests share. */
export async function openSearchEndpoint(launcher: string): Promise<string> {
  const answer = await fetch(launcher);
  const endpoint = await answer.text();
  if (!answer.ok) throw new Error(endpoint);
  return endpoint;
}

export const newIndexName = (): string => `test-${systemIds.token(8)}`;

const openSearch = (launcher: string): RetrieverEngine => ({
  name: "OpenSearch",
  runs: 8,
  cosineDigits: 5,
  async place() {
    const url = await openSearchEndpoint(launcher);
    const index = newIndexName();
    const options = { url, index, clock: systemClock, ids: systemIds };
    return {
      open: (embedder) => createOpenSearchRetriever({ ...options, embedder }),
      async [Symbol.asyncDispose]() {
        await fetch(`${url}/${index}`, { method: "DELETE" });
      },
    };
  },
});

/** SQLite always, OpenSearch where it can run. Call it outside of tests. */
export function retrieverEngines(): readonly RetrieverEngine[] {
  const launcher = inject("openSearchLauncher");
  return launcher === null ? [sqlite] : [sqlite, openSearch(launcher)];
}
