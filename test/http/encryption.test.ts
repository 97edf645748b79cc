/** A whole run with keys: nothing that its graph or its people said is readable in any item of the table. */
import { describe, expect, it } from "vitest";
import { tenantId, threadId } from "../../src/core/ids.ts";
import { plainSealers } from "../../src/storage/encryption/sealer.ts";
import type { Item } from "../../src/storage/table.ts";
import { createMemoryTable } from "../support/memory-table.ts";
import { encryptionOn } from "../support/sealers.ts";
import { startService } from "../support/service.ts";
import { SECRET, shop, told } from "../support/shop.ts";

const ACME = tenantId("acme");
/** The queue of a thread, the hash of a state, a wrapped key. */
const KNOWN = new Set(["H q", "C h", "K w"]);
const ENVELOPE = Buffer.of(0xfe, 0x48, 0x50, 0xe5);

async function started(isEncrypted: boolean) {
  const table = createMemoryTable({ now: () => Date.now() });
  const { dataKeys, strict } = encryptionOn(table);
  const service = await startService({
    graphs: shop,
    table,
    sealers: isEncrypted ? strict : plainSealers,
  });
  return { table, dataKeys, service, [Symbol.asyncDispose]: () => service[Symbol.asyncDispose]() };
}

const textsOf = ({ pk, sk, index, attributes }: Item): readonly string[] => [
  pk,
  sk,
  JSON.stringify(index ?? {}),
  ...Object.values(attributes).map((value) =>
    value instanceof Uint8Array ? Buffer.from(value).toString("latin1") : JSON.stringify(value),
  ),
];
const shows = (items: readonly Item[]): readonly string[] =>
  items.filter((item) => textsOf(item).some((text) => text.includes(SECRET))).map(({ pk, sk }) => `${pk} ${sk}`);

describe("a service with keys", () => {
  it("keeps nothing readable of what graphs and people say, and answers with all of it", async () => {
    await using at = await started(true);
    const acme = at.service.client("acme");
    const [ended, failed] = [
      await told(at.service, { fails: false, long: false }),
      await told(at.service, { fails: true, long: true }),
    ];

    const items = at.table.dump();
    expect(shows(items)).toEqual([]);
    const kinds = new Set(items.map(({ pk, sk }) => `${pk.split("#")[1]} ${sk.split("#")[0]}`));
    for (const kind of ["t H", "t M", "t R", "t I", "t A", "t C", "e E", "x X", "s I"]) expect(kinds).toContain(kind);
    // Compressed plaintext shows nothing either: bytes are sealed, or known.
    for (const { sk, attributes } of items) {
      for (const [name, value] of Object.entries(attributes)) {
        if (!(value instanceof Uint8Array) || KNOWN.has(`${sk[0]} ${name}`)) continue;
        expect(Buffer.from(value.subarray(0, 4)), `${sk} ${name}`).toEqual(ENVELOPE);
      }
    }

    expect(await acme.runs.get(failed.thread, failed.run)).toMatchObject({ status: "error" });
    const waited = await at.service.app.call("GET", `/threads/${failed.thread}/runs/${failed.run}/join`);
    expect(JSON.stringify(await waited.json())).toContain(`cannot pay ${SECRET}`);
    expect((await acme.threads.getState<{ done: string[] }>(ended.thread)).values.done).toContain(SECRET);
    const metadata = { customer: SECRET };
    const found = await acme.threads.search({ metadata });
    expect(found.map((one) => one.thread_id).toSorted()).toEqual([ended.thread, failed.thread].toSorted());
    expect(await acme.threads.search({ metadata: { customer: "other" } })).toEqual([]);
    expect((await acme.assistants.search({ metadata })).map((one) => one.assistant_id).toSorted()).toEqual(
      [ended.assistant, failed.assistant].toSorted(),
    );
    expect((await acme.store.getItem(["people"], "one"))?.value).toEqual({ text: SECRET });
  });

  it("shows it without them (negative control)", async () => {
    await using at = await started(false);
    const { thread, assistant } = await told(at.service, { fails: true, long: true });
    const seen = shows(at.table.dump()).join("\n");
    expect(seen).toContain(`acme#a ${assistant}`);
    expect(seen).toContain(`acme#s#n#people# I#one`);
    expect(seen).toContain("acme#x#");
    for (const kind of ["M#", "R#", "A#"]) expect(seen).toContain(`acme#t#${thread} ${kind}`);
  });

  it("lists and deletes the threads of a tenant whose keys were dropped, and says of the rest that it is gone", async () => {
    await using at = await started(true);
    const acme = at.service.client("acme");
    const { thread, run: failed } = await told(at.service, { fails: true, long: false });
    await at.dataKeys.drop(ACME);

    const [listed] = await acme.threads.search();
    expect(listed).toMatchObject({ thread_id: thread, status: "error", metadata: {}, error: { name: "gone" } });
    expect(await acme.threads.search({ metadata: { customer: SECRET } })).toEqual([]);
    const runs = await at.service.deps.runs.list({ tenant: ACME, threadId: threadId(thread) }, 0);
    expect(runs.map(({ runId: id, status }) => [id, status])).toContainEqual([failed, "error"]);
    for (const path of ["", "/state", "/runs", `/runs/${failed}`].map((rest) => `/threads/${thread}${rest}`)) {
      expect(await at.service.app.call("GET", path)).toMatchObject({ status: 410 });
    }
    expect((await at.service.app.call("GET", "/store/items?namespace=people&key=one")).status).toBe(410);

    await acme.threads.delete(thread);
    expect(await acme.threads.search()).toEqual([]);
    const left = at.table.dump().filter(({ pk }) => pk.includes(thread));
    expect(left.map(({ sk }) => sk)).toEqual(["H"]);
  });
});
