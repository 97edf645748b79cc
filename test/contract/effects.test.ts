/** The effect journal on every engine: who wins, what operators find, and what a worker finds due. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { settled } from "../../src/core/effect-settlement.ts";
import { runId, systemIds, tenantId, threadId } from "../../src/core/ids.ts";
import { createJournal } from "../../src/runtime/delivery/journal.ts";
import { createEffects } from "../../src/storage/effects.ts";
import type { Effects } from "../../src/storage/effects.ts";
import { createItemBlobs } from "../../src/storage/item-blobs.ts";
import { READY_PREFIX, duePartition, parseEffectKey } from "../../src/storage/keys.ts";
import type { Table } from "../../src/storage/table.ts";
import { everyTable } from "../support/engines.ts";
import type { Handles } from "../support/engines.ts";

describe.each(everyTable())("the effect journal on $name", (engine) => {
  let opened: Handles;
  let table: Table;
  let effects: Effects;
  beforeAll(async () => {
    opened = await engine.open();
    ({ table } = opened);
    effects = createEffects({ table, blobs: createItemBlobs({ table }), shards: 1 });
  });
  afterAll(() => opened[Symbol.asyncDispose]());

  const asked = () => ({
    tenant: tenantId(`tenant-${systemIds.token(6)}`),
    root: runId(systemIds.uuid()),
    runId: runId(systemIds.uuid()),
    threadId: threadId(systemIds.uuid()),
    token: systemIds.token(32),
    name: "pay",
    policy: "unsafe" as const,
    path: [["pay", 0, null]],
    argsDigest: "d",
    deadline: table.now() - 60_000,
  });
  const journal = (fence: number) =>
    createJournal({ effects, table, fence, generation: 0, keep: (...of) => effects.kept(...of) });

  it("gives one of many holders the intent, and everybody the result that was recorded first", async () => {
    const ask = asked();
    const begun = await Promise.all([1, 1, 1].map((fence) => journal(fence).begin(ask)));
    expect(begun.map(({ do: what }) => what).toSorted()).toEqual(["ambiguous", "ambiguous", "call"]);
    const intent = begun.flatMap((one) => (one.do === "call" ? [one.intent] : []))[0];
    if (!intent) return;
    const long = { kind: "result", value: "x".repeat(500_000) } as const;
    expect(await journal(1).settle(intent, long)).toEqual(long);
    expect(await journal(2).begin(ask)).toEqual({ do: "return", outcome: long });
    expect(await journal(2).settle(intent, { kind: "result", value: 2 })).toEqual(long);
  });

  it("lists what is parked until it is settled, which a worker then finds due", async () => {
    const ask = asked();
    const { tenant, root, token } = ask;
    const listed = async (which: "parked" | "settled") => (await effects.list(tenant, which, {})).items.length;
    await journal(1).begin(ask);
    expect([await listed("parked"), await listed("settled")]).toEqual([0, 0]);
    expect(await journal(2).park(ask, { reason: "ambiguous", message: "?" })).toEqual({ do: "parked" });
    expect([await listed("parked"), await listed("settled")]).toEqual([1, 0]);
    const stored = await effects.get(tenant, root, token);
    if (!stored) return;
    const word = (by: string) =>
      settled(stored.value, {
        intent: 1,
        said: { verdict: "not_happened" },
        outcome: undefined,
        by,
        reason: "asked",
        now: table.now(),
        pool: "default",
      });
    const written = await Promise.all(
      ["bob", "eve"].map((by) => {
        const next = word(by);
        if (next.kind !== "write") throw new Error("the word stands already");
        return effects.put(next.entry, { version: stored.version });
      }),
    );
    expect(written.filter(({ won }) => won)).toHaveLength(1);
    expect([await listed("parked"), await listed("settled")]).toEqual([0, 1]);
    const due = await table.queryIndex("due", duePartition("default", tenant, 1), { prefix: READY_PREFIX });
    expect(due.items.map(({ key }) => parseEffectKey(key))).toContainEqual({ tenant, root, token });
    expect(await journal(3).begin(ask)).toMatchObject({ do: "call", intent: { entry: { intents: 2 } } });
  });
});
