/** What the saver leaves in the table: whole or not at all, once, in order, of any size, and checked on the way back (I3). */
import { isDeepStrictEqual } from "node:util";
import type { RunnableConfig } from "@langchain/core/runnables";
import type { PendingWrite } from "@langchain/langgraph-checkpoint";
import { INTERRUPT, RESUME } from "@langchain/langgraph-checkpoint";
import { describe, expect, it } from "vitest";
import { FencedSaver } from "../../src/checkpoint/saver.ts";
import type { SaverOptions } from "../../src/checkpoint/options.ts";
import { tenantId, threadId } from "../../src/core/ids.ts";
import type { Table } from "../../src/storage/table.ts";
import { checkpointOf, configOf, metadataOf, noise } from "../support/checkpoints.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { createMemoryTable } from "../support/memory-table.ts";
import { TableDied, createTracedTable } from "../support/traced-table.ts";

const thread = threadId("t1");
const tenant = tenantId("acme");
const plain = (table: Table, more: Partial<SaverOptions> = {}) =>
  new FencedSaver({ table, blobs: createMemoryBlobs(), tenant, ...more });

describe("a crash at any storage call of put", () => {
  const limits = { inlineBytes: 1_000, pieceBytes: 2_000, blobBytes: 50_000 };
  const values = { small: 1, large: noise(9_000) };

  it("leaves the state before it or the state after it", async () => {
    const outcomes = new Set<string>();
    for (let mutation = 1; ; mutation++) {
      let died = false;
      for (const when of ["before", "after"] as const) {
        const inner = createMemoryTable();
        const base = await plain(inner, { limits }).put(
          configOf(thread),
          checkpointOf({ values: { small: 0 } }),
          metadataOf(-1),
          { small: 1 },
        );
        const next = checkpointOf({ values, versions: { small: 2, large: 1 } });
        const dying = plain(createTracedTable(inner, { dieAt: { mutation, when } }), { limits });
        const put = dying.put(base, next, metadataOf(0), { small: 2, large: 1 });
        died = await put.then(
          () => false,
          (error: unknown) => error instanceof TableDied,
        );
        const read = (await plain(inner, { limits }).getTuple(configOf(thread)))?.checkpoint;
        const state = read?.id === next.id ? "after" : "before";
        expect(read?.channel_values).toEqual(state === "after" ? values : { small: 0 });
        outcomes.add(`${died ? "died" : "lived"}, state ${state}`);
        const retried = await plain(inner, { limits }).put(base, next, metadataOf(0), { small: 2, large: 1 });
        expect((await plain(inner, { limits }).getTuple(retried))?.checkpoint.channel_values).toEqual(values);
        let seen = 0;
        for await (const _ of plain(inner, { limits }).list(configOf(thread))) seen++;
        expect(seen).toBe(2);
      }
      if (!died) break;
    }
    expect(outcomes).toEqual(new Set(["died, state before", "died, state after", "lived, state after"]));
  });

  it("leaves all writes of a task or none", async () => {
    for (const when of ["before", "after"] as const) {
      const inner = createMemoryTable();
      const base = await plain(inner).put(configOf(thread), checkpointOf(), metadataOf(-1), {});
      const dying = plain(createTracedTable(inner, { dieAt: { mutation: 1, when } }));
      const writes: [string, unknown][] = Array.from({ length: 12 }, (_, n) => ["a", n]);
      await expect(dying.putWrites(base, writes, "task")).rejects.toThrow(TableDied);
      const pending = (await plain(inner).getTuple(base))?.pendingWrites ?? [];
      expect(pending.map(([, , value]) => value)).toEqual(when === "before" ? [] : writes.map(([, value]) => value));
      await plain(inner).putWrites(base, writes, "task");
      expect((await plain(inner).getTuple(base))?.pendingWrites).toHaveLength(12);
    }
  });

  it("leaves of answers, interrupts and large writes of a task each whole or not there, the answers first", async () => {
    const regular: PendingWrite[] = [
      ["small", 1],
      ["large", noise(9_000)],
      ["larger", noise(9_001)],
    ];
    const answers: PendingWrite = [RESUME, ["yes"]];
    const asks: PendingWrite = [INTERRUPT, [{ id: "i", value: noise(8_000) }]];
    // What may be found, in this order: a task with its answers but without its interrupt raises it again.
    const states = [[], [answers], [answers, asks], [answers, asks, ...regular]];
    const blobs = createMemoryBlobs();
    const open = (table: Table) => plain(table, { limits, blobs });
    const pendingOf = async (table: Table, config: RunnableConfig) =>
      ((await open(table).getTuple(config))?.pendingWrites ?? []).map(([, ...write]) => write);
    const found: number[] = [];
    for (let mutation = 1, died = true; died; mutation += 1) {
      for (const when of ["before", "after"] as const) {
        const inner = createMemoryTable();
        const base = await open(inner).put(configOf(thread), checkpointOf(), metadataOf(-1), {});
        const dying = open(createTracedTable(inner, { dieAt: { mutation, when } }));
        died = await dying.putWrites(base, [...regular, asks, answers], "task").then(
          () => false,
          (error: unknown) => error instanceof TableDied,
        );
        const pending = await pendingOf(inner, base);
        const state = states.findIndex((one) => isDeepStrictEqual(one, pending));
        expect([mutation, when, pending]).toEqual([mutation, when, states[state]]);
        found.push(state);
        await open(inner).putWrites(base, [...regular, asks, answers], "task");
        expect(await pendingOf(inner, base)).toEqual(states.at(-1));
      }
    }
    expect(new Set(found)).toEqual(new Set(states.keys()));
    expect(found).toEqual(found.toSorted((a, b) => a - b));
    // Segments, two special items, the regular one, and once nothing.
    expect(found.length).toBeGreaterThanOrEqual(2 * 5);
  });
});

