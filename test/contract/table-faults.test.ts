/**
 * What networks and throttling do to a table on DynamoDB, done by a proxy on the wire.
 *
 * The negative control of the write id: the same lost reply, after which the caller repeats the put itself. Under the
 * write id it was sent with the put is won; under a fresh one, that is with the recognition switched off, it is lost to itself.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createDynamoTable } from "../../src/aws/dynamodb-table.ts";
import type { DynamoTableOptions } from "../../src/aws/dynamodb-table.ts";
import { systemIds } from "../../src/core/ids.ts";
import type { Draft, Key, Table } from "../../src/storage/table.ts";
import { startDroppingProxy } from "../support/dropping-proxy.ts";
import type { DroppingProxy, Fate, Passing } from "../support/dropping-proxy.ts";
import { dynamoEngines } from "../support/engines.ts";
import type { OpenTable } from "../support/engines.ts";
import { dynamoOptions } from "../support/table-place.ts";
import type { DynamoPlace } from "../support/table-place.ts";

const freshKey = (): Key => ({ pk: `tenant#t#${systemIds.token(6)}`, sk: "H" });

describe.each(dynamoEngines())("behind a bad network, a table on $name", (engine) => {
  let opened: OpenTable<DynamoPlace>;
  let direct: Table;
  const open = new AsyncDisposableStack();
  const perTest: AsyncDisposable[] = [];
  beforeAll(async () => {
    opened = open.use(await engine.open());
    direct = opened.table;
  });
  afterEach(async () => {
    for (const resource of perTest.splice(0).toReversed()) await resource[Symbol.asyncDispose]();
  });
  afterAll(() => open.disposeAsync());

  /** A table whose requests meet the given fates. */
  const through = async (
    fateOf: (passing: Passing) => Fate | undefined,
    options: Partial<DynamoTableOptions> = {},
  ): Promise<{ table: Table; proxy: DroppingProxy }> => {
    const proxy = await startDroppingProxy(opened.place.endpoint, fateOf);
    const place = { endpoint: proxy.endpoint, tableName: opened.place.tableName };
    const table = createDynamoTable({ ...dynamoOptions(place), ...options });
    perTest.push(proxy, table);
    return { table, proxy };
  };
  const firstReplyLost =
    (operation: string) =>
    (passing: Passing): Fate | undefined =>
      passing.operation === operation && passing.index === 0 ? { lose: "reply" } : undefined;
  const sent = (proxy: DroppingProxy, operation: string): number =>
    proxy.seen.filter((passing) => passing.operation === operation).length;

  it("wins a put with `absent` whose reply was lost and which the SDK then repeats", async () => {
    const { table, proxy } = await through(firstReplyLost("PutItem"));
    const key = freshKey();
    const result = await table.put({ ...key, attributes: { n: 1 } }, "absent");
    expect(sent(proxy, "PutItem")).toBe(2);
    expect(result).toEqual({ won: true, version: (await direct.get(key))?.version });
  });

  it("wins a put on a version whose reply was lost", async () => {
    const { table, proxy } = await through(firstReplyLost("PutItem"));
    const key = freshKey();
    const created = await direct.put({ ...key, attributes: { n: 1 } }, "absent");
    const result = await table.put({ ...key, attributes: { n: 2 } }, { version: created.won ? created.version : 0 });
    expect(sent(proxy, "PutItem")).toBe(2);
    expect(result).toEqual({ won: true, version: (await direct.get(key))?.version });
    expect((await direct.get(key))?.attributes).toEqual({ n: 2 });
  });

  it("wins a put whose reply never came, once the request timed out", async () => {
    const fate = (passing: Passing): Fate | undefined =>
      passing.operation === "PutItem" && passing.index === 0 ? { lose: "silence" } : undefined;
    const { table, proxy } = await through(fate, { requestTimeoutMs: 400 });
    expect(await table.put({ ...freshKey(), attributes: {} }, "absent")).toMatchObject({ won: true });
    expect(sent(proxy, "PutItem")).toBe(2);
  });

  it("does not take another's write for its own after a lost reply", async () => {
    const key = freshKey();
    await direct.put({ ...key, attributes: { who: "other" } }, "absent");
    const { table } = await through(firstReplyLost("PutItem"));
    const result = await table.put({ ...key, attributes: { who: "me" } }, "absent");
    expect(result).toMatchObject({ won: false, current: { attributes: { who: "other" } } });
  });

  it("finds nothing left of what it removed itself when the reply was lost", async () => {
    const { table, proxy } = await through(firstReplyLost("DeleteItem"));
    const key = freshKey();
    const created = await direct.put({ ...key, attributes: {} }, "absent");
    const result = await table.remove(key, { version: created.won ? created.version : 0 });
    expect(sent(proxy, "DeleteItem")).toBe(2);
    expect(result).toEqual({ outcome: "gone" });
    expect(await direct.get(key)).toBeUndefined();
  });

  describe("negative control: a caller that repeats a put after a lost reply", () => {
    const afterLostReply = async (when: "absent" | "version", again: "the same" | "a fresh"): Promise<unknown> => {
      const { table } = await through(firstReplyLost("PutItem"), { maxAttempts: 1 });
      const draft: Draft = { ...freshKey(), attributes: {} };
      const before = when === "absent" ? undefined : await direct.put(draft, "absent");
      const condition = before?.won === true ? { version: before.version } : "absent";
      await expect(table.put(draft, condition, { writeId: "first" })).rejects.toMatchObject({ code: "unavailable" });
      return table.put(draft, condition, { writeId: again === "the same" ? "first" : "second" });
    };

    it.each(["absent", "version"] as const)("under the same write id has won (%s)", async (when) => {
      expect(await afterLostReply(when, "the same")).toMatchObject({ won: true });
    });

    it.each(["absent", "version"] as const)("under a fresh write id loses to itself (%s)", async (when) => {
      expect(await afterLostReply(when, "a fresh")).toMatchObject({ won: false, current: { writeId: "first" } });
    });
  });

  it("says `unavailable` and keeps the cause when no reply comes at all", async () => {
    const { table, proxy } = await through(() => ({ lose: "request" }), { maxAttempts: 2 });
    const failing = table.get(freshKey());
    await expect(failing).rejects.toMatchObject({ code: "unavailable" });
    await expect(failing).rejects.toHaveProperty("cause.message");
    await expect(failing).rejects.toThrow(opened.place.tableName);
    expect(sent(proxy, "GetItem")).toBe(2);
  });

  it("repeats what was throttled", async () => {
    const throttled: Fate = {
      answer: {
        status: 400,
        body: { __type: "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException" },
      },
    };
    const { table, proxy } = await through((passing) => (passing.index < 2 ? throttled : undefined));
    expect(await table.put({ ...freshKey(), attributes: {} }, "absent")).toMatchObject({ won: true });
    expect(sent(proxy, "PutItem")).toBe(3);
  });

  it("puts again what a batch left unprocessed, until all has landed", async () => {
    const { table, proxy } = await through((passing) => {
      if (passing.operation !== "BatchWriteItem" || passing.index >= 3) return undefined;
      const { tableName } = opened.place;
      const { [tableName]: requests = [] } = passing.body["RequestItems"] as Record<string, unknown[]>;
      const left = { [tableName]: requests.slice(4) };
      return {
        body: { ...passing.body, RequestItems: { [tableName]: requests.slice(0, 4) } },
        rewrite: (answer) => ({ ...answer, UnprocessedItems: left }),
      };
    });
    const { pk } = freshKey();
    const drafts = Array.from({ length: 20 }, (_, n) => ({
      pk,
      sk: `B#${n}`,
      attributes: { bytes: Uint8Array.of(n) },
    }));
    await table.batchPut(drafts);
    expect(sent(proxy, "BatchWriteItem")).toBe(4);
    const found = await direct.batchGet(drafts);
    expect(found.map((item) => item.attributes)).toEqual(drafts.map((draft) => draft.attributes));
  });

  it("gets again what a batch left unprocessed, until all is there", async () => {
    const { table, proxy } = await through((passing) => {
      if (passing.operation !== "BatchGetItem" || passing.index >= 2) return undefined;
      const { tableName } = opened.place;
      const { [tableName]: asked } = passing.body["RequestItems"] as Record<string, { Keys: unknown[] }>;
      const keys = asked?.Keys ?? [];
      const left = { [tableName]: { ...asked, Keys: keys.slice(7) } };
      return {
        body: { ...passing.body, RequestItems: { [tableName]: { ...asked, Keys: keys.slice(0, 7) } } },
        rewrite: (answer) => ({ ...answer, UnprocessedKeys: left }),
      };
    });
    const { pk } = freshKey();
    const drafts = Array.from({ length: 20 }, (_, n) => ({ pk, sk: `B#${n}`, attributes: { n } }));
    await direct.batchPut(drafts);
    expect((await table.batchGet(drafts)).map((item) => item.attributes["n"])).toEqual(drafts.map((_, n) => n));
    expect(sent(proxy, "BatchGetItem")).toBe(3);
  });

  it("wins on an item that disappears between a failed condition and the look at it", async () => {
    const key = freshKey();
    await direct.put({ ...key, attributes: {} }, "absent");
    const gone: Fate = {
      answer: { status: 400, body: { __type: "com.amazonaws.dynamodb.v20120810#ConditionalCheckFailedException" } },
    };
    const { table } = await through((passing) => {
      if (passing.operation === "GetItem") return { answer: { status: 200, body: {} } };
      if (passing.operation !== "PutItem" || passing.index > 0) return undefined;
      return gone;
    });
    await direct.remove(key, "any");
    expect(await table.put({ ...key, attributes: { n: 1 } }, "absent")).toMatchObject({ won: true });
  });

  it("takes its time from the table's answers", async () => {
    const ahead = new Date(Date.now() + 86_400_000).toUTCString();
    const { table } = await through(() => ({ headers: { date: ahead } }));
    expect(Math.abs(table.now() - Date.now())).toBeLessThan(60_000);
    await table.get(freshKey());
    expect(Math.abs(table.now() - Date.parse(ahead))).toBeLessThan(60_000);
  });

  it("reports the units of every request to who asked for them", async () => {
    const requests: unknown[] = [];
    const { table } = await through(() => undefined, { onRequest: (kind, units) => requests.push([kind, units]) });
    const key = freshKey();
    await table.put({ ...key, attributes: { text: "x".repeat(1500) } }, "absent");
    await table.get(key);
    expect(requests).toEqual([
      ["put", { write: 2 }],
      ["get", { read: 1 }],
    ]);
  });
});
