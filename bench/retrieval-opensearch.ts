/** The retriever on an OpenSearch for measurements: one that is running, or one that is started for it on this machine. */
import { createOpenSearchRetriever } from "../src/aws/opensearch-retriever.ts";
import { systemClock } from "../src/core/clock.ts";
import { systemIds } from "../src/core/ids.ts";
import type { PassageEmbedder } from "../src/retrieval/embedding.ts";
import type { Retriever } from "../src/retrieval/retriever.ts";
import { startOpenSearch, whyNoOpenSearch } from "../test/support/opensearch.ts";

/** What `--opensearch` is for one that is started, and ended again. */
const OWN = "own";

/** `where` is a URL, or `own`. The index is a new one, and removed at the end. */
export async function openOpenSearch(
  where: string,
  embedder: PassageEmbedder | undefined,
): Promise<Retriever & AsyncDisposable> {
  await using opening = new AsyncDisposableStack();
  const url = where === OWN ? opening.use(await startOwn()).endpoint : where;
  const index = `bench-${systemIds.token(8)}`;
  opening.defer(async () => {
    await fetch(`${url}/${index}`, { method: "DELETE" });
  });
  const retriever = createOpenSearchRetriever({ url, index, embedder, clock: systemClock, ids: systemIds });
  const opened = opening.move();
  return { ...retriever, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

async function startOwn() {
  const missing = await whyNoOpenSearch();
  if (missing !== undefined) throw new Error(`OpenSearch cannot run here: ${missing}`);
  return startOpenSearch();
}
