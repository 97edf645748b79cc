/** The audit log: entries under names of their own, chained by whoever finds them, verified without any key. */
import fc from "fast-check";
import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { auditId, entryDigest, linkAfter } from "../../src/core/audit.ts";
import type { AuditEntry, Link } from "../../src/core/audit.ts";
import type { Json } from "../../src/core/json.ts";
import { tenantId } from "../../src/core/ids.ts";
import { jsonPatch } from "../../src/core/json-patch.ts";
import type { Principal } from "../../src/core/principal.ts";
import type { PatchOperation } from "../../src/core/json-patch.ts";
import { createAuditUseCases } from "../../src/runtime/audit/audit-log.ts";
import { chainEntries } from "../../src/runtime/audit/chain.ts";
import { verifyChain } from "../../src/runtime/audit/verify.ts";
import { createAudit } from "../../src/storage/audit.ts";
import type { Audit } from "../../src/storage/audit.ts";
import { auditKeys } from "../../src/storage/keys.ts";
import { textOf } from "../../src/storage/records.ts";
import type { Item, Table } from "../../src/storage/table.ts";
import { everyTable } from "../support/engines.ts";
import { encryptionOn } from "../support/sealers.ts";
import { createMemoryTable } from "../support/memory-table.ts";

const ACME = tenantId("acme");
const AUDITOR: Principal = { tenant: ACME, subject: "ann", roles: ["auditor"], groups: [] };
const T0 = 1_700_000_000_000;

const entry = (n: number, fields: Partial<AuditEntry> = {}): AuditEntry => ({
  tenant: ACME,
  kind: "decision",
  key: [`hold-${n}`],
  at: T0 + n,
  actor: "alice",
  action: "approve",
  subject: { runId: `run-${n}` },
  ...fields,
});
const idsOf = (entries: readonly AuditEntry[]): readonly string[] => entries.map(auditId);

const opened: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of opened.splice(0)) await one[Symbol.asyncDispose]();
});

interface Log {
  readonly table: Table;
  readonly audit: Audit;
  readonly entries: readonly AuditEntry[];
}

/** Twelve entries in four links of three. */
async function chained(table: Table = createMemoryTable()): Promise<Log> {
  const audit = createAudit({ table, shards: 1 });
  const entries = Array.from({ length: 12 }, (_, n) => entry(n));
  for (const one of entries) await audit.record(one);
  for (let first = 0; first < 12; first += 3) {
    await chainEntries({ audit, table }, ACME, idsOf(entries.slice(first, first + 3)));
  }
  return { table, audit, entries };
}

const linkItem = async (table: Table, n: number): Promise<Item> => {
  const item = await table.get(auditKeys.link(ACME, n));
  if (!item) throw new Error(`there is no link ${n}`);
  return item;
};
const strayed = (link: number, one: AuditEntry | undefined): string =>
  `${link}: entry ${one && auditId(one)} says that it is in this link, and is in none`;
const change = async (table: Table, item: Item, attributes: Item["attributes"]): Promise<void> =>
  void (await table.put({ ...item, attributes: { ...item.attributes, ...attributes } }, "any"));