describe("task writes", () => {
  it("keep their order, also beyond nine of one task and across tasks", async () => {
    const saver = plain(createMemoryTable());
    const config = await saver.put(configOf(thread), checkpointOf(), metadataOf(0), {});
    const many: [string, unknown][] = Array.from({ length: 25 }, (_, n) => ["list", n]);
    await saver.putWrites(config, many, "task-b", "~1");
    await saver.putWrites(config, [["list", "first"]], "task-z", "~0");
    await saver.putWrites(config, [["list", "input"]], "task-c");
    const values = (await saver.getTuple(config))?.pendingWrites?.map(([, , value]) => value);
    expect(values).toEqual(["input", "first", ...many.map(([, value]) => value)]);
  });

  it("are insert-or-ignore when regular and overwritten when special", async () => {
    const table = createMemoryTable();
    const saver = plain(table);
    const config = await saver.put(configOf(thread), checkpointOf(), metadataOf(0), {});
    await saver.putWrites(config, [["a", 1]], "task");
    await saver.putWrites(
      config,
      [
        ["a", 2],
        ["b", 3],
      ],
      "task",
    );
    await saver.putWrites(config, [[INTERRUPT, [{ id: "i", value: 1 }]]], "task");
    await saver.putWrites(
      config,
      [
        [INTERRUPT, [{ id: "i", value: 2 }]],
        [RESUME, ["yes"]],
      ],
      "task",
    );
    expect((await plain(table).getTuple(config))?.pendingWrites).toEqual([
      ["task", RESUME, ["yes"]],
      ["task", INTERRUPT, [{ id: "i", value: 2 }]],
      ["task", "a", 1],
      ["task", "b", 3],
    ]);
  });

  it("of the echo of a resume map are not stored", async () => {
    const table = createMemoryTable();
    const saver = plain(table);
    const config = await saver.put(configOf(thread), checkpointOf(), metadataOf(0), {});
    const before = table.dump().length;
    await saver.putWrites(config, [[RESUME, ["x"]]], "0123456789abcdef0123456789abcdef");
    expect(table.dump()).toHaveLength(before);
  });

  it("of one task from many callers end as one whole set", async () => {
    const table = createMemoryTable();
    const saver = plain(table);
    const config = await saver.put(configOf(thread), checkpointOf(), metadataOf(0), {});
    await Promise.all(
      Array.from({ length: 8 }, () =>
        plain(table).putWrites(
          config,
          [
            ["a", 1],
            ["b", 2],
          ],
          "task",
        ),
      ),
    );
    expect((await saver.getTuple(config))?.pendingWrites).toEqual([
      ["task", "a", 1],
      ["task", "b", 2],
    ]);
  });
});

describe("a repeated put", () => {
  it("is one record, from the same saver and from another", async () => {
    const table = createMemoryTable();
    const saver = plain(table);
    const first = await saver.put(configOf(thread), checkpointOf({ values: { a: 1 } }), metadataOf(-1), { a: 1 });
    const next = checkpointOf({ values: { a: 2 }, versions: { a: 2 } });
    const put = (by: FencedSaver) => by.put(first, next, metadataOf(0), { a: 2 });
    expect(await put(saver)).toEqual(await put(saver));
    await put(plain(table));
    expect(table.dump().filter((item) => item.sk.startsWith("C#"))).toHaveLength(2);
  });
});

