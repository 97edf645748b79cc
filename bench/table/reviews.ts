/**
 * A long queue of open reviews: how long a page of it takes with each kind of filter, how long a decision takes, and what it
 * writes. On SQLite in a temporary folder, in this process, without HTTP.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../src/core/clock.ts";
import { reviewDigest } from "../../src/core/hold.ts";
import type { Hold, ReviewRequest } from "../../src/core/hold.ts";
import { runId, systemIds } from "../../src/core/ids.ts";
import { ended, marked, pendingRun } from "../../src/core/run.ts";
import type { ReviewFilter } from "../../src/core/review-filter.ts";
import { createRegistry } from "../../src/langgraph/registry.ts";
import { createSqliteTable } from "../../src/local/sqlite-table.ts";
import { createCountingTable } from "../support/counting-table.ts";
import type { CountingTable } from "../support/counting-table.ts";
import { report } from "../support/figures.ts";
import type { Figure } from "../support/figures.ts";
import { readOptions } from "../support/options.ts";
import { createProgress } from "../support/progress.ts";
import { median } from "../support/stats.ts";
import { newThread, openApi, principal, unitsOf } from "./service.ts";
import type { Api } from "./service.ts";
import { holdOf } from "../../test/support/hold.ts";

const LINE = {
  name: "reviews",
  about: "A page of 20 of a long queue of open reviews, by filter; and a decision: its time and its write units.",
  options: {
    open: { fallback: 100_000, says: "reviews that are open" },
    pages: { fallback: 200, says: "pages that are read with each filter" },
    decisions: { fallback: 200, says: "reviews that are decided" },
  },
} as const;
const AT_ONCE = 500;
const PAGE = 20;
const LIST_MS = 15;
const DECISION_MS = 10;

const RISKS = ["low", "medium", "high"] as const;
/** What the n-th review is about: filters are met by a third, a tenth, a hundredth and a thousandth of all. */
const requestOf = (n: number): ReviewRequest => ({
  number: 0,
  title: `Refund ${n}`,
  action: `action-${n % 10}`,
  args: { order: `A-${n}`, amount: n },
  risk: RISKS[n % 3] ?? "low",
  groups: [`group-${n % 100}`],
  tags: [`tag-${n % 1000}`],
});

const FILTERS: readonly (readonly [what: string, filter: ReviewFilter])[] = [
  ["without a filter", {}],
  ["one third (risk)", { risk: "high" }],
  ["a tenth (action)", { action: "action-3" }],
  ["a hundredth (group)", { group: "group-42" }],
  ["a thousandth (tag)", { tag: "tag-421" }],
  ["nobody's, of one group", { unassigned: true, group: "group-7" }],
  ["none at all", { graph: "nowhere" }],
];

interface Bench extends Api {
  /** The same table, looked at: what is timed does not go through it. */
  readonly counted: Api & { readonly table: CountingTable };
}

function openReview(threadId: Hold["threadId"], n: number, raisedAt: number): Hold {
  const request = requestOf(n);
  const digest = reviewDigest(request);
  return holdOf({
    tenant: principal.tenant,
    threadId,
    interruptId: `i${n}`,
    digest,
    runId: runId(systemIds.uuid()),
    graphId: "desk",
    assistantId: "desk",
    node: "propose",
    origin: "review",
    value: { title: request.title },
    request,
    raisedAt,
  });
}

async function fill({ deps }: Bench, count: number): Promise<void> {
  const progress = createProgress("reviews", count);
  const from = deps.table.now() - count;
  for (let n = 0; n < count; n += AT_ONCE) {
    const some = Array.from({ length: Math.min(AT_ONCE, count - n) }, (_, i) => n + i);
    await Promise.all(
      some.map((i) => deps.holds.put(openReview(systemIds.uuid() as Hold["threadId"], i, from + i), "absent")),
    );
    progress(n);
  }
}

