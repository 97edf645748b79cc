/** Effects in functional tasks, whose node is tried again. */
import { START, StateGraph, getConfig, task } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { effect } from "../../src/graph/effect.ts";
import { DrivenThread, backoffOf } from "../support/drive-kit.ts";
import { State, fixed } from "../support/flaky-nodes.ts";

/** A node that pays in a task, then fails so often, and is tried again after so long. */
function payingThenFailing(failures: number, afterMs: number) {
  const paid: string[] = [];
  let executed = 0;
  let left = failures;
  const pay = task("pay", async (amount: number) => {
    executed++;
    return effect(getConfig(), { name: "pay", policy: "idempotent", args: { amount } }, async (token) => {
      paid.push(token);
      return "receipt";
    });
  });
  const graph = new StateGraph(State)
    .addNode(
      "x",
      async () => {
        const receipts = await Promise.all([pay(1), pay(2)]);
        if (left-- > 0) throw new Error("after the payments");
        return { log: receipts };
      },
      { retryPolicy: fixed(afterMs, 5) },
    )
    .addEdge(START, "x");
  return { thread: new DrivenThread(graph), paid, executed: () => executed };
}

describe("an effect in a functional task", () => {
  it("is performed once, and its task executed once, however often the node around it is tried again", async () => {
    const { thread, paid, executed } = payingThenFailing(2, 100);
    expect((await thread.invoke({})).outcome).toEqual({ kind: "done" });
    expect(paid).toHaveLength(2);
    expect(new Set(paid).size).toBe(2);
    expect(executed()).toBe(2);
  });

  it("is performed once also when the node is tried again in another delivery", async () => {
    const { thread, paid, executed } = payingThenFailing(2, 1500);
    const first = await thread.invoke({});
    const { retries } = backoffOf(first.outcome);
    const last = await thread.deliver({ payload: { input: {} }, run: first.run, retries });
    expect(last.outcome).toEqual({ kind: "done" });
    expect(new Set(paid).size).toBe(2);
    expect(paid).toHaveLength(2);
    expect(executed()).toBe(2);
  });
});