describe("large values", () => {
  for (const [bytes, where] of [
    [20_000, "the record"],
    [90_000, "segments"],
    [200_000, "segments"],
    [700_000, "a blob"],
    [5_000_000, "a blob"],
  ] as const) {
    it(`of ${bytes} bytes are kept in ${where} and inherited without being written again`, async () => {
      const table = createTracedTable(createMemoryTable());
      const blobs = createMemoryBlobs();
      const saver = plain(table, { blobs });
      const value = noise(bytes);
      let config = await saver.put(configOf(thread), checkpointOf({ values: { doc: value } }), metadataOf(-1), {
        doc: 1,
      });
      expect(blobs.size).toBe(where === "a blob" ? 1 : 0);
      const segments = table.count("batchPut", "S#");
      expect(segments).toBe(where === "segments" ? 1 : 0);
      for (let step = 0; step < 40; step++) {
        const next = checkpointOf({ values: { doc: value, n: step }, versions: { doc: 1, n: step + 1 } });
        config = await saver.put(config, next, metadataOf(step), { n: step + 1 });
      }
      // What the first record still held itself is put into a segment by the first base after it, once.
      expect(table.count("batchPut", "S#")).toBe(where === "a blob" ? 0 : 1);
      expect(blobs.size).toBe(where === "a blob" ? 1 : 0);
      expect((await plain(table, { blobs }).getTuple(configOf(thread)))?.checkpoint.channel_values).toEqual({
        doc: value,
        n: 39,
      });
      await saver.putWrites(
        config,
        [
          ["doc", value],
          ["n", 1],
        ],
        "task",
      );
      expect((await plain(table, { blobs }).getTuple(config))?.pendingWrites?.map(([, , v]) => v)).toEqual([value, 1]);
    });
  }

  it("that are many and middling leave the record before it bursts", async () => {
    const saver = plain(createMemoryTable());
    const values = Object.fromEntries(Array.from({ length: 12 }, (_, n) => [`c${n}`, noise(60_000)]));
    const versions = Object.fromEntries(Object.keys(values).map((name) => [name, 1]));
    const config = await saver.put(configOf(thread), checkpointOf({ values }), metadataOf(-1), versions);
    expect((await saver.getTuple(config))?.checkpoint.channel_values).toEqual(values);
  });
});

describe("what was changed on disk", () => {
  const damage = async (table: Table, prefix: string, change: (bytes: Uint8Array) => Uint8Array) => {
    const { items } = await table.query("acme#t#t1", { prefix });
    const item = items.at(-1);
    const bytes = item?.attributes["b"];
    if (!item || !(bytes instanceof Uint8Array)) throw new Error(`nothing under ${prefix}`);
    await table.put({ pk: item.pk, sk: item.sk, attributes: { ...item.attributes, b: change(bytes) } }, "any");
  };
  const flipLast = (bytes: Uint8Array) => bytes.with(bytes.length - 1, (bytes.at(-1) ?? 0) ^ 1);

  it("fails loudly instead of being read", async () => {
    for (const prefix of ["C#", "S#"]) {
      const table = createMemoryTable();
      const saver = plain(table);
      await saver.put(configOf(thread), checkpointOf({ values: { a: 1, doc: noise(150_000) } }), metadataOf(-1), {
        a: 1,
        doc: 1,
      });
      await damage(table, prefix, flipLast);
      await expect(plain(table).getTuple(configOf(thread))).rejects.toMatchObject({ code: "corrupt" });
    }
    const table = createMemoryTable();
    await plain(table).put(configOf(thread), checkpointOf({ values: { a: 1 } }), metadataOf(-1), { a: 1 });
    await damage(table, "C#", (bytes) => bytes.with(0, 0));
    await expect(plain(table).getTuple(configOf(thread))).rejects.toMatchObject({ code: "corrupt" });
  });
});

describe("a value that cannot be written", () => {
  it("is refused with the name of its channel, and nothing is stored", async () => {
    const table = createMemoryTable();
    const saver = plain(table);
    for (const value of [10n, { nested: [10n] }, () => 1]) {
      const put = saver.put(configOf(thread), checkpointOf({ values: { amount: value } }), metadataOf(-1), {
        amount: 1,
      });
      await expect(put).rejects.toMatchObject({ code: "invalid", detail: { channel: "amount" } });
    }
    expect(table.dump()).toEqual([]);
    const config = await saver.put(configOf(thread), checkpointOf(), metadataOf(-1), {});
    await expect(saver.putWrites(config, [["amount", 10n]], "task")).rejects.toMatchObject({
      detail: { channel: "amount" },
    });
  });
});

