/** What a graph that nobody type-checked says wrongly about a review fails its run, and leaves the review to nobody. */
import { Annotation, START, StateGraph } from "@langchain/langgraph";
import { expect, it } from "vitest";
import { z } from "zod";
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
  [{ title: "" }, /title. is empty/],
  [{ title: " " }, /title. is empty/],
  [{ title: undefined }, /title. is no text/],
  [{ title: "x".repeat(1_001) }, /title. is longer than 1000/],
  [{ action: "" }, /action. is empty/],
  [{ action: 5 }, /action. is no text/],
  [{ action: "x".repeat(257) }, /action. is longer than 256/],
  [{ description: { text: "x" } }, /description. is no text/],
  [{ description: "x".repeat(64_001) }, /description. is longer than 64000/],
  [{ args: "x" }, /args must be an object/],
  [{ argsSchema: "x" }, /argsSchema.: it is neither/],
  [{ argsSchema: null }, /argsSchema.: it is neither/],
  [{ argsSchema: [] }, /argsSchema.: it is no object/],
  [{ argsSchema: { type: "objct" } }, /argsSchema.: .*objct/],
  [{ argsSchema: { type: "object", properties: { a: { type: "nmber" } } } }, /argsSchema.: .*checked.*nmber/],
  [{ argsSchema: { type: "object", properties: { a: { type: "string", pattern: "(" } } } }, /argsSchema.: .*checked/],
  [{ argsSchema: { type: "array" } }, /argsSchema.: arguments are an object, and no "array"/],
  [{ argsSchema: z.string() }, /argsSchema.: arguments are an object, and no "string"/],
  [{ groups: "payments" }, /groups. is a list/],
  [{ groups: [5] }, /groups. is a list/],
  [{ groups: [""] }, /groups. is a list/],
  [{ groups: [undefined] }, /groups. is a list/],
  [{ groups: [] }, /groups. is empty/],
  [{ group: ["leads"] }, /review\(\): there is no .group., only title,/],
  [{ four_eyes: true }, /there is no .four_eyes/],
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
  const shown = { title: "x".repeat(1_000), description: "", argsSchema: { type: "object", properties: {} } };
  expect(interruptsOf(await asking(shown))).toHaveLength(1);
  const spec = { groups: ["payments"], tags: [], fourEyes: true, risk: "low", quorum: 2, dueInMs: 1000 };
  expect(interruptsOf(await asking({ ...spec, onExpiry: "reject" }))).toHaveLength(1);
});
