/** Delta channels are rebuilt from the writes of their ancestors: in few round trips, and on the way back only. */
import { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import type { RunnableConfig } from "@langchain/core/runnables";
import { describe, expect, it } from "vitest";
import { FencedSaver } from "../../src/checkpoint/saver.ts";
import { tenantId } from "../../src/core/ids.ts";
import { checkpointOf, configOf, metadataOf } from "../support/checkpoints.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { createMemoryTable } from "../support/memory-table.ts";
import { createTracedTable } from "../support/traced-table.ts";

/** A thread of so many checkpoints after one that holds a value; each writes to the channel, and a fork leaves halfway. */
async function thread(length: number) {
  const table = createTracedTable(createMemoryTable());
  const options = { table, blobs: createMemoryBlobs(), tenant: tenantId("acme") };
  const saver = new FencedSaver(options);
  let config = await saver.put(configOf("t"), checkpointOf({ values: { log: ["seed"] } }), metadataOf(-1), { log: 1 });
  const configs = [config];
  const step = async (from: RunnableConfig, n: number, word: string): Promise<RunnableConfig> => {
    await saver.putWrites(from, [["log", word]], `task-${word}`);
    return saver.put(from, checkpointOf({ values: { n }, versions: { n } }), metadataOf(n), { n });
  };
  for (let n = 1; n <= length; n += 1) {
    config = await step(config, n, `w${n}`);
    configs.push(config);
  }
  const fork = await step(configs[Math.floor(length / 2)] ?? config, length + 1, "elsewhere");
  return { table, fork, end: config, open: () => new FencedSaver(options) };
}

const words = (from: number, to: number): string[] => Array.from({ length: to - from + 1 }, (_, n) => `w${from + n}`);

describe("the history of a delta channel", () => {
  it("goes back to the nearest value, through the parents of a fork and no others", async () => {
    const { open, fork, end } = await thread(70);
    const of = async (config: RunnableConfig) => {
      const { log } = await open().getDeltaChannelHistory({ config, channels: ["log"] });
      return { seed: log?.seed, words: log?.writes.map(([, , word]) => word) };
    };
    // Where the fork leaves, the writes of both ways belong to one checkpoint.
    const trunk = await of(end);
    expect(trunk.seed).toEqual(["seed"]);
    expect(trunk.words?.filter((word) => word !== "elsewhere")).toEqual(words(1, 70));
    const forked = await of(fork);
    expect(forked.words?.slice(0, 35)).toEqual(words(1, 35));
    expect(forked.words?.slice(35).toSorted()).toEqual(["elsewhere", "w36"]);
  });

  it("is what LangGraph's own walk finds, and asks far less for it", async () => {
    const { open, end, table } = await thread(100);
    const calls = async (find: () => Promise<unknown>): Promise<readonly [unknown, number]> => {
      const before = table.calls.length;
      const found = await find();
      return [found, table.calls.length - before];
    };
    const asked = { config: end, channels: ["log", "n", "never"] };
    const [ours, few] = await calls(() => open().getDeltaChannelHistory(asked));
    const [stock, many] = await calls(() => BaseCheckpointSaver.prototype.getDeltaChannelHistory.call(open(), asked));
    expect(ours).toEqual(stock);
    expect(few).toBeLessThan(many / 2);
  });

  it("of nothing is empty", async () => {
    const { open, end } = await thread(1);
    expect(await open().getDeltaChannelHistory({ config: end, channels: [] })).toEqual({});
    expect(await open().getDeltaChannelHistory({ config: configOf("none"), channels: ["log"] })).toEqual({
      log: { writes: [] },
    });
  });
});
