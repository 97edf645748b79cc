/** Fifty reviews wait on one thread, and are answered in any order, some of them twice. */
import { Annotation, END, Send, START, StateGraph } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { effect } from "../../src/graph/effect.ts";
import type { NodeConfig } from "../../src/graph/context.ts";
import type { Run } from "../../src/core/run.ts";
import { review } from "../../src/graph/review.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import { tenantId, threadId } from "../../src/core/ids.ts";
import { serviceEngines } from "../support/engines.ts";
import { patiently } from "../crash/patient.ts";
import { startService } from "../support/service.ts";
import type { Service } from "../support/service.ts";

const REVIEWS = 50;
const WAVES = 5;

interface Listed {
  readonly items: readonly { readonly id: string; readonly digest: string; readonly args: { readonly n: number } }[];
}

const ALL: readonly number[] = [...Array(REVIEWS).keys()];
const inOrder = (numbers: readonly number[]): readonly number[] => numbers.toSorted((a, b) => a - b);

const State = Annotation.Root({
  n: Annotation<number>(),
  done: Annotation<number[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
});

/** What is done in which run. */
interface Counted {
  readonly run: string;
  readonly n: number;
}

/** Asks and pays as often as it says, side by side, and counts both. */
function manyPayments() {
  const counted = { paid: [] as Counted[], executed: [] as Counted[] };
  const pay = async ({ n }: typeof State.State, config: NodeConfig) => {
    const one = { run: String(config.metadata?.["run_id"]), n };
    counted.executed.push(one);
    await review(config, { title: `Pay ${n}`, action: "pay", args: { n } });
    await effect(config, { name: "pay", policy: "unsafe", args: { n } }, async () => counted.paid.push(one));
    return { done: [n] };
  };
  const graph = new StateGraph(State)
    .addNode("pay", pay)
    .addConditionalEdges(START, () => ALL.map((n) => new Send("pay", { n })))
    .addEdge("pay", END)
    .compile();
  return { graph, counted };
}

async function listed({ app }: Service): Promise<Listed["items"]> {
  return ((await (await app.call("GET", "/v1/reviews?limit=100")).json()) as Listed).items;
}

/** Decides all of them in waves, in an order that is none, the first three of each wave twice. */
async function decideAll({ app }: Service, items: Listed["items"]): Promise<readonly number[]> {
  // 7 and 50 have no divisor in common.
  const shuffled = items.flatMap((_, i) => items[(i * 7) % REVIEWS] ?? []);
  const statuses: number[] = [];
  for (let wave = 0; wave < WAVES; wave++) {
    const some = shuffled.slice((wave * REVIEWS) / WAVES, ((wave + 1) * REVIEWS) / WAVES);
    const ask = async ({ id, digest }: Listed["items"][number]) =>
      (await app.call("POST", `/v1/reviews/${id}/decisions`, { json: { type: "approve", digest } })).status;
    // 503: the continuation of others asks this one again just now.
    const decide = (one: Listed["items"][number]) =>
      patiently(`an answer to ${one.id}`, async () => {
        const status = await ask(one);
        return status === 503 ? undefined : status;
      });
    statuses.push(...(await Promise.all([...some, ...some.slice(0, 3)].map(decide))));
  }
  return statuses;
}

/** What a run executed, of what was not done before it: all of that once in each delivery, or nothing where none was left. */
interface Executed {
  readonly deliveries: number;
  readonly waited: readonly number[];
  readonly numbers: readonly number[];
}

function executedBy(
  runs: readonly Run[],
  counted: { readonly [K in "paid" | "executed"]: readonly Counted[] },
): readonly Executed[] {
  let waited = ALL;
  return runs.map(({ runId, deliveries }) => {
    const of = (all: readonly Counted[]): readonly number[] => all.flatMap(({ run, n }) => (run === runId ? [n] : []));
    const before = waited;
    waited = waited.filter((n) => !of(counted.paid).includes(n));
    return { deliveries, waited: before, numbers: of(counted.executed) };
  });
}

describe.each(serviceEngines())("fifty reviews on one thread, on $name", (engine) => {
  it("have every effect once; a continuation executes again what still waits, once, and nothing that is done", async () => {
    const { graph, counted } = manyPayments();
    await using opened = await engine.open();
    const graphs = createRegistry([registeredGraph("many", graph)], []);
    await using service = await startService({ graphs, table: opened.table });
    const client = service.client("acme");
    const { thread_id: thread } = await client.threads.create();
    await client.runs.wait(thread, "many", { input: {} });
    const items = await listed(service);
    expect(inOrder(items.map(({ args }) => args.n))).toEqual(ALL);

    const statuses = Object.groupBy(await decideAll(service, items), (status) => status);
    expect([statuses[200]?.length, statuses[409]?.length]).toEqual([REVIEWS, WAVES * 3]);
    const isThrough = async (): Promise<boolean> =>
      (await client.threads.get(thread)).status === "idle" && (await listed(service)).length === 0;
    await patiently("every decision to be carried on", async () => (await isThrough()) || undefined);

    const { values } = await client.threads.getState<{ readonly done: readonly number[] }>(thread);
    expect(inOrder(values.done)).toEqual(ALL);
    expect(inOrder(counted.paid.map(({ n }) => n))).toEqual(ALL);

    const all = await service.deps.runs.list({ tenant: tenantId("acme"), threadId: threadId(thread) }, 0);
    // The others were made for decisions that came to be carried on by one of these; no header has ever named them.
    const runs = all.filter(({ startedAt }) => startedAt).toSorted((a, b) => (a.startedAt ?? 0) - (b.startedAt ?? 0));
    expect(runs.filter(({ status }) => status !== "success" && status !== "held")).toEqual([]);
    expect(runs.length - 1).toBeLessThanOrEqual(REVIEWS);
    const executed = executedBy(runs, counted);
    for (const one of executed) {
      if (one.numbers.length > 0) expect([...new Set(inOrder(one.numbers))]).toEqual(one.waited);
      expect(one.numbers.length).toBeLessThanOrEqual(one.waited.length * one.deliveries);
    }
    expect(counted.executed.length).toBeGreaterThanOrEqual(REVIEWS * 2);
  }, 240_000);
});
