import { beforeEach, describe, expect, it } from "vitest";
import { systemIds, tenantId } from "../../src/core/ids.ts";
import { createBacklog } from "../../src/runtime/accept/backlog.ts";
import type { Backlog, BacklogOptions } from "../../src/runtime/accept/backlog.ts";
import { duePartition, futureSort, readySort } from "../../src/storage/keys.ts";
import type { Table } from "../../src/storage/table.ts";
import { createManualClock } from "../support/manual-clock.ts";
import type { ManualClock } from "../support/manual-clock.ts";
import { createMemoryTable } from "../support/memory-table.ts";

const ACME = tenantId("acme");
const GLOBEX = tenantId("globex");
const SHARDS = 2;

let clock: ManualClock;
let rowsRead: number;
let queries: number;
let table: Table;

beforeEach(() => {
  clock = createManualClock();
  rowsRead = 0;
  queries = 0;
  const memory = createMemoryTable({ now: () => clock.wall() });
  table = {
    ...memory,
    async queryIndex(index, pk, range) {
      queries++;
      const page = await memory.queryIndex(index, pk, range);
      rowsRead += page.items.length;
      return page;
    },
  };
});

const backlogOf = (limits: BacklogOptions["limits"], pools: readonly string[] = ["default"]): Backlog =>
  createBacklog({ table, clock, ids: systemIds, pools, shards: SHARDS, limits });

interface Row {
  readonly tenant?: ReturnType<typeof tenantId>;
  readonly pool?: string;
  readonly sort?: typeof readySort;
}

async function put(count: number, { tenant = ACME, pool = "default", sort = readySort }: Row = {}): Promise<void> {
  const drafts = Array.from({ length: count }, () => {
    const subject = systemIds.uuid();
    const due = {
      pk: duePartition(pool, tenant, SHARDS),
      sk: sort({ tenant, priority: 5, dueAt: clock.wall(), subject }),
    };
    return { pk: `${tenant}#t#${subject}`, sk: "H", attributes: {}, index: { due } };
  });
  await table.batchPut(drafts);
}

/** Lets counts that are under way end. */
async function counted(): Promise<void> {
  for (let n = 0; n < 20; n++) {
    await new Promise<void>((resolve) => void setImmediate(resolve));
    clock.advance(0);
  }
}

async function refusalOf(backlog: Backlog, tenant = ACME, pool?: string) {
  backlog.refusal(tenant, pool);
  await counted();
  return backlog.refusal(tenant, pool);
}

describe("the backlog", () => {
  it("has room as long as nothing is known, and makes nobody wait to know", async () => {
    await put(10);
    const backlog = backlogOf({ backlog: 5, backlogPerTenant: 5 });
    expect(backlog.refusal(ACME)).toBeUndefined();
    await counted();
    expect(backlog.refusal(ACME)).toMatchObject({ code: "limit" });
  });

  it("is bounded for a tenant and for all, and says which bound was reached", async () => {
    await put(5);
    await put(2, { tenant: GLOBEX });
    const perTenant = backlogOf({ backlog: 100, backlogPerTenant: 5 });
    expect((await refusalOf(perTenant))?.message).toContain("limit: backlog of a tenant, 5");
    expect(await refusalOf(perTenant, GLOBEX)).toBeUndefined();
    const inAll = backlogOf({ backlog: 7, backlogPerTenant: 6 });
    expect((await refusalOf(inAll, GLOBEX))?.detail).toEqual({
      limit: "backlog",
      value: 7,
      setting: "HOLDPOINT_MAX_BACKLOG",
    });
  });

  it("counts what is ready, and nothing that sleeps or is being worked on", async () => {
    await put(10, { sort: futureSort });
    expect(await refusalOf(backlogOf({ backlog: 5, backlogPerTenant: 5 }))).toBeUndefined();
  });

  it("counts in at once what this process lets in, also while it counts", async () => {
    const backlog = backlogOf({ backlog: 100, backlogPerTenant: 3 });
    expect(await refusalOf(backlog)).toBeUndefined();
    clock.advance(1000);
    expect(backlog.refusal(ACME)).toBeUndefined();
    for (let n = 0; n < 3; n++) backlog.letIn(ACME);
    expect(backlog.refusal(ACME)).toBeDefined();
    await counted();
    expect(backlog.refusal(ACME)).toBeDefined();
    expect(backlog.refusal(GLOBEX)).toBeUndefined();
  });

  it("is counted once a second at most, only while somebody asks, and no further than the bound", async () => {
    await put(2500);
    const backlog = backlogOf({ backlog: 1200, backlogPerTenant: 1200 });
    for (let n = 0; n < 100; n++) await refusalOf(backlog);
    expect(rowsRead).toBe(1200);
    const first = queries;
    clock.advance(999);
    await refusalOf(backlog);
    expect(queries).toBe(first);
    clock.advance(1);
    await refusalOf(backlog);
    expect(queries).toBe(2 * first);
    clock.advance(60_000);
    await counted();
    expect(queries).toBe(2 * first);
  });

  it("is not judged by a count from before a pause", async () => {
    await put(10);
    const backlog = backlogOf({ backlog: 5, backlogPerTenant: 5 });
    expect(await refusalOf(backlog)).toBeDefined();
    clock.advance(10_000);
    expect(backlog.refusal(ACME)).toBeUndefined();
  });

  it("refuses nobody when it cannot be counted", async () => {
    await put(10);
    table.queryIndex = () => Promise.reject(new Error("away"));
    expect(await refusalOf(backlogOf({ backlog: 5, backlogPerTenant: 5 }))).toBeUndefined();
  });

  it("sends away for about as long as a tenth of it takes to be done, and not all for equally long", async () => {
    await put(110);
    const backlog = backlogOf({ backlog: 100, backlogPerTenant: 100 });
    const unknown = (await refusalOf(backlog))?.retryAfterMs ?? 0;
    expect(unknown).toBeGreaterThanOrEqual(2500);
    expect(unknown).toBeLessThanOrEqual(7500);
    for (let n = 0; n < 10; n++) backlog.letIn(ACME);
    clock.advance(2000);
    await refusalOf(backlog);
    // 100 were waiting, 10 came, 100 wait: 10, which is a tenth of the bound, ended in two seconds.
    const waits = Array.from({ length: 50 }, () => backlog.refusal(ACME)?.retryAfterMs ?? 0);
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(1000);
    expect(Math.max(...waits)).toBeLessThanOrEqual(3000);
    expect(new Set(waits).size).toBeGreaterThan(10);
  });
});

describe("several pools", () => {
  it("are full only when each of them is, until it is known which one a run is for", async () => {
    await put(5, { pool: "slow" });
    const backlog = backlogOf({ backlog: 5, backlogPerTenant: 5 }, ["default", "slow"]);
    expect(await refusalOf(backlog)).toBeUndefined();
    expect(await refusalOf(backlog, ACME, "slow")).toMatchObject({ code: "limit" });
    expect(await refusalOf(backlog, ACME, "default")).toBeUndefined();
    for (let n = 0; n < 5; n++) backlog.letIn(ACME, "default");
    expect(await refusalOf(backlog)).toMatchObject({ code: "limit" });
  });
});
