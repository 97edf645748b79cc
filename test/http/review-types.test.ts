/** An edit has the type of its schema, and what only zod refuses is asked again instead of failing the run. */
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import { expect, expectTypeOf, it } from "vitest";
import { z } from "zod";
import type { JsonObject } from "../../src/core/json.ts";
import type { NodeConfig } from "../../src/graph/context.ts";
import { review } from "../../src/graph/review.ts";
import type { ReviewAnswer } from "../../src/graph/review.ts";
import type { ArgsOf } from "../../src/graph/schema.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import { startService } from "../support/service.ts";
import type { Service } from "../support/service.ts";

const Even = z.object({
  amount: z.number().refine((n) => n % 2 === 0, "must be even"),
  note: z.string().default("none"),
});
const State = Annotation.Root({ paid: Annotation<z.infer<typeof Even>>() });

const graph = new StateGraph(State)
  .addNode("ask", async (_: typeof State.State, config: NodeConfig) => {
    const answer = await review(config, { title: "Pay", action: "pay", args: { amount: 2 }, argsSchema: Even });
    if (answer.type !== "edit") return {};
    expectTypeOf(answer.args).toEqualTypeOf<{ amount: number; note: string }>();
    return { paid: answer.args };
  })
  .addEdge(START, "ask")
  .addEdge("ask", END)
  .compile();

interface Review {
  readonly id: string;
  readonly thread_id: string;
  readonly digest: string;
  readonly state: string;
  readonly value: { readonly problem?: string };
  readonly decision: { readonly continuation_run_id: string } | null;
}

async function open({ app }: Service): Promise<readonly Review[]> {
  return ((await (await app.call("GET", "/v1/reviews")).json()) as { readonly items: readonly Review[] }).items;
}

it("an edit that only zod refuses is asked again with the reason, and the next one is what zod makes of it", async () => {
  await using service = await startService({ graphs: createRegistry([registeredGraph("even", graph)], []) });
  const client = service.client("acme");
  const { thread_id: thread } = await client.threads.create();
  await client.runs.wait(thread, "even", { input: {} });
  const edit = async (amount: number): Promise<Review> => {
    const [review] = await open(service);
    const json = { type: "edit", args: { amount }, comment: "c", digest: review?.digest };
    const response = await service.app.call("POST", `/v1/reviews/${review?.id}/decisions`, { json });
    expect(response.status).toBe(200);
    const decided = (await response.json()) as Review;
    await client.runs.join(thread, decided.decision?.continuation_run_id ?? "");
    return decided;
  };
  const first = await edit(3);
  const [again] = await open(service);
  expect(again?.id).not.toBe(first.id);
  expect(again?.value.problem).toContain("must be even");
  const old = (await (await service.app.call("GET", `/v1/reviews/${first.id}`)).json()) as Review;
  expect(old.state).toBe("superseded");
  const json = { type: "approve", digest: old.digest };
  const late = await service.app.call("POST", `/v1/reviews/${old.id}/decisions`, { json });
  expect([late.status, await late.json()]).toMatchObject([410, { state: "superseded" }]);
  await edit(4);
  expect((await client.threads.getState(thread)).values).toMatchObject({ paid: { amount: 4, note: "none" } });
});

it("a JSON Schema that is written as a literal is a type as well", () => {
  const schema = {
    type: "object",
    properties: {
      amount: { type: "number" },
      kind: { enum: ["cash", "card"] },
      lines: { type: "array", items: { type: "string" } },
    },
    required: ["amount"],
  } as const;
  type Args = ArgsOf<typeof schema>;
  expectTypeOf<Args["amount"]>().toEqualTypeOf<number>();
  expectTypeOf<Args["kind"]>().toEqualTypeOf<"cash" | "card" | undefined>();
  expectTypeOf<Args["lines"]>().toEqualTypeOf<readonly string[] | undefined>();
  expectTypeOf<ArgsOf<object>>().toEqualTypeOf<JsonObject>();
  expectTypeOf<ReviewAnswer["type"]>().toEqualTypeOf<"approve" | "edit" | "reject" | "response">();
});
