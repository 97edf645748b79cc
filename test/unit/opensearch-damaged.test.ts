/** What an index answers that somebody else has written into. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, it } from "vitest";
import { createOpenSearchRetriever } from "../../src/aws/opensearch-retriever.ts";
import { systemClock } from "../../src/core/clock.ts";
import { systemIds } from "../../src/core/ids.ts";

const ABOUT = {
  id: "p",
  documentId: "d",
  title: "T",
  section: "",
  offsets: { start: 0, end: 4 },
  labels: {},
};

/** A search of an index with one item, which says this of its passage. */
async function searched(about: string) {
  const server = createServer((request, response) => {
    const found = { responses: [{ hits: { hits: [{ _id: "1", _score: 1 }] } }] };
    const items = { docs: [{ _id: "1", _source: { about, text: "said" } }] };
    request.resume().on("end", () => {
      response.writeHead(200, { "content-type": "application/json" });
      response.end(JSON.stringify(request.url?.includes("_msearch") === true ? found : items));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    const { port } = server.address() as AddressInfo;
    const url = `http://127.0.0.1:${port}`;
    const retriever = createOpenSearchRetriever({ url, index: "passages", clock: systemClock, ids: systemIds });
    return await retriever.search("said", { tenant: "acme", collection: "c", k: 1 });
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

it("is read where it is whole (control)", async () => {
  expect(await searched(JSON.stringify(ABOUT))).toMatchObject([{ documentId: "d", text: "said" }]);
});

it.each(["{", "[]", JSON.stringify({ ...ABOUT, offsets: 7 })])("is told as what cannot be read: %s", async (about) => {
  await expect(searched(about)).rejects.toMatchObject({
    code: "unavailable",
    message: expect.stringContaining("cannot be read") as unknown,
  });
});
