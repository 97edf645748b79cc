/**
 * A holder that dies at any of its storage writes, before or after the write is applied; the next holder finishes the
 * run. Nodes may run again, but the log, the visits and the state end as if nobody had died (I2, I3, I7).
 */
import { Command } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { stillWaits } from "../../src/checkpoint/interrupts.ts";
import { FencedSaver } from "../../src/checkpoint/saver.ts";
import { tenantId, threadId } from "../../src/core/ids.ts";
import type { Table } from "../../src/storage/table.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { createMemoryTable } from "../support/memory-table.ts";
import { askingGraph, loopingGraph } from "../support/reference-graphs.ts";
import { createTracedTable } from "../support/traced-table.ts";

const thread = threadId("t1");
const config = {
  configurable: { thread_id: thread, __pregel_strict_resume: true },
  durability: "sync" as const,
  recursionLimit: 60,
};

/** What these tests use of a compiled graph. */
interface Driven {
  invoke(input: unknown, options: typeof config): Promise<unknown>;
  getState(options: typeof config): Promise<{ readonly values: unknown; readonly next: readonly string[] }>;
}
type Build = (saver: FencedSaver) => Driven;

interface Holder {
  readonly table: Table;
  readonly fence: number;
}

/** One delivery as a worker makes it: new input while nothing has landed, else the barrier and on from the head. */
async function deliver({ table, fence }: Holder, build: Build): Promise<FencedSaver> {
  const open = (newRoot?: string) =>
    FencedSaver.open({
      table,
      blobs: createMemoryBlobs(),
      tenant: tenantId("acme"),
      lease: { threadId: thread, generation: 0, fence },
      ...(newRoot === undefined ? {} : { newRoot }),
    });
  const saver = await open();
  if (saver.head() === undefined) {
    const fresh = await open("run-1");
    await build(fresh).invoke({ rounds: 0 }, config);
    return fresh;
  }
  await saver.barrier();
  const pending = await saver.pendingInterrupts();
  const owners = pending.flatMap(({ owner }) => (owner ? [owner] : []));
  const waiting = await saver.interruptsThat(stillWaits, owners);
  const resume = Object.fromEntries(waiting.map(({ id }) => [id, "yes"]));
  // An interrupt that no task's write shows at the root yet is raised again by going on.
  const answerable = waiting.length > 0 && waiting.length === pending.length;
  await build(saver).invoke(answerable ? new Command({ resume }) : null, config);
  return saver;
}

/** Delivers until nothing is left to do, and says how it ended. */
async function finish(table: Table, build: Build, from = 2): Promise<unknown> {
  for (let fence = from; fence < from + 6; fence++) {
    const saver = await deliver({ table, fence }, build);
    const state = await build(saver).getState(config);
    if (state.next.length > 0) continue;
    const facts = await saver.whereabouts.record("", saver.head()?.checkpointId ?? "");
    return { values: state.values, visits: facts.visits, root: facts.root };
  }
  throw new Error("the run did not end");
}

describe("a holder that dies", () => {
  const graphs: readonly (readonly [string, Build])[] = [
    ["in a loop with parallel nodes, Sends and a subgraph", loopingGraph],
    ["on the way to interrupts and after their answers", askingGraph],
  ];
  for (const [name, build] of graphs) {
    it(`${name} is replaced without a trace, whichever write was its last`, { timeout: 120_000 }, async () => {
      const expected = await finish(createMemoryTable(), build);
      let mutations = 0;
      for (let mutation = 1; ; mutation++) {
        const survived: boolean[] = [];
        for (const when of ["before", "after"] as const) {
          const table = createMemoryTable();
          const dying = createTracedTable(table, { dieAt: { mutation, when } });
          const died = await deliver({ table: dying, fence: 1 }, build).then(
            () => false,
            () => true,
          );
          survived.push(!died);
          expect(await finish(table, build)).toEqual(expected);
        }
        if (survived.every(Boolean)) break;
        mutations = mutation;
      }
      expect(mutations).toBeGreaterThan(build === loopingGraph ? 50 : 8);
    });
  }

  it("while it resumes is replaced without asking again what was answered", { timeout: 120_000 }, async () => {
    const held = async () => {
      const table = createMemoryTable();
      await deliver({ table, fence: 1 }, askingGraph);
      return table;
    };
    const expected = await finish(await held(), askingGraph);
    for (let mutation = 1; ; mutation++) {
      const survived: boolean[] = [];
      for (const when of ["before", "after"] as const) {
        const table = await held();
        const dying = createTracedTable(table, { dieAt: { mutation, when } });
        const died = await deliver({ table: dying, fence: 2 }, askingGraph).then(
          () => false,
          () => true,
        );
        survived.push(!died);
        expect(await finish(table, askingGraph, 3)).toEqual(expected);
      }
      if (survived.every(Boolean)) break;
    }
  });
});
