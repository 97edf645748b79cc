/** Fifty reviews wait on one thread, and are answered in any order, some of them twice. */
import { Annotation, END, Send, START, StateGraph } from "@langchain/langgraph";
import { expect, it } from "vitest";
import { effect } from "../../src/graph/effect.ts";
import type { NodeConfig } from "../../src/graph/context.ts";
import { review } from "../../src/graph/review.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import { eventually } from "../support/eventually.ts";
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

/** Asks and pays as often as it says, side by side, and counts both. */
function manyPayments() {
  const counted = { paid: [] as number[], executions: 0 };
  const pay = async ({ n }: typeof State.State, config: NodeConfig) => {
    counted.executions++;
    await review(config, { title: `Pay ${n}`, action: "pay", args: { n } });
    await effect(config, { name: "pay", policy: "unsafe", args: { n } }, async () => counted.paid.push(n));
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
    const decide = async ({ id, digest }: Listed["items"][number]) =>
      (await app.call("POST", `/v1/reviews/${id}/decisions`, { json: { type: "approve", digest } })).status;
    statuses.push(...(await Promise.all([...some, ...some.slice(0, 3)].map(decide))));
  }
  return statuses;
}

it("executes every effect once, and re-executes no more than the waves of answers explain", async () => {
  const { graph, counted } = manyPayments();
  await using service = await startService({ graphs: createRegistry([registeredGraph("many", graph)], []) });
  const client = service.client("acme");
  const { thread_id: thread } = await client.threads.create();
  await client.runs.wait(thread, "many", { input: {} });
  const items = await listed(service);
  expect(inOrder(items.map(({ args }) => args.n))).toEqual(ALL);

  const statuses = await decideAll(service, items);
  expect(statuses.filter((status) => status === 200)).toHaveLength(REVIEWS);
  expect(statuses.filter((status) => status === 409)).toHaveLength(WAVES * 3);
  const isThrough = async (): Promise<boolean> =>
    (await client.threads.get(thread)).status === "idle" && (await listed(service)).length === 0;
  await eventually(isThrough, "every decision to be carried on");

  const { values } = await client.threads.getState<{ readonly done: readonly number[] }>(thread);
  expect(inOrder(values.done)).toEqual(ALL);
  expect(inOrder(counted.paid)).toEqual(ALL);
  const runs = await client.runs.list(thread, { limit: 1000 });
  expect(runs.filter(({ status }) => status === "error")).toEqual([]);
  const continuations = runs.length - 1;
  // Each partial resume re-runs every sibling that still waits, and nothing that is done.
  expect(counted.executions).toBeLessThanOrEqual(REVIEWS * (continuations + 1));
  expect(counted.executions).toBeGreaterThanOrEqual(REVIEWS * 2);
  expect(continuations).toBeLessThanOrEqual(REVIEWS);
}, 120_000);
