/** What is no time fails the run that waits for it, and is not taken for the year 1970. */
import { Annotation, START, StateGraph } from "@langchain/langgraph";
import { expect, it } from "vitest";
import type { NodeConfig } from "../../src/graph/context.ts";
import { until } from "../../src/graph/until.ts";
import { DrivenThread, interruptsOf } from "../support/drive-kit.ts";

async function waiting(dueAt: unknown) {
  const graph = new StateGraph(Annotation.Root({ n: Annotation<number>() }))
    .addNode("wait", async (_state, config: NodeConfig) => {
      await until(config, dueAt as Date);
      return {};
    })
    .addEdge(START, "wait");
  return (await new DrivenThread(graph).invoke({ n: 1 })).outcome;
}

it.each([[null], [undefined], ["2031-01-01"], ["1"], [-1], [new Date("nonsense")], [true]])(
  "%s is refused",
  async (dueAt) => {
    const message = "until(): `dueAt` is no time";
    expect(await waiting(dueAt)).toMatchObject({ kind: "failed", error: { message } });
  },
);

it.each([[0], [Date.now() + 60_000], [new Date("2031-01-01")]])(
  "%s is waited for (negative control)",
  async (dueAt) => {
    expect(interruptsOf(await waiting(dueAt))).toHaveLength(1);
  },
);
