/** A task that is broken off while it writes: what it has written by then is no result (I3). */
import { Annotation, MemorySaver, START, StateGraph } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { DrivenThread, valuesOf } from "../support/drive-kit.ts";

const State = Annotation.Root({
  log: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }),
});

/** Two nodes side by side. One fails the first time, when the other has written its state and not yet where it leads. */
function brokenOff() {
  let fails = true;
  const { promise: isWritten, resolve: written } = Promise.withResolvers<void>();
  const { promise: never } = Promise.withResolvers<void>();
  const graph = () =>
    new StateGraph(State)
      .addNode("look", () => ({ log: ["look"] }))
      .addNode("fail", async () => {
        if (!fails) return { log: ["fail"] };
        await isWritten;
        throw new Error("the other one fails");
      })
      .addNode("next", () => ({ log: ["next"] }))
      .addEdge(START, "look")
      .addEdge(START, "fail")
      .addConditionalEdges("look", async () => {
        written();
        if (fails) await never;
        return "next";
      });
  return { graph, mend: () => void (fails = false) };
}

describe("a task that is broken off because another fails", () => {
  it("counts as finished for LangGraph, which then ends without what it leads to", async () => {
    const { graph, mend } = brokenOff();
    const compiled = graph().compile({ checkpointer: new MemorySaver() });
    const config = { configurable: { thread_id: "t" } };
    await expect(compiled.invoke({}, config)).rejects.toThrow("the other one fails");
    mend();
    const { log } = await compiled.invoke(null, config);
    expect(log.toSorted()).toEqual(["fail", "look"]);
  });

  it("is executed again", async () => {
    const { graph, mend } = brokenOff();
    const thread = new DrivenThread(graph());
    expect((await thread.invoke({})).outcome.kind).toBe("failed");
    mend();
    expect((await thread.deliver({ payload: { input: null } })).outcome).toEqual({ kind: "done" });
    const { log } = (await valuesOf(thread)) as { readonly log: readonly string[] };
    expect(log.toSorted()).toEqual(["fail", "look", "next"]);
  });
});
