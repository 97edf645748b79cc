/** Retry edges around functional tasks and tool nodes: a task that fails fails its superstep, so the edge is around a graph. */
import { AIMessage } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { MessagesAnnotation, START, StateGraph, task } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { z } from "zod";
import { outcomeValue, waitOf } from "../../src/core/wait-value.ts";
import { addRetry } from "../../src/graph/retry.ts";
import { toolNode } from "../../src/graph/tool-node.ts";
import { DrivenThread, interruptsOf, valuesOf } from "../support/drive-kit.ts";
import { decision } from "../support/tool-graphs.ts";

const RETRY = { attempts: 3, backoffMs: 1000, exhausted: "ask-a-person" } as const;
const call = { name: "look", args: {}, id: "c1", type: "tool_call" as const };
const ask = () => ({ messages: [new AIMessage({ content: "", tool_calls: [call] })] });

/** A tool that fails so often. */
function lookingInVain(times: number) {
  let calls = 0;
  const look = tool(
    () => {
      calls += 1;
      if (calls <= times) throw new Error(`nobody there, ${calls}`);
      return "found";
    },
    { name: "look", schema: z.object({}) },
  );
  return { look, calls: () => calls };
}

const aroundGraph = (tools: ReturnType<typeof toolNode>) => {
  const check = new StateGraph(MessagesAnnotation).addNode("tools", tools).addEdge(START, "tools").compile();
  const builder = new StateGraph(MessagesAnnotation)
    .addNode("ask", ask)
    .addNode("check", check)
    .addEdge(START, "ask")
    .addEdge("ask", "check");
  return addRetry(builder, "check", RETRY);
};

describe("a tool node with a retry edge", () => {
  it("as a graph of its own is tried again on timers, then a person is asked, then it is tried anew", async () => {
    const { look, calls } = lookingInVain(3);
    const thread = new DrivenThread(aroundGraph(toolNode([look])));
    const waits: string[] = [];
    let last = await thread.invoke({ messages: [] });
    for (let [asked] = interruptsOf(last.outcome); asked; [asked] = interruptsOf(last.outcome)) {
      const isTimer = waitOf(asked.value) !== undefined;
      waits.push(isTimer ? "timer" : "review");
      const answer = isTimer ? outcomeValue({ kind: "fired" }) : decision(asked.value, { type: "approve" });
      last = await thread.resume({ [asked.id]: answer }, isTimer ? { run: last.run } : {});
    }
    expect([last.outcome, waits, calls()]).toEqual([{ kind: "done" }, ["timer", "timer", "review"], 4]);
    const { messages } = (await valuesOf(thread)) as { readonly messages: readonly { readonly content: string }[] };
    expect(messages.at(-1)?.content).toBe("found");
  });

  it("by itself is refused when the graph is built", () => {
    const builder = new StateGraph(MessagesAnnotation).addNode("check", toolNode([lookingInVain(0).look]));
    expect(() => addRetry(builder, "check", RETRY)).toThrow("make it a graph of its own");
  });
});

describe("a functional task that fails in a node with a retry edge", () => {
  it("fails the run without anybody being asked: what LangGraph does, and why tool nodes are refused", async () => {
    const failing = task("failing", async () => {
      throw new Error("nobody there");
    });
    const node = async () => {
      await failing();
      return {};
    };
    const graph = new StateGraph(MessagesAnnotation).addNode("check", node).addEdge(START, "check");
    const thread = new DrivenThread(addRetry(graph, "check", RETRY));
    expect((await thread.invoke({ messages: [] })).outcome).toMatchObject({
      kind: "failed",
      error: { message: "nobody there" },
    });
  });
});