describe.each(everyTable())("the chain on $name", (engine) => {
  const openLog = async (): Promise<Log> => {
    const handles = await engine.open();
    opened.push(handles);
    return chained(handles.table);
  };
  const problemsOf = async ({ audit }: Log, noted?: Link): Promise<readonly string[]> => {
    const { problems } = await verifyChain(audit, ACME, noted);
    return problems.map(({ link, what }) => `${link}: ${what}`);
  };

  it("is found in order, whole and unchanged (negative control of what follows)", async () => {
    const log = await openLog();
    expect(await verifyChain(log.audit, ACME, await log.audit.head(ACME))).toMatchObject({
      problems: [],
      links: 4,
      entries: 12,
      head: { n: 4 },
    });
  });

  it("finds an entry that was changed", async () => {
    const log = await openLog();
    const [id = ""] = idsOf(log.entries.slice(4));
    const item = await log.table.get(auditKeys.entry(ACME, id));
    if (!item) throw new Error("it is not there");
    await change(log.table, item, { d: Buffer.from("somebody else") });
    expect(await problemsOf(log)).toEqual([`2: entry ${id} was changed`]);
  });

  it("finds an entry whose time was changed", async () => {
    const log = await openLog();
    const [id = ""] = idsOf(log.entries.slice(4));
    const item = await log.table.get(auditKeys.entry(ACME, id));
    if (!item) throw new Error("it is not there");
    await change(log.table, item, { a: T0 });
    expect(await problemsOf(log)).toEqual([`2: entry ${id} was changed`]);
  });

  it("finds an entry that is missing", async () => {
    const log = await openLog();
    const [id = ""] = idsOf(log.entries.slice(7));
    await log.table.remove(auditKeys.entry(ACME, id), "any");
    expect(await problemsOf(log)).toEqual([`3: entry ${id} is missing`]);
  });

  it("finds an entry that auditors are not shown: off the list, or in another place of it", async () => {
    const log = await openLog();
    const [off = "", moved = ""] = idsOf(log.entries.slice(4));
    for (const id of [off, moved]) {
      const item = await log.table.get(auditKeys.entry(ACME, id));
      if (!item) throw new Error("it is not there");
      const { index, ...rest } = item;
      const list = index?.list;
      await log.table.put(
        id === off || !list ? rest : { ...rest, index: { list: { ...list, sk: `9${list.sk}` } } },
        "any",
      );
    }
    expect(await problemsOf(log)).toEqual(
      [off, moved].map((id) => `2: entry ${id} is hidden: the list that auditors read does not have it`),
    );
  });

  it("does not take an entry for hidden that was put while the list was read", async () => {
    const log = await openLog();
    let isFirst = true;
    const late: Log["audit"] = {
      ...log.audit,
      async list(tenant, range) {
        const page = await log.audit.list(tenant, range);
        if (!isFirst) return page;
        isFirst = false;
        await log.audit.record(entry(30));
        await chainEntries(log, ACME, idsOf([entry(30)]));
        return page;
      },
    };
    expect(await verifyChain(late, ACME)).toMatchObject({ problems: [], entries: 13 });
  });

  it("names an entry that is damaged, also one that no link has yet, and goes on", async () => {
    const log = await openLog();
    const young = entry(40);
    await log.audit.record(young);
    const [broken = "", gone = ""] = idsOf(log.entries.slice(4));
    for (const id of [broken, auditId(young)]) {
      const item = await log.table.get(auditKeys.entry(ACME, id));
      if (item) await change(log.table, item, { d: "no bytes" });
    }
    await log.table.remove(auditKeys.entry(ACME, gone), "any");
    expect(await problemsOf(log)).toEqual([
      `2: entry ${broken} is damaged: it cannot be read`,
      `2: entry ${gone} is missing`,
      `undefined: entry ${auditId(young)} is damaged: it cannot be read`,
    ]);
  });

  it.each([
    ["is no list of entries", { e: "{nope" }],
    ["has the number of another one", { n: 1 }],
  ])("names a link that is damaged, since it %s, and goes on", async (_, attributes) => {
    const log = await openLog();
    await change(log.table, await linkItem(log.table, 3), attributes);
    const strays = log.entries.slice(6, 9).toReversed();
    expect(await problemsOf(log)).toEqual([
      "3: is damaged: it cannot be read",
      "4: links 3 to 3 are missing",
      ...strays.map((stray) => strayed(3, stray)),
    ]);
  });

  it("finds a link that was changed, also by who made its own hash anew", async () => {
    const log = await openLog();
    const item = await linkItem(log.table, 2);
    await change(log.table, item, { a: T0 });
    expect(await problemsOf(log)).toEqual([expect.stringMatching(/^2: is not what was hashed/) as string]);
    const [before, kept] = [await log.audit.links(ACME, 1), await log.audit.kept(ACME, idsOf(log.entries.slice(3, 5)))];
    const forged = linkAfter(before[0], { tenant: ACME, entries: kept, at: T0 });
    const pairs = forged.entries.map(({ id, digest }) => [id, digest]);
    await change(log.table, item, { a: T0, e: JSON.stringify(pairs), h: forged.hash });
    expect(await problemsOf(log)).toEqual([
      expect.stringMatching(/^3: does not follow link 2/) as string,
      strayed(2, log.entries[5]),
    ]);
  });

  it("finds a link that is missing", async () => {
    const log = await openLog();
    await log.table.remove(auditKeys.link(ACME, 2), "any");
    const strays = log.entries.slice(3, 6).toReversed();
    expect(await problemsOf(log)).toEqual(["3: links 2 to 2 are missing", ...strays.map((stray) => strayed(2, stray))]);
  });

  it("finds entries that were reordered within a link, and links that changed places", async () => {
    const log = await openLog();
    const [two, three] = [await linkItem(log.table, 2), await linkItem(log.table, 3)];
    const pairs = JSON.parse(textOf(two, "e")) as readonly unknown[];
    await change(log.table, two, { e: JSON.stringify(pairs.toReversed()) });
    expect(await problemsOf(log)).toEqual([expect.stringMatching(/^2: is not what was hashed/) as string]);
    await change(log.table, two, { ...three.attributes, n: 2 });
    await change(log.table, three, { ...two.attributes, n: 3 });
    expect((await problemsOf(log)).filter((what) => what.includes("does not follow"))).not.toEqual([]);
  });

  it("finds an entry that names a link which it is not in: another one, or one that is not there", async () => {
    const log = await openLog();
    const [one, other] = log.entries;
    if (!one || !other) throw new Error("there are no entries");
    for (const [of, link] of [
      [one, 3],
      [other, 9],
    ] as const) {
      const item = await log.table.get(auditKeys.entry(ACME, auditId(of)));
      if (!item) throw new Error("it is not there");
      await change(log.table, item, { n: link });
    }
    expect((await problemsOf(log)).toSorted()).toEqual([
      `3: entry ${auditId(one)} says that it is in this link, and is in link 1`,
      `9: entry ${auditId(other)} says that it is in this link, and is in link 1`,
    ]);
  });

  it("finds an entry that was put beside the chain, and counts those that no link has yet", async () => {
    const log = await openLog();
    const [smuggled, young] = [entry(20), entry(21)];
    await log.audit.record(smuggled);
    await log.audit.mark(ACME, idsOf([smuggled]), 2);
    await log.audit.record(young);
    expect(await problemsOf(log)).toEqual([strayed(2, smuggled)]);
    expect(await verifyChain(log.audit, ACME)).toMatchObject({ entries: 12, unchained: 1 });
  });

  it("finds an end that was cut off, where its entries are still there", async () => {
    const log = await openLog();
    await log.table.remove(auditKeys.link(ACME, 4), "any");
    expect(await problemsOf(log)).toEqual(
      log.entries
        .slice(9)
        .toReversed()
        .map((stray) => strayed(4, stray)),
    );
  });

  it("finds an end that was cut off, against a head that was noted", async () => {
    const log = await openLog();
    const noted = await log.audit.head(ACME);
    await log.table.remove(auditKeys.link(ACME, 4), "any");
    for (const id of idsOf(log.entries.slice(9))) await log.table.remove(auditKeys.entry(ACME, id), "any");
    expect(await problemsOf(log)).toEqual([]);
    expect(await problemsOf(log, noted)).toEqual([expect.stringMatching(/^4: the chain was cut off/) as string]);
    await chainEntries(log, ACME, idsOf(log.entries.slice(0, 1)));
  });

  it("finds a chain that was written anew, against a head that was noted", async () => {
    const log = await openLog();
    const noted = await log.audit.head(ACME);
    const hash = textOf(await linkItem(log.table, 3), "h");
    const kept = await log.audit.kept(ACME, idsOf(log.entries.slice(9, 11)));
    await log.table.remove(auditKeys.link(ACME, 4), "any");
    await log.audit.append(ACME, linkAfter({ n: 3, hash }, { tenant: ACME, entries: kept, at: T0 }));
    for (const id of idsOf(log.entries.slice(11))) await log.table.remove(auditKeys.entry(ACME, id), "any");
    expect(await problemsOf(log)).toEqual([]);
    expect(await problemsOf(log, noted)).toEqual([expect.stringMatching(/^4: .*written anew/) as string]);
  });
});

