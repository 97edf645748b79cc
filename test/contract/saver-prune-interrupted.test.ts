/** Pruning a thread with delta channels, which leaves what lies below its latest checkpoint, after a deletion that was interrupted. */
import type { RunnableConfig } from "@langchain/core/runnables";
import { describe, expect, it } from "vitest";
import type { FencedSaver } from "../../src/checkpoint/saver.ts";
import { checkpointOf, configOf, metadataOf } from "../support/checkpoints.ts";
import { savers, strays, THREAD } from "../support/long-thread.ts";
import { createMemoryTable } from "../support/memory-table.ts";
import { createTracedTable } from "../support/traced-table.ts";

/**
 * The delta channel is whole in the first checkpoint. From there two runs go on, `b` first, and it is rebuilt from there
 * for the latest, which is of `c`: what `b` wrote stands between.
 */
async function forkedThread(saver: FencedSaver): Promise<void> {
  const versions = { n: 1, log: 1 };
  const whole = { values: { n: 0, log: ["whole"] }, versions };
  const metadata = { ...metadataOf(0, "input"), run_id: "a" };
  const fork = await saver.put(configOf(THREAD), checkpointOf(whole), metadata, versions);
  await saver.putWrites(fork, [["log", "w0"]], "task-0");
  for (const run of ["b", "c"]) {
    let config = fork;
    for (let n = 1; n < 4; n += 1) config = await changed(saver, config, { n, run });
  }
}

async function changed(
  saver: FencedSaver,
  from: RunnableConfig,
  { n, run }: { readonly n: number; readonly run: string },
): Promise<RunnableConfig> {
  const versions = { n: n + 1, log: n + 1 };
  const counters = { counters_since_delta_snapshot: { log: [n, n] as [number, number] } };
  const metadata = { ...metadataOf(n), ...counters, run_id: run };
  const config = await saver.put(from, checkpointOf({ values: { n }, versions }), metadata, versions);
  await saver.putWrites(config, [["log", `${run}${n}`]], `task-${n}`);
  return config;
}

async function runsIn(saver: FencedSaver): Promise<readonly string[]> {
  const runs: string[] = [];
  for await (const { metadata } of saver.list(configOf(THREAD)))
    runs.unshift(String((metadata as { readonly run_id?: string } | undefined)?.run_id));
  return runs;
}

describe("prune, after a deleteForRuns that was interrupted", () => {
  it("shows nothing that was deleted, wherever that one stopped and it stops itself", async () => {
    const open = savers();
    let outcomes = 0;
    for (let mutation = 1; ; mutation += 1) {
      const table = createMemoryTable();
      await forkedThread(open(table));
      const dying = createTracedTable(table, { dieAt: { mutation, when: "after" } });
      const isDone = await open(dying)
        .deleteForRuns(["b"], [THREAD])
        .then(
          () => true,
          () => false,
        );
      const isDeleted = !(await runsIn(open(table))).includes("b");
      for (let at = 1; ; at += 1) {
        const copy = createMemoryTable();
        await copy.batchPut(table.dump());
        const pruning = open(createTracedTable(copy, { dieAt: { mutation: at, when: "after" } })).prune([THREAD]);
        const isPruned = await pruning.then(
          () => true,
          () => false,
        );
        const shown = await runsIn(open(copy));
        if (isDeleted) expect([mutation, at, shown]).not.toEqual([mutation, at, expect.arrayContaining(["b"])]);
        await open(copy).prune([THREAD]);
        // Pruning keeps what stands above the floor, whosever it is, unless it was deleted.
        expect(await runsIn(open(copy))).toEqual(
          isDeleted ? ["a", "c", "c", "c"] : ["a", "b", "b", "b", "c", "c", "c"],
        );
        expect(strays(copy.dump())).toEqual([]);
        outcomes += 1;
        if (isPruned) break;
      }
      if (isDone) break;
    }
    expect(outcomes).toBeGreaterThan(30);
  });
});
