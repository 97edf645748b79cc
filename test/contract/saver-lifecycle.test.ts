/** What ends threads and parts of them, on every engine, in the clear and encrypted. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sealedBlobs } from "../../src/storage/encryption/sealed-blobs.ts";
import { plainSealers } from "../../src/storage/encryption/sealer.ts";
import { createItemBlobs } from "../../src/storage/item-blobs.ts";
import type { Handles } from "../support/engines.ts";
import { everyTable } from "../support/engines.ts";
import { LIMITS, idsIn, line, savers, seen, step, steps, tenant, THREAD } from "../support/long-thread.ts";
import type { OpenSaver } from "../support/long-thread.ts";
import { sealersOn } from "../support/sealers.ts";

const matrix = everyTable().flatMap((engine) => [true, false].map((encrypts) => ({ engine, encrypts })));
const inRuns = (n: number) => ({ run: "abc"[Math.floor(n / 5)] ?? "c" });

for (const { engine, encrypts } of matrix) {
  describe(`on ${engine.name}, ${encrypts ? "encrypted" : "in the clear"}`, () => {
    let handles: Handles | undefined;
    let open: OpenSaver | undefined;
    beforeAll(async () => {
      handles = await engine.open();
      const sealers = encrypts ? sealersOn(handles.table, { required: true }) : plainSealers;
      const blobs = sealedBlobs(createItemBlobs(handles), sealers);
      open = savers({ blobs, sealer: sealers(tenant), limits: { ...LIMITS, blobBytes: 1700 } });
    });
    afterAll(async () => {
      await handles?.[Symbol.asyncDispose]();
    });

    it("a thread is copied, loses a run, is pruned, goes on and is deleted", { timeout: 60_000 }, async () => {
      if (handles === undefined || open === undefined) throw new Error("the table is not open");
      const { table } = handles;
      const [saver, of] = [open(table), open];
      await line(saver, steps(14, inRuns));
      const ids = await idsIn(saver);
      const before = await seen(of(table), ids);
      await saver.copyThread(THREAD, "copy");
      expect(await seen(of(table), ids, "copy")).toEqual(before);
      await saver.deleteForRuns(["b"], [THREAD]);
      expect((await seen(of(table), ids)).listed[""]).toEqual([
        ...(before.listed[""]?.slice(0, 4) ?? []),
        ...(before.listed[""]?.slice(9) ?? []),
      ]);
      await saver.prune([THREAD]);
      expect((await seen(of(table), ids)).listed[""]).toEqual(before.listed[""]?.slice(0, 1));
      const latest = await of(table).getTuple({ configurable: { thread_id: THREAD } });
      await step(saver, { n: 14, from: latest?.config });
      expect(await idsIn(of(table))).toHaveLength(2);
      await saver.deleteThread(THREAD);
      expect(await idsIn(of(table))).toEqual([]);
      expect(await seen(of(table), ids, "copy")).toEqual(before);
      await saver.prune(["copy"], { strategy: "delete" });
      const left = (await Promise.all([THREAD, "copy"].map((id) => table.query(`acme#t#${id}`, {})))).flatMap(
        ({ items }) => items,
      );
      expect(left.map(({ sk }) => sk)).toEqual(["H", "H"]);
    });
  });
}
