/** What a person approved is what is paid, end to end: a review, then an effect, of a graph that may change its mind. */
import { Annotation, START, StateGraph } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import type { NodeConfig } from "../../src/graph/context.ts";
import { effect } from "../../src/graph/effect.ts";
import { review } from "../../src/graph/review.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import { serviceEngines } from "../support/engines.ts";
import type { Engine } from "../support/engines.ts";
import { LONG_MS, eventually } from "../support/eventually.ts";
import { startService } from "../support/service.ts";

interface Shown {
  readonly id: string;
  readonly digest: string;
  readonly state: string;
  readonly args: { readonly amount: number };
}

const State = Annotation.Root({ receipt: Annotation<string>() });

/** A graph that asks for what a model says now, and pays what was answered. */
async function desk(engine: Engine) {
  const world = { amount: 100, paid: [] as number[] };
  const pay = async (_: typeof State.State, config: NodeConfig) => {
    const args = { amount: world.amount };
    const answer = await review(config, { title: "Pay", action: "pay", args });
    if (answer.type === "reject") return { receipt: "nothing" };
    const { amount } = answer.type === "edit" ? (answer.args as typeof args) : args;
    const receipt = await effect<string>(config, { name: "pay", policy: "unsafe", args: { amount } }, async () => {
      world.paid.push(amount);
      return `paid ${amount}`;
    });
    return { receipt };
  };
  const graph = new StateGraph(State).addNode("pay", pay).addEdge(START, "pay").compile();
  await using opening = new AsyncDisposableStack();
  const { table } = opening.use(await engine.open());
  const service = opening.use(
    await startService({ graphs: createRegistry([registeredGraph("pays", graph)], []), table }),
  );
  const client = service.client("acme");
  const { thread_id: thread } = await client.threads.create();
  await client.runs.wait(thread, "pays", { input: {} });
  const call = service.app.call.bind(service.app);
  const kept = opening.move();
  return {
    world,
    /** The review that waits, once it asks for so much. */
    async waiting(amount: number): Promise<Shown> {
      return eventually(
        async () => {
          const { items } = (await (await call("GET", "/v1/reviews")).json()) as { readonly items: readonly Shown[] };
          return items.find(({ args }) => args.amount === amount);
        },
        `a review of ${amount}`,
        LONG_MS,
      );
    },
    decide: ({ id }: Pick<Shown, "id">, json: object) => call("POST", `/v1/reviews/${id}/decisions`, { json }),
    stateOf: async ({ id }: Shown) => ((await (await call("GET", `/v1/reviews/${id}`)).json()) as Shown).state,
    receipt: () =>
      eventually(
        async () =>
          ((await client.threads.getState(thread)).values as { readonly receipt?: string }).receipt ?? undefined,
        "the receipt",
        LONG_MS,
      ),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

describe.each(serviceEngines())("on $name, an approval", { timeout: 120_000 }, (engine) => {
  it("of 100 pays 100, once, however often it is given", async () => {
    await using at = await desk(engine);
    const shown = await at.waiting(100);
    const approve = () => at.decide(shown, { type: "approve", digest: shown.digest });
    const statuses = (await Promise.all([approve(), approve(), approve()])).map(({ status }) => status);
    expect(statuses.toSorted((a, b) => a - b)).toEqual([200, 409, 409]);
    expect([await at.receipt(), at.world.paid]).toEqual(["paid 100", [100]]);
  });

  it("of 100 never pays 101: it is asked again, and what is shown then is paid once that is approved", async () => {
    await using at = await desk(engine);
    const shown = await at.waiting(100);
    at.world.amount = 101;
    expect((await at.decide(shown, { type: "approve", digest: shown.digest })).status).toBe(200);
    const asked = await at.waiting(101);
    expect([asked.digest === shown.digest, at.world.paid]).toEqual([false, []]);
    expect((await at.decide(asked, { type: "approve", digest: asked.digest })).status).toBe(200);
    expect([await at.receipt(), at.world.paid]).toEqual(["paid 101", [101]]);
  });

  it("on a stale screen decides nothing: neither the old review, nor, by the old digest, the new one", async () => {
    await using at = await desk(engine);
    const stale = await at.waiting(100);
    at.world.amount = 101;
    expect((await at.decide(stale, { type: "approve", digest: stale.digest })).status).toBe(200);
    const asked = await at.waiting(101);
    const answers = [
      await at.decide(stale, { type: "approve", digest: stale.digest }),
      await at.decide(stale, { type: "edit", args: { amount: 1 }, comment: "less", digest: stale.digest }),
      await at.decide(asked, { type: "approve", digest: stale.digest }),
      await at.decide(asked, { type: "approve" }),
    ];
    expect(answers.map(({ status }) => status)).toEqual([
      expect.toBeOneOf([409, 410]),
      expect.toBeOneOf([409, 410]),
      412,
      428,
    ]);
    expect([await at.stateOf(asked), at.world.paid]).toEqual(["pending", []]);
    const less = { type: "edit", args: { amount: 7 }, comment: "less", digest: asked.digest };
    expect((await at.decide(asked, less)).status).toBe(200);
    expect([await at.receipt(), at.world.paid]).toEqual(["paid 7", [7]]);
  });
});