describe("an entry", () => {
  it("is the same when it is recorded again, also once it is chained", async () => {
    const table = createMemoryTable();
    const audit = createAudit({ table, shards: 1 });
    await audit.record(entry(1));
    const [before] = await audit.kept(ACME, idsOf([entry(1)]));
    await audit.record(entry(1, { actor: "mallory" }));
    await chainEntries({ audit, table }, ACME, idsOf([entry(1)]));
    await audit.record(entry(1));
    await chainEntries({ audit, table }, ACME, idsOf([entry(1)]));
    const [after] = await audit.kept(ACME, idsOf([entry(1)]));
    expect(after).toEqual({ ...before, link: 1 });
    expect(await audit.head(ACME)).toMatchObject({ n: 1 });
  });

  it("says how much it leaves out, when it is longer than an item", async () => {
    const audit = createAudit({ table: createMemoryTable(), shards: 1 });
    const long = entry(1, { reason: "x".repeat(500_000) });
    await audit.record(long);
    const [kept] = await audit.kept(ACME, idsOf([long]));
    const content = kept && (await audit.content(ACME, kept));
    expect(content).toMatchObject({ actor: "alice", detail: { omitted: { bytes: 500_014 } } });
    expect(content?.reason).toBeUndefined();
  });
});

describe("with encryption", () => {
  it("the chain is verified without keys, and once they are dropped; what was said is gone then", async () => {
    const table = createMemoryTable({ now: () => systemClock.wall() });
    const { sealers, dataKeys } = encryptionOn(table);
    const audit = createAudit({ table, shards: 1, sealers });
    await audit.record(entry(1, { reason: "the customer is Ada" }));
    await chainEntries({ audit, table }, ACME, idsOf([entry(1)]));
    const [kept] = await audit.kept(ACME, idsOf([entry(1)]));
    expect(Buffer.from(kept?.bytes ?? []).toString("latin1")).not.toContain("Ada");
    const shown = async () => (await createAuditUseCases({ audit }).list(AUDITOR, { limit: 1 })).items;
    expect(await shown()).toMatchObject([{ content: { reason: "the customer is Ada" } }]);
    await dataKeys.drop(ACME);
    expect(await shown()).toMatchObject([{ kind: "decision", link: 1, content: undefined }]);
    const keyless = createAudit({ table, shards: 1 });
    expect(await verifyChain(keyless, ACME)).toMatchObject({ problems: [], entries: 1 });
  });

  it("what is not encrypted can be read by everybody (negative control)", async () => {
    const audit = createAudit({ table: createMemoryTable(), shards: 1 });
    await audit.record(entry(1, { reason: "the customer is Ada" }));
    const [kept] = await audit.kept(ACME, idsOf([entry(1)]));
    expect(Buffer.from(kept?.bytes ?? []).toString("latin1")).toContain("Ada");
  });
});

