/**
 * The store does what LangGraph's InMemoryStore does, over random sequences of operations.
 *
 * Left out here, and tested alone in `store-deviations.test.ts`, is where InMemoryStore is wrong: it forgets no vectors,
 * lists namespaces that are empty, compares objects by reference, ignores operators that it does not know, takes some
 * names in a batch for each other, repeats what has no vectors on every page, embeds the null that `{}` reaches, and what
 * it hands out changes with the item. Not wrong, but its own, is the order of what it finds: that of insertion.
 */
import { InMemoryStore } from "@langchain/langgraph-checkpoint";
import type { Operation, SearchItem, SearchOperation } from "@langchain/langgraph-checkpoint";
import fc from "fast-check";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { createStore } from "../../src/checkpoint/store/store.ts";
import { tenantId } from "../../src/core/ids.ts";
import { compareKeys } from "../../src/storage/key-range.ts";
import { storeKeys } from "../../src/storage/keys.ts";
import { letterEmbeddings } from "../support/letter-embeddings.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { createMemoryTable } from "../support/memory-table.ts";

const RUNS = Number(process.env["HOLDPOINT_STORE_RUNS"] ?? 1500);
const TENANT = tenantId("acme");
const ALL = { limit: 1000, offset: 0 };

/** Date is the table's clock too, so that times can be compared. */
beforeEach(() => void vi.useFakeTimers({ toFake: ["Date"], now: 1_700_000_000_000 }));
afterEach(() => void vi.useRealTimers());

/** InMemoryStore without the vectors of values that are no longer there. */
class Model extends InMemoryStore {
  async put1(operation: Extract<Operation, { value: unknown }>): Promise<void> {
    const { vectors } = this as unknown as { vectors: Map<string, Map<string, unknown>> }; // private
    vectors.get(operation.namespace.join(":"))?.delete(operation.key);
    await super.batch([operation]);
  }

  /** Reads first, and then of the writes to one item the last: what its own batch does. */
  async all(operations: readonly Operation[]): Promise<readonly unknown[]> {
    const results = await Promise.all(operations.map(async (one) => structuredClone(await this.#read(one))));
    const puts = operations.filter((operation) => "value" in operation);
    const last = new Map(puts.map((put) => [JSON.stringify([put.namespace, put.key]), put]));
    for (const put of last.values()) await this.put1(put);
    return results;
  }

  async #read(operation: Operation): Promise<unknown> {
    if ("value" in operation) return undefined;
    if ("namespacePrefix" in operation) {
      const [found = []] = await this.batch([{ ...operation, ...ALL }]);
      return page(ranked(found), operation);
    }
    if ("key" in operation) return (await this.batch([operation]))[0];
    const { limit, offset, maxDepth, matchConditions } = operation;
    const [listed = []] = (await this.batch([{ matchConditions: matchConditions ?? [], ...ALL }])) as [string[][]?];
    const full = new Set((await this.search([], ALL)).map(({ namespace }) => JSON.stringify(namespace)));
    const shown = listed
      .filter((namespace) => full.has(JSON.stringify(namespace)))
      .toSorted((a, b) => compareKeys(skOf(a), skOf(b)))
      .map((namespace) => JSON.stringify(namespace.slice(0, maxDepth)));
    return [...new Set(shown)].map((text): unknown => JSON.parse(text)).slice(offset, offset + limit);
  }
}

const skOf = (namespace: readonly string[]): string => storeKeys.namespace(TENANT, namespace).sk;

const page = (items: readonly SearchItem[], { offset = 0, limit = 10 }: SearchOperation): readonly SearchItem[] =>
  items.slice(offset, offset + limit);

function ranked(items: readonly SearchItem[]): readonly SearchItem[] {
  const place = ({ namespace, key }: SearchItem): readonly [string, string] => [
    skOf(namespace),
    storeKeys.item(TENANT, namespace, key).sk,
  ];
  return items.toSorted((a, b) => {
    const byScore = (b.score ?? -Infinity) - (a.score ?? -Infinity);
    if (a.score !== b.score) return byScore;
    const [x, y] = [place(a), place(b)];
    return compareKeys(x[0], y[0]) || compareKeys(x[1], y[1]);
  });
}

// Few names, so that operations meet each other.
const label = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom("a", "users", "2", "users2") },
  fc.constantFrom("a#", "🙂", "%23"),
);
const namespace = fc.array(label, { minLength: 1, maxLength: 3 });
const key = fc.constantFrom("k", "K", "", "#");
const scalar = fc.constantFrom<unknown>(0, 1, 2.5, "1", "abc", "fade", "", true, null);
const value = fc.record(
  {
    a: scalar,
    b: scalar,
    n: fc.record({ x: fc.constantFrom(1, "bed", true) }),
    t: fc.array(fc.constantFrom("a", "bad", "cafe", "f"), { maxLength: 3 }),
  },
  { requiredKeys: [] },
);
const operator = fc.constantFrom("$eq", "$ne", "$gt", "$gte", "$lt", "$lte");
const condition = fc.oneof(
  scalar,
  fc.dictionary(operator, scalar, { maxKeys: 2 }),
  fc.record({ $in: fc.array(scalar, { maxLength: 3 }) }),
  fc.record({ $nin: fc.array(scalar, { maxLength: 3 }) }),
);
const filter = fc.dictionary(fc.constantFrom("a", "b", "toString"), condition, { maxKeys: 2 });
const limits = { limit: fc.constantFrom(0, 1, 2, 5, 50), offset: fc.constantFrom(0, 0, 1, 3) };
const path = fc.array(fc.oneof(label, fc.constant("*")), { maxLength: 3 });

