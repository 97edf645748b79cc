/** The hard suite on our saver, on every engine; and savers that are broken in one way each, which it must find. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  cutsIds,
  dropsEveryTenth,
  forgetsPaths,
  handsOut,
  hasItemLimit,
  keepsFirst,
  knowsNoNamespaces,
  leavesWrites,
  limitsFirst,
  losesRaces,
  ordersAsText,
  overwrites,
  remembers,
  sharesVersions,
  writesOneByOne,
} from "../support/broken-savers.ts";
import type { Table } from "../../src/storage/table.ts";
import type { Handles } from "../support/engines.ts";
import { everyTable } from "../support/engines.ts";
import { hardCases, runHardCase } from "../support/hard-suite/suite.ts";
import { fencedSubject, memorySubject } from "../support/hard-subjects.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";

/** Of the two that speak DynamoDB's protocol, dynalite takes its turn at night. */
const tables = everyTable();
const hasLocal = tables.some(({ name }) => name === "DynamoDB Local");
const byDay = tables.filter(({ name }) => name !== "dynalite" || !hasLocal);

for (const engine of process.env["HOLDPOINT_NIGHTLY"] === "1" ? tables : byDay) {
  describe(`the hard suite on ${engine.name}`, () => {
    let handles: Handles | undefined;
    let second: Table | undefined;
    let taken = 0;
    // Without a bucket, what is large is kept in DynamoDB itself.
    const blobs = engine.name.startsWith("dyn") || engine.name.startsWith("Dyn") ? "items" : createMemoryBlobs();
    /** Two handles by turns, as two processes have. */
    const handle = async (): Promise<Table> => {
      taken += 1;
      const table = taken % 2 === 0 ? handles?.table : second;
      if (table === undefined) throw new Error("the table is not open");
      return table;
    };
    beforeAll(async () => {
      handles = await engine.open();
      second = await handles.another();
    });
    afterAll(async () => {
      await handles?.[Symbol.asyncDispose]();
    });
    it.for(hardCases.map((one) => [one.name, one] as const))(
      "%s",
      { timeout: 150_000 },
      async ([name, one], context) => {
        const result = await runHardCase(fencedSubject({ name: "FencedSaver", tenant: "acme", blobs, handle }), one);
        if (result.outcome === "not applicable") return context.skip(result.reason);
        expect(result).toEqual({ name, outcome: "pass" });
      },
    );
  });
}

/** Ways to be wrong, each with the case that is about it. */
const broken: readonly (readonly [what: string, wrap: Parameters<typeof memorySubject>[0], finds: string])[] = [
  ["drops every tenth write", dropsEveryTenth, "25 writes of one task keep their order"],
  ["orders writes as text", ordersAsText, "25 writes of one task keep their order"],
  ["forgets task paths", forgetsPaths, "writes of several tasks are ordered by task path"],
  ["overwrites what is retried", overwrites, "a regular write that is retried stays as it was first"],
  ["keeps the first special write", keepsFirst, "a special write that is retried replaces the first"],
  ["knows no namespaces", knowsNoNamespaces, "namespaces of one thread stay apart, also where ids are the same"],
  ["answers from its memory", remembers, "a second process reads what the first has just written"],
  ["hands out what it holds", handsOut, "who changes what was given or read changes nothing that is stored"],
  ["limits before it filters", limitsFirst, "a list is filtered by metadata, and limited to what matches"],
  ["cuts thread ids at 255", cutsIds, "awkward thread ids stay apart, and are deleted alone"],
  ["leaves task writes when it deletes", leavesWrites, "a deleted thread that is made again shows nothing old"],
  [
    "finds channels by version only",
    sharesVersions(),
    "branches whose integer versions collide inherit from their own parent",
  ],
  ["refuses what is above 400 KB", hasItemLimit, "a value of 700 KB in checkpoints"],
  ["loses one of two puts at once", losesRaces, "two writers on one thread at once lose nothing"],
];

describe("the hard suite finds a saver that", () => {
  it.each(broken)("%s", async (_, wrap, name) => {
    const one = hardCases.find((each) => each.name === name);
    if (one === undefined) throw new Error(`there is no case '${name}'`);
    expect(await runHardCase(memorySubject(wrap), one)).toMatchObject({ outcome: "fail" });
  });

  it("tears the writes of a task when its storage fails", async () => {
    const torn = hardCases.filter(({ name }) => name.startsWith("when the storage fails, the writes of a task"));
    const [one] = torn;
    if (one === undefined) throw new Error("the case is gone");
    const whole = memorySubject();
    const failing = async (nth: number) => writesOneByOne(await whole.open(), nth);
    expect(await runHardCase({ ...whole, failing }, one)).toMatchObject({ outcome: "fail" });
  });

  it("hides a writer whose clock is behind, as MemorySaver does", async () => {
    const one = hardCases.find(({ name }) => name === "a writer whose clock is ten minutes behind is not hidden");
    expect(one && (await runHardCase(memorySubject(), one))).toMatchObject({ outcome: "fail" });
  });

  it("writes the whole state at each step, as MemorySaver does", async () => {
    const one = hardCases.find(({ name }) => name === "a put late in a thread writes not much more than an early one");
    expect(one && (await runHardCase(memorySubject(), one))).toMatchObject({ outcome: "fail" });
  });

  it("and nothing in those cases where MemorySaver is right", async () => {
    // Otherwise a control above might fail for another reason than its own.
    const names = new Set(broken.map(([, , name]) => name));
    for (const one of hardCases.filter(({ name }) => names.has(name))) {
      expect(await runHardCase(memorySubject(), one)).toEqual({ name: one.name, outcome: "pass" });
    }
  });
});