describe("chaining", () => {
  /** Every call of the table is one turn, so that any interleaving can be had. */
  async function race(workers: number, diesAfter: number): Promise<{ readonly audit: Audit; readonly table: Table }> {
    const table = createMemoryTable();
    const audit = createAudit({ table, shards: 1 });
    const ids = idsOf(Array.from({ length: 250 }, (_, n) => entry(n)));
    await Promise.all(Array.from({ length: 250 }, (_, n) => audit.record(entry(n))));
    let calls = 0;
    const dying: Table = {
      ...table,
      put: async (...put) => (++calls > diesAfter ? new Promise(() => {}) : table.put(...put)),
    };
    void chainEntries({ audit: createAudit({ table: dying, shards: 1 }), table }, ACME, ids);
    for (let turn = 0; turn < 2000; turn++) await Promise.resolve();
    await Promise.all(Array.from({ length: workers }, () => chainEntries({ audit, table }, ACME, ids)));
    return { audit, table };
  }

  it("has every entry in one link and no other, whoever dies or races", async () => {
    for (const diesAfter of [0, 1, 2, 50, 101, 102, 150, 203, 240, 260]) {
      const { audit, table } = await race(4, diesAfter);
      const { problems, entries } = await verifyChain(audit, ACME);
      expect([problems, entries]).toEqual([[], 250]);
      // None of them is due any more.
      expect((await table.queryIndex("due", "default#0", {})).items).toEqual([]);
    }
  });

  it("has an entry once that was found twice", async () => {
    const table = createMemoryTable();
    const audit = createAudit({ table, shards: 1 });
    await audit.record(entry(0));
    const [id = ""] = idsOf([entry(0)]);
    await chainEntries({ audit, table }, ACME, [id, id]);
    expect(await verifyChain(audit, ACME)).toMatchObject({ problems: [], links: 1, entries: 1 });
  });

  it("would chain entries twice if it did not complete the link before (negative control)", async () => {
    const table = createMemoryTable();
    const audit = createAudit({ table, shards: 1 });
    await audit.record(entry(1));
    const kept = await audit.kept(ACME, idsOf([entry(1)]));
    // Somebody has appended a link, and died before the mark.
    await audit.append(ACME, linkAfter(undefined, { tenant: ACME, entries: kept, at: T0 }));
    const forgetful: Audit = {
      ...audit,
      mark: async (tenant, ids, link) => (link === 1 ? undefined : audit.mark(tenant, ids, link)),
    };
    await chainEntries({ audit: forgetful, table }, ACME, idsOf([entry(1)]));
    expect((await verifyChain(audit, ACME)).problems).toContainEqual({
      link: 2,
      what: `entry ${auditId(entry(1))} stands in link 1 already`,
    });
  });
});

