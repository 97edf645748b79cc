import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { HoldpointError } from "../../src/core/errors.ts";
import { watchTable } from "../../src/runtime/table-health.ts";
import type { TableHealth } from "../../src/runtime/table-health.ts";
import { tableKey } from "../../src/storage/keys.ts";
import type { Table } from "../../src/storage/table.ts";
import { createMemoryLog } from "../support/http.ts";
import { createManualClock } from "../support/manual-clock.ts";
import type { ManualClock } from "../support/manual-clock.ts";
import { createMemoryTable } from "../support/memory-table.ts";

const KEY = { pk: "p", sk: "s" };

/** What the engine does with every call, or with those on one partition. */
let fate: "answers" | "refuses" | "silent";
let except: string | undefined;
let probes: number;
let clock: ManualClock;
let log: ReturnType<typeof createMemoryLog>;
let table: Table;
let health: TableHealth;

beforeEach(() => {
  fate = "answers";
  except = undefined;
  probes = 0;
  clock = createManualClock();
  log = createMemoryLog();
  const memory = createMemoryTable({ now: () => clock.wall() });
  const meets = async <T>(pk: string, call: () => Promise<T>): Promise<T> => {
    if (pk === tableKey("shards").pk) probes++;
    if (fate === "refuses" && pk !== except) throw new HoldpointError("unavailable", "connection refused");
    if (fate === "silent" && pk !== except) return new Promise<never>(() => {});
    return call();
  };
  const engine: Table = {
    ...memory,
    get: (key) => meets(key.pk, () => memory.get(key)),
    put: (draft, when) => meets(draft.pk, () => memory.put(draft, when)),
  };
  ({ table, health } = watchTable(engine, { clock, log }));
});
afterEach(() => table[Symbol.asyncDispose]());

/** Lets everything run that needs no time. */
const settle = () => new Promise<void>((resolve) => void setImmediate(resolve));
async function pass(ms: number): Promise<void> {
  for (let gone = 0; gone < ms; gone += 100) {
    clock.advance(100);
    await settle();
  }
}

describe("a table that refuses every call", () => {
  it("is known to be away as soon as a probe has failed as well, and probed once a second until it is back", async () => {
    fate = "refuses";
    await expect(table.get(KEY)).rejects.toMatchObject({ code: "unavailable" });
    await settle();
    expect(health.isThere).toBe(false);
    await pass(5000);
    expect(probes).toBe(6);
    fate = "answers";
    await pass(1000);
    expect(health.isThere).toBe(true);
    expect(log.lines.map(({ level, message }) => [level, message])).toEqual([
      ["warn", "the table is away; what needs it is answered with 503 until it is back"],
      ["info", "the table answers again"],
    ]);
    await pass(10_000);
    expect(probes).toBe(7);
  });

  it("is back as soon as anybody's call is answered", async () => {
    fate = "refuses";
    await table.get(KEY).catch(() => undefined);
    await settle();
    fate = "answers";
    await table.get(KEY);
    expect(health.isThere).toBe(true);
  });
});

describe("a table that gives no answer at all", () => {
  it("is known to be away long before its callers give up", async () => {
    fate = "silent";
    void table.get(KEY);
    await pass(1400);
    expect(health.isThere).toBe(true);
    await pass(200);
    expect(health.isThere).toBe(false);
    fate = "answers";
    await pass(1100);
    expect(health.isThere).toBe(true);
  });

  it("is asked for a second at most by who wants to know, and not at all once it is known", async () => {
    fate = "silent";
    let answer: boolean | undefined;
    void health.look().then((isThere) => (answer = isThere));
    await pass(900);
    expect(answer).toBeUndefined();
    await pass(200);
    expect(answer).toBe(false);
    await pass(1000);
    const asked = probes;
    expect(await health.look()).toBe(false);
    expect(probes).toBe(asked);
  });
});

describe("a table of which one part fails", () => {
  it("is there: another partition's throttling or a disk that takes no more is nobody else's", async () => {
    fate = "refuses";
    except = tableKey("shards").pk;
    for (let n = 0; n < 10; n++) await table.put({ ...KEY, attributes: {} }, "any").catch(() => undefined);
    await pass(5000);
    expect(health.isThere).toBe(true);
    expect(log.lines).toEqual([]);
    expect(probes).toBe(1);
  });

  it("is there although one call takes long, as long as others are answered", async () => {
    fate = "silent";
    except = "elsewhere";
    void table.get(KEY);
    for (let n = 0; n < 30; n++) {
      await table.get({ pk: "elsewhere", sk: "s" });
      await pass(100);
    }
    expect(health.isThere).toBe(true);
    expect(probes).toBe(0);
  });
});

it("a call that was never sent says nothing about the table", async () => {
  fate = "refuses";
  await table.get(KEY).catch(() => undefined);
  await settle();
  const tooLarge = { ...KEY, attributes: { text: "x".repeat(500_000) } };
  fate = "answers";
  await expect(table.put(tooLarge, "any")).rejects.toMatchObject({ code: "item_too_large" });
  expect(health.isThere).toBe(false);
});
