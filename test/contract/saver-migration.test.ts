/** A thread of another saver, moved as docs/checkpointer.md says, goes on here as it would have there. */
import { Annotation, Command, END, MemorySaver, START, StateGraph, interrupt } from "@langchain/langgraph";
import type { BaseCheckpointSaver } from "@langchain/langgraph";
import type { CheckpointTuple, PendingWrite } from "@langchain/langgraph-checkpoint";
import { describe, expect, it } from "vitest";
import { FencedSaver } from "../../src/checkpoint/saver.ts";
import { tenantId } from "../../src/core/ids.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { createMemoryTable } from "../support/memory-table.ts";

const State = Annotation.Root({
  said: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }),
});

const build = (checkpointer: BaseCheckpointSaver) =>
  new StateGraph(State)
    .addNode("first", () => ({ said: ["first"] }))
    .addNode("ask", () => ({ said: [String(interrupt("may I?"))] }))
    .addEdge(START, "first")
    .addEdge("first", "ask")
    .addEdge("ask", END)
    .compile({ checkpointer });

const config = { configurable: { thread_id: "t" } };

async function move(from: BaseCheckpointSaver, to: BaseCheckpointSaver): Promise<void> {
  const tuples: CheckpointTuple[] = [];
  for await (const tuple of from.list(config)) tuples.push(tuple);
  for (const { checkpoint, metadata, parentConfig, pendingWrites = [], ...tuple } of tuples.toReversed()) {
    const ns: unknown = tuple.config.configurable?.["checkpoint_ns"];
    const parent = parentConfig ?? { configurable: { ...config.configurable, checkpoint_ns: ns } };
    const at = await to.put(
      parent,
      checkpoint,
      metadata ?? { source: "loop", step: 0, parents: {} },
      checkpoint.channel_versions,
    );
    const byTask = Map.groupBy(pendingWrites, ([taskId]) => taskId);
    for (const [taskId, writes] of byTask)
      await to.putWrites(
        at,
        writes.map(([, channel, value]): PendingWrite => [channel, value]),
        taskId,
      );
  }
}

describe("a thread that was moved here", () => {
  it("has the same history, and goes on where it waits", async () => {
    const theirs = new MemorySaver();
    await build(theirs).invoke({ said: ["in"] }, config);
    const ours = new FencedSaver({ table: createMemoryTable(), blobs: createMemoryBlobs(), tenant: tenantId("acme") });
    await move(theirs, ours);
    const history = async (saver: BaseCheckpointSaver) => {
      const seen: unknown[] = [];
      for await (const { createdAt: _, ...snapshot } of build(saver).getStateHistory(config)) seen.push(snapshot);
      return seen;
    };
    expect(await history(ours)).toEqual(await history(theirs));
    expect(await build(ours).invoke(new Command({ resume: "yes" }), config)).toEqual({ said: ["in", "first", "yes"] });
  });
});
