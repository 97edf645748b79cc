/** Fifty reviews wait on one thread, and are answered in any order, some of them twice. */
import { Annotation, END, Send, START, StateGraph } from "@langchain/langgraph";
import { expect, it } from "vitest";
import { effect } from "../../src/graph/effect.ts";
import type { NodeConfig } from "../../src/graph/context.ts";
import { review } from "../../src/graph/review.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import { eventually } from "../support/eventually.ts";
import { startService } from "../support/service.ts";

const REVIEWS = 50;
const WAVES = 5;

interface Listed {
  readonly items: readonly { readonly id: string; readonly digest: string; readonly args: { readonly n: number } }[];
}

it("executes every effect once, and re-executes no more than the waves of answers explain", async () => {
  const State = Annotation.Root({
    n: Annotation<number>(),
    done: Annotation<number[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
  });
  const paid: number[] = [];
  let executions = 0;
  const pay = async ({ n }: typeof State.State, config: NodeConfig) => {
    executions++;
    await review(config, { title: `Pay ${n}`, action: "pay", args: { n } });
    await effect(config, { name: "pay", policy: "unsafe", args: { n } }, async () => paid.push(n));
    return { done: [n] };
  };
  const graph = new StateGraph(State)
    .addNode("pay", pay)
    .addConditionalEdges(START, () => Array.from({ length: REVIEWS }, (_, n) => new Send("pay", { n })))
    .addEdge("pay", END)
    .compile();
  await using service = await startService({ graphs: createRegistry([registeredGraph("many", graph)], []) });
  const client = service.client("acme");
  const { thread_id: thread } = await client.threads.create();
  await client.runs.wait(thread, "many", { input: {} });
  const { items } = (await (await service.app.call("GET", "/v1/reviews?limit=100")).json()) as Listed;
  expect(items.map(({ args }) => args.n).toSorted((a, b) => a - b)).toEqual([...Array(REVIEWS).keys()]);

  // An order that is none: 7 and 50 have no divisor in common.
  const shuffled = items.map((_, i) => items[(i * 7) % REVIEWS]).filter((item) => item !== undefined);
  const statuses: number[] = [];
  const decide = async ({ id, digest }: Listed["items"][number]): Promise<void> => {
    const json = { type: "approve", digest };
    statuses.push((await service.app.call("POST", `/v1/reviews/${id}/decisions`, { json })).status);
  };
  for (let wave = 0; wave < WAVES; wave++) {
    const some = shuffled.slice((wave * REVIEWS) / WAVES, ((wave + 1) * REVIEWS) / WAVES);
    await Promise.all([...some, ...some.slice(0, 3)].map(decide));
  }
  await eventually(async () => {
    const { status } = await client.threads.get(thread);
    const left = (await (await service.app.call("GET", "/v1/reviews?limit=1")).json()) as Listed;
    return status === "idle" && left.items.length === 0;
  }, "every decision to be carried on");

  const { values } = await client.threads.getState<{ readonly done: readonly number[] }>(thread);
  const all = [...Array(REVIEWS).keys()];
  expect(values.done.toSorted((a, b) => a - b)).toEqual(all);
  expect(paid.toSorted((a, b) => a - b)).toEqual(all);
  expect(statuses.filter((status) => status === 200)).toHaveLength(REVIEWS);
  expect(statuses.filter((status) => status === 409)).toHaveLength(WAVES * 3);
  const runs = await client.runs.list(thread, { limit: 1000 });
  const continuations = runs.length - 1;
  // Each partial resume re-runs every sibling that still waits, and nothing that is done.
  expect(executions).toBeLessThanOrEqual(REVIEWS * (continuations + 1));
  expect(executions).toBeGreaterThanOrEqual(REVIEWS * 2);
  expect(continuations).toBeLessThanOrEqual(REVIEWS);
  expect(runs.filter(({ status }) => status === "error")).toEqual([]);
}, 120_000);
