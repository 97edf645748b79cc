/** What an index answers that somebody else has written into. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { inspect } from "node:util";
import { expect, it } from "vitest";
import { createOpenSearchRetriever } from "../../src/aws/opensearch-retriever.ts";
import { systemClock } from "../../src/core/clock.ts";
import { systemIds } from "../../src/core/ids.ts";
import type { Retriever } from "../../src/retrieval/retriever.ts";

const ABOUT = {
  id: "p",
  documentId: "d",
  title: "T",
  section: "",
  offsets: { start: 0, end: 4 },
  labels: {},
};

const PLACE = { tenant: "acme", collection: "c" } as const;
const WHOLE = { timed_out: false, _shards: { total: 1, successful: 1, skipped: 0, failed: 0 } };

/** What is asked of an index that answers each operation with this. */
async function asked<T>(answers: Readonly<Record<string, object>>, ask: (retriever: Retriever) => Promise<T>) {
  const server = createServer((request, response) => {
    const operation = request.url?.split(/[/?]/)[2] ?? "";
    request.resume().on("end", () => {
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify(answers[operation] ?? {}));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const { port } = server.address() as AddressInfo;
    const url = `http://127.0.0.1:${port}`;
    return await ask(createOpenSearchRetriever({ url, index: "passages", clock: systemClock, ids: systemIds }));
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

/** A search of an index with one item, which says this of its passage. */
const searched = (about: string) =>
  asked(
    {
      _msearch: { responses: [{ ...WHOLE, hits: { hits: [{ _id: "1", _score: 1 }] } }] },
      _mget: { docs: [{ _id: "1", _source: { about, text: "said" } }] },
    },
    (retriever) => retriever.search("said", { ...PLACE, k: 1 }),
  );

/** A complete ingestion of nothing into an index with one document, whose marker says this of it. */
const completed = (about: string) =>
  asked(
    {
      _mapping: { passages: { mappings: { _meta: { holdpoint: { format: 1 } } } } },
      _search: { ...WHOLE, hits: { hits: [{ _source: { about }, sort: ["1"] }] } },
      _mget: { docs: [] },
    },
    (retriever) => retriever.ingest((async function* () {})(), { ...PLACE, complete: true }),
  );

it("is read where it is whole (control)", async () => {
  expect(await searched(JSON.stringify(ABOUT))).toMatchObject([{ documentId: "d", text: "said" }]);
});

it.each(["{", "[]", JSON.stringify({ ...ABOUT, offsets: 7 })])("is told as what cannot be read: %s", async (about) => {
  await expect(searched(about)).rejects.toMatchObject({
    code: "unavailable",
    message: expect.stringContaining("cannot be read") as unknown,
  });
});

it("a marker is read where it is whole (control)", async () => {
  expect(await completed(JSON.stringify({ id: "d" }))).toMatchObject({ documents: 0 });
});

it.each(["{SECRET", "[]", JSON.stringify({ id: 7 })])("so is a marker, without what it says: %s", async (about) => {
  const error: unknown = await completed(about).catch((thrown: unknown) => thrown);
  expect(error).toMatchObject({ code: "unavailable", message: expect.stringContaining("cannot be read") as unknown });
  expect(inspect(error)).not.toContain("SECRET");
});