describe("a deleted thread", () => {
  it("is empty, can be created again, and a late writer of the old one writes where nobody reads", async () => {
    const table = createMemoryTable();
    const blobs = createMemoryBlobs();
    const late = plain(table, { blobs });
    const old = await late.put(
      configOf(thread),
      checkpointOf({ values: { doc: noise(400_000), mid: noise(120_000) } }),
      metadataOf(-1),
      {
        doc: 1,
        mid: 1,
      },
    );
    await late.putWrites(old, [["a", 1]], "task");
    await plain(table, { blobs }).deleteThread(thread);
    expect(table.dump().map(({ sk, attributes }) => [sk, attributes])).toEqual([["H", { g: 1 }]]);
    expect(blobs.size).toBe(0);
    const saver = plain(table, { blobs });
    expect(await saver.getTuple(configOf(thread))).toBeUndefined();
    const anew = await saver.put(configOf(thread), checkpointOf({ values: { a: "new" } }), metadataOf(-1), { a: 1 });
    await late.put(old, checkpointOf({ values: { a: "late" } }), metadataOf(0), { a: 1 });
    await late.putWrites(old, [["a", "late"]], "task");
    expect((await saver.getTuple(configOf(thread)))?.config).toEqual(anew);
    const listed: unknown[] = [];
    for await (const tuple of saver.list(configOf(thread))) listed.push(tuple.checkpoint.channel_values);
    expect(listed).toEqual([{ a: "new" }]);
    expect((await late.getTuple(configOf(thread)))?.config).toEqual(anew);
    const traced = createTracedTable(table);
    const told = plain(traced, { blobs, threadId: thread, generation: 1 });
    expect((await told.getTuple(configOf(thread)))?.config).toEqual(anew);
    expect(traced.count("get", "H")).toBe(0);
  });

  it("keeps what else its header says", async () => {
    const table = createMemoryTable();
    await table.put({ pk: "acme#t#t1", sk: "H", attributes: { g: 4, other: "kept" } }, "absent");
    const saver = plain(table);
    await saver.put(configOf(thread), checkpointOf(), metadataOf(-1), {});
    expect(table.dump().some(({ sk }) => sk.startsWith("C#000004##"))).toBe(true);
    await saver.deleteThread(thread);
    expect(table.dump().map(({ attributes }) => attributes)).toEqual([{ g: 5, other: "kept" }]);
  });
});

describe("history", () => {
  it("is listed newest first over many pages, with filters, limits and cursors by position", async () => {
    const table = createMemoryTable();
    const saver = plain(table);
    const ids: string[] = [];
    let config = configOf(thread);
    for (let step = 0; step < 130; step++) {
      const checkpoint = checkpointOf({
        values: { n: step, even: step - (step % 2) },
        versions: { n: step + 1, even: 1 + Math.floor(step / 2) },
      });
      ids.push(checkpoint.id);
      config = await saver.put(config, checkpoint, metadataOf(step, step % 3 === 0 ? "input" : "loop"), {
        n: step + 1,
        even: 1,
      });
    }
    const read = async (options?: Parameters<FencedSaver["list"]>[1]) => {
      const tuples: unknown[] = [];
      for await (const { checkpoint } of plain(table).list(configOf(thread), options))
        tuples.push(checkpoint.channel_values["n"]);
      return tuples;
    };
    const down = Array.from({ length: 130 }, (_, n) => 129 - n);
    expect(await read()).toEqual(down);
    expect(await read({ limit: 3 })).toEqual([129, 128, 127]);
    expect(await read({ filter: { source: "input" }, limit: 4 })).toEqual([129, 126, 123, 120]);
    expect(await read({ before: configOf(thread, ids[60]), limit: 2 })).toEqual([59, 58]);
    for (const step of [0, 1, 17, 64, 100, 128]) {
      const found = await plain(table).getTuple(configOf(thread, ids[step]));
      expect(found?.checkpoint.channel_values).toEqual({ n: step, even: step - (step % 2) });
    }
    expect(await plain(table).getTuple(configOf(thread, "1f000000-0000-6000-8000-000000000000"))).toBeUndefined();
  });

  it("of namespaces and threads with long or awkward names stays apart", async () => {
    const saver = plain(createMemoryTable());
    const names = [
      "",
      "a",
      "a|b",
      "a#b",
      "a%23b",
      "a!b",
      `deep:${"x".repeat(300)}`,
      `deep:${"x".repeat(300)}y`,
      "%~odd",
    ];
    const threads = ["t#1", "t%231", "x".repeat(250)];
    for (const id of threads) {
      for (const ns of names)
        await saver.put(configOf(id, undefined, ns), checkpointOf({ values: { at: `${id} ${ns}` } }), metadataOf(-1), {
          at: 1,
        });
    }
    for (const id of threads) {
      const found: string[] = [];
      for await (const { config, checkpoint } of saver.list({ configurable: { thread_id: id } })) {
        expect(checkpoint.channel_values["at"]).toBe(`${id} ${config.configurable?.["checkpoint_ns"]}`);
        found.push(String(config.configurable?.["checkpoint_ns"]));
      }
      expect(found.toSorted()).toEqual(names.toSorted());
    }
    const everything: unknown[] = [];
    for await (const tuple of saver.list({})) everything.push(tuple.config.configurable?.["thread_id"]);
    expect(everything).toHaveLength(threads.length * names.length);
    expect(new Set(everything)).toEqual(new Set(threads));
  });
});