const put = fc
  .record({
    namespace,
    key,
    value,
    index: fc.constantFrom(
      undefined,
      false as const,
      ["a"],
      ["t[*]", "n.x"],
      ["n", "t[-1]"],
      ["$"],
      ["{t,n.x}"],
      ["*"],
    ),
  })
  .map(({ index, ...rest }) => (index === undefined ? rest : { ...rest, index }));
const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 6, arbitrary: put },
  { weight: 2, arbitrary: fc.record({ namespace, key, value: fc.constant(null) }) },
  { weight: 2, arbitrary: fc.record({ namespace, key }) },
  {
    weight: 4,
    arbitrary: fc
      .record({
        namespacePrefix: fc.array(label, { maxLength: 2 }),
        filter: fc.option(filter, { nil: undefined }),
        query: fc.constantFrom(undefined, undefined, "a", "bead", "zzz"),
        ...limits,
      })
      // LangGraph's own type has no undefined.
      .map((search) => JSON.parse(JSON.stringify(search)) as SearchOperation),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      matchConditions: fc.array(fc.record({ matchType: fc.constantFrom("prefix" as const, "suffix" as const), path }), {
        maxLength: 2,
      }),
      maxDepth: fc.constantFrom(1, 2, 3, 10),
      ...limits,
    }),
  },
);
const step = fc.oneof({ weight: 4, arbitrary: operation.map((one) => [one]) }, fc.array(operation, { maxLength: 6 }));

/** A score that is not there is not the same as none that was asked for, but nobody can tell. */
const plain = (results: readonly unknown[]): unknown =>
  results.map((result): unknown => (result === undefined ? null : JSON.parse(JSON.stringify(result))));

it("agrees with InMemoryStore", { timeout: 120_000 }, async () => {
  let found = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 5, maxLength: 25 }), fc.boolean(), async (steps, isIndexed) => {
      const index = { embeddings: letterEmbeddings() as never, dims: 6, fields: ["a", "t[*]"] };
      const model = new Model(isIndexed ? { index } : {});
      const table = createMemoryTable({ now: () => Date.now(), pageBytes: 700 });
      const store = createStore({ table, blobs: createMemoryBlobs(), tenant: TENANT, ...(isIndexed && { index }) });
      for (const operations of steps) {
        vi.setSystemTime(Date.now() + 1);
        const wanted = plain(await model.all(structuredClone(operations)));
        const results = plain(await store.batch(structuredClone(operations)));
        expect(results).toEqual(wanted);
        found += JSON.stringify(results).length;
      }
    }),
    { numRuns: RUNS },
  );
  // It compared something.
  expect(found).toBeGreaterThan(RUNS * 100);
});