const json = (): fc.Arbitrary<Json> => fc.jsonValue({ maxDepth: 3 }) as fc.Arbitrary<Json>;

describe("a patch", () => {
  it("turns what was before into what is after", () => {
    fc.assert(
      fc.property(json(), json(), (before, after) => {
        const b = JSON.parse(JSON.stringify(before)) as Json;
        const a = JSON.parse(JSON.stringify(after)) as Json;
        expect(jsonPatch(b, a).reduce(applied, b)).toEqual(a);
      }),
    );
  });

  it("names what changed, and no more", () => {
    expect(jsonPatch({ args: { amount: 100, "a/b": 1 } }, { args: { amount: 7, "a/b": 1 } })).toEqual([
      { op: "replace", path: "/args/amount", value: 7 },
    ]);
  });
});

type Node = Record<string, Json> | Json[];

/** RFC 6902, as far as patches here go. */
function applied(value: Json, operation: PatchOperation): Json {
  if (operation.path === "") return operation.op === "remove" ? null : operation.value;
  const root = structuredClone(value) as Node;
  const keys = operation.path
    .slice(1)
    .split("/")
    .map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"));
  const last = keys.pop() ?? "";
  const parent = keys.reduce((node, key) => (node as Record<string, Node>)[key] ?? {}, root);
  if (operation.op === "remove") {
    if (Array.isArray(parent)) parent.splice(Number(last), 1);
    else delete parent[last];
  } else if (Array.isArray(parent) && last === "-") parent.push(operation.value);
  else (parent as Record<string, Json>)[last] = operation.value;
  return root;
}

it("a digest covers kind, time and content", () => {
  const kept = { id: "i", kind: "decision", at: T0, bytes: Buffer.from("x") } as const;
  const digests = [
    kept,
    { ...kept, at: T0 + 1 },
    { ...kept, kind: "retry" as const },
    { ...kept, bytes: Buffer.from("y") },
  ];
  expect(new Set(digests.map(entryDigest)).size).toBe(4);
});