/** A review of a run that has ended as held, on a thread of its own. */
async function raise({ deps, runtime }: Bench, n: number): Promise<Hold> {
  const threadId = await newThread(runtime);
  const hold = openReview(threadId, n, deps.table.now());
  const { tenant, runId: id, root, graphId, assistantId, pool, generation } = hold;
  const pending = pendingRun({
    tenant,
    threadId,
    runId: id,
    root,
    graphId,
    assistantId,
    pool,
    generation,
    kind: "input",
    priority: 5,
    startedBy: "somebody",
    stateless: false,
    settings: { streamModes: [], streamSubgraphs: false, streamResumable: false, multitaskStrategy: "enqueue" },
    payload: { input: {} },
    createdAt: deps.table.now(),
  });
  const running = marked(pending, { fence: 1, firstEvent: 0, graphVersion: "1" }, deps.table.now());
  const end = {
    at: deps.table.now(),
    holds: [hold.holdId],
    waiting: { reviews: 1, plain: 0 },
    interrupts: [],
  };
  await deps.runs.create(ended(running, 1, { status: "held", end }));
  await deps.holds.put(hold, "absent");
  return hold;
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return performance.now() - began;
}

async function pages({ runtime }: Bench, filter: ReviewFilter, count: number): Promise<readonly number[]> {
  const times: number[] = [];
  let after: string | undefined;
  for (let n = 0; n < count; n++) {
    const from = after === undefined ? {} : { after };
    times.push(
      await timed(async () => {
        ({ next: after } = await runtime.reviews.list(principal, { state: "open", filter, limit: PAGE, ...from }));
      }),
    );
  }
  return times;
}

async function decide({ runtime }: Api, { threadId, holdId, digest, request }: Hold): Promise<void> {
  const who = { ...principal, groups: request?.groups ?? [] };
  const answer = { answer: { type: "approve" }, comment: "looks right", digest } as const;
  await runtime.reviews.decide(who, `${threadId}.${holdId}`, answer);
}

async function decisions(bench: Bench, count: number): Promise<{ readonly ms: number; readonly units: number }> {
  const times: number[] = [];
  for (let n = 0; n < count; n++) {
    const hold = await raise(bench, n);
    times.push(await timed(() => decide(bench, hold)));
  }
  const hold = await raise(bench, count);
  const { table } = bench.counted;
  // Whatever was there before is read, so that the rows that move are known to the table that counts.
  await bench.counted.deps.holds.update(hold, hold.holdId, (now) => ({ ...now }));
  await bench.counted.deps.threads.update(hold, (now) => ({ ...now }));
  const before = table.calls.length;
  await decide(bench.counted, hold);
  return { ms: median(times), units: unitsOf(table.calls.slice(before)) };
}

/** Prints p50 of a page by filter, and of a decision with its write units. @throws Error on an unknown option */
export async function main(argv: readonly string[]): Promise<number> {
  const options = readOptions(LINE, argv);
  if (!options) return 0;
  const dir = await mkdtemp(join(tmpdir(), "holdpoint-bench-"));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rm(dir, { recursive: true, force: true }));
  const path = join(dir, "table.db");
  const sqlite = stack.use(await createSqliteTable({ path, clock: systemClock, ids: systemIds }));
  const table = createCountingTable(sqlite, { now: () => performance.now() });
  const graphs = createRegistry([], []);
  const counted = { ...openApi({ table, graphs, clock: systemClock }), table };
  const bench: Bench = { ...openApi({ table: sqlite, graphs, clock: systemClock }), counted };
  await fill(bench, options.open);
  const figures: Figure[] = [];
  for (const [what, filter] of FILTERS) {
    const value = median(await pages(bench, filter, options.pages));
    figures.push({ what: `a page, ${what}, p50`, value, unit: "ms", bar: { atMost: LIST_MS } });
  }
  const counting = await timed(() => bench.runtime.reviews.count(principal, {}));
  figures.push({ what: "counting, at most 20,000", value: counting, unit: "ms" });
  const writes: number[] = [];
  for (let n = 0; n < options.decisions; n++)
    writes.push(await timed(() => sqlite.put({ pk: "bench", sk: `${n}`, attributes: { n } }, "absent")));
  figures.push({ what: "one write of the table alone, p50", value: median(writes), unit: "ms" });
  const { ms, units } = await decisions(bench, options.decisions);
  figures.push({ what: "a decision, p50", value: ms, unit: "ms", bar: { atMost: DECISION_MS }, noisy: true });
  figures.push({ what: "a decision, write units", value: units, unit: "" });
  return report(figures);
}
