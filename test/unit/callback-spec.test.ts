/** What nobody could answer fails the run that asks for it, at the call. */
import { Annotation, START, StateGraph } from "@langchain/langgraph";
import { expect, it } from "vitest";
import type { NodeConfig } from "../../src/graph/context.ts";
import { callback } from "../../src/graph/callback.ts";
import { DrivenThread, interruptsOf } from "../support/drive-kit.ts";

async function asking(spec: object) {
  const graph = new StateGraph(Annotation.Root({ n: Annotation<number>() }))
    .addNode("ask", async (_state, config: NodeConfig) => {
      await callback(config, { timeoutMs: 1000, ...spec });
      return {};
    })
    .addEdge(START, "ask");
  return (await new DrivenThread(graph).invoke({ n: 1 })).outcome;
}

it.each([
  [{ timeoutMs: 0 }, /timeoutMs. is no length of time/],
  [{ timeout: 1000 }, /callback\(\): there is no .timeout., only timeoutMs,/],
  [{ schema: { type: "nmber" } }, /schema.: no answer can be checked against it: .*nmber/],
  [{ schema: { type: "string", pattern: "(" } }, /schema.: no answer can be checked/],
])("%j is refused", async (mistake, reason) => {
  expect(await asking(mistake)).toMatchObject({
    kind: "failed",
    error: { message: expect.stringMatching(reason) as string },
  });
});

it("what is right is waited for (negative control)", async () => {
  expect(interruptsOf(await asking({ schema: { type: "number" } }))).toHaveLength(1);
});
