/** What a worker that has nothing to do reads, with how much there is that waits for its time. */
import { describe, expect, it } from "vitest";
import { duePartition, futureSort, listPartition } from "../../src/storage/keys.ts";
import type { Table } from "../../src/storage/table.ts";
import { ALICE, createKit } from "./runtime-kit.ts";
import type { Kit } from "./runtime-kit.ts";
import { pass } from "./runtime-pass.ts";

interface Reads {
  requests: number;
  rows: number;
}

/** Counts what is asked of the table and how many rows it answers. */
function counting(reads: Reads, table: Table): Table {
  return {
    ...table,
    async get(key) {
      reads.requests++;
      return table.get(key);
    },
    async queryIndex(...args) {
      const page = await table.queryIndex(...args);
      reads.requests++;
      reads.rows += page.items.length;
      return page;
    },
  };
}

/** Holds of so many threads, due from `fromMs` on within a minute. */
async function fill(kit: Kit, count: number, fromMs: number, sort = futureSort): Promise<void> {
  const now = kit.table.now();
  for (let n = 0; n < count; n++) {
    const subject = `thread-${n}`;
    const at = { tenant: ALICE.tenant, priority: 5, dueAt: now + fromMs + (n % 60_000), subject };
    await kit.table.put(
      {
        pk: `acme#t#${subject}`,
        sk: `A#${n}`,
        attributes: { d: "{}" },
        index: {
          due: { pk: duePartition("default", ALICE.tenant, 1), sk: sort(at) },
          list: { pk: listPartition(ALICE.tenant, "waits"), sk: `open#${n}` },
        },
      },
      "any",
    );
  }
}

async function idle(count: number, fromMs: number): Promise<Reads> {
  const reads: Reads = { requests: 0, rows: 0 };
  const kit = createKit();
  await fill(kit, count, fromMs);
  await using worker = kit.worker({}, { table: counting(reads, kit.table) });
  worker.start();
  await pass(kit, 60_000);
  return { ...reads };
}

describe("an idle worker", () => {
  it("asks and reads no more with 20,000 pending timers than with none, however soon they are due", async () => {
    const none = await idle(0, 0);
    expect(await idle(20_000, 24 * 3_600_000)).toEqual(none);
    // Within what leases are looked for ahead of their end, too.
    expect(await idle(20_000, 5 * 60_000)).toEqual(none);
    expect(none.rows).toBe(0);
  });

  it("would read every one of them if leases were looked for among them (negative control)", async () => {
    const reads: Reads = { requests: 0, rows: 0 };
    const kit = createKit();
    await fill(kit, 2_000, 5 * 60_000);
    const table = counting(reads, kit.table);
    const prefix = { "l#": "t#" } as Readonly<Record<string, string>>;
    const together: Table = {
      ...table,
      queryIndex: (index, pk, { prefix: asked = "", to = "", ...range }) =>
        asked in prefix
          ? table.queryIndex(index, pk, { ...range, prefix: prefix[asked] ?? "", to: to.replace("l#", "t#") })
          : table.queryIndex(index, pk, {
              ...range,
              ...(asked === "" ? {} : { prefix: asked }),
              ...(to === "" ? {} : { to }),
            }),
    };
    await using worker = kit.worker({}, { table: together });
    worker.start();
    await pass(kit, 60_000);
    expect(reads.rows).toBeGreaterThan(2_000);
  });
});
