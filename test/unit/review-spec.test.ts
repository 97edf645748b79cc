/** What a graph that nobody type-checked says wrongly about a review fails its run, and leaves the review to nobody. */
import { Annotation, START, StateGraph } from "@langchain/langgraph";
import { expect, it } from "vitest";
import type { NodeConfig } from "../../src/graph/context.ts";
import { review } from "../../src/graph/review.ts";
import type { ReviewSpec } from "../../src/graph/review.ts";
import { DrivenThread, interruptsOf } from "../support/drive-kit.ts";

async function asking(mistake: object) {
  const spec = { title: "Pay?", action: "pay", args: {}, ...mistake } as ReviewSpec;
  const graph = new StateGraph(Annotation.Root({ n: Annotation<number>() }))
    .addNode("ask", async (_state, config: NodeConfig) => {
      await review(config, spec);
      return {};
    })
    .addEdge(START, "ask");
  return (await new DrivenThread(graph).invoke({ n: 1 })).outcome;
}

it.each([
  [{ groups: "payments" }, /groups. is a list/],
  [{ groups: [5] }, /groups. is a list/],
  [{ groups: [""] }, /groups. is a list/],
  [{ groups: [undefined] }, /groups. is a list/],
  [{ groups: null }, /groups. is a list/],
  [{ tags: "tents" }, /tags. is a list/],
  [{ fourEyes: "yes" }, /fourEyes. is true or false/],
  [{ fourEyes: null }, /fourEyes. is true or false/],
  [{ risk: "tiny" }, /risk. is low, medium or high/],
  [{ quorum: "2" }, /quorum is a whole number/],
  [{ dueInMs: 1000, onExpiry: "aprove" }, /onExpiry. is approve or reject/],
  [{ escalateAfterMs: 1000, escalateTo: "leads" }, /escalateTo. is a list/],
])("%j is refused", async (mistake, reason) => {
  expect(await asking(mistake)).toMatchObject({
    kind: "failed",
    error: { message: expect.stringMatching(reason) as string },
  });
});

it("what is right is asked (negative control)", async () => {
  const spec = { groups: ["payments"], tags: [], fourEyes: true, risk: "low", quorum: 2, dueInMs: 1000 };
  expect(interruptsOf(await asking({ ...spec, onExpiry: "reject" }))).toHaveLength(1);
});
