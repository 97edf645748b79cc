/** Timers and callbacks where tables are real: a run sleeps under one worker and goes on under another, at its time. */
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { systemIds, tenantId, threadId } from "../../src/core/ids.ts";
import { callback } from "../../src/graph/callback.ts";
import { until } from "../../src/graph/until.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import type { Run } from "../../src/core/run.ts";
import type { Deps } from "../../src/runtime/deps.ts";
import type { Table } from "../../src/storage/table.ts";
import { engines } from "../support/engines.ts";
import { eventually } from "../support/eventually.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { openProcess } from "../support/own-process.ts";

const ALICE = { tenant: tenantId("acme"), subject: "alice", roles: ["admin"], groups: [] } as const;
const NAP_MS = 1500;
const settings = {
  streamModes: [],
  streamSubgraphs: false,
  streamResumable: false,
  multitaskStrategy: "enqueue",
} as const;

interface World {
  readonly blobs: ReturnType<typeof createMemoryBlobs>;
  readonly tokens: string[];
  readonly woken: number[];
}

function graphOf({ tokens, woken }: World, table: Table) {
  const State = Annotation.Root({ at: Annotation<number>(), said: Annotation<unknown>() });
  return new StateGraph(State)
    .addNode("nap", async ({ at }, config) => {
      await until(config, at);
      woken.push(table.now());
      return {};
    })
    .addNode("call", async (_, config) => ({
      said: await callback(config, { timeoutMs: 60_000, send: async (token) => void tokens.push(token) }),
    }))
    .addEdge(START, "nap")
    .addEdge("nap", "call")
    .addEdge("call", END);
}

function processOn(world: World, table: Table, owner: string) {
  const graphs = createRegistry([registeredGraph("naps", graphOf(world, table).compile())]);
  const { workerWith, ...process } = openProcess({ table, blobs: world.blobs, graphs, owner });
  return { ...process, worker: workerWith() };
}

async function isAsleep(deps: Deps, run: Run, holds: number): Promise<boolean> {
  const status = (await deps.runs.get(run, run.runId))?.value.status;
  const header = (await deps.threads.get(run))?.value;
  const asked = await deps.holds.ofThread(run, 0);
  return status === "waiting" && header?.wakeAt !== undefined && asked.length === holds;
}

/** How late the run's timer was; that it has been applied. */
async function lateness(deps: Deps, run: Run): Promise<number> {
  const [timer] = (await deps.holds.ofThread(run, 0)).filter(({ value }) => value.origin === "timer");
  const { times, decision, state } = timer?.value ?? {};
  expect(state).toBe("applied");
  return (decision?.at ?? 0) - (times?.settlesAt ?? 0);
}

describe.each(engines())("a run that waits, on $name", (engine) => {
  it("for a timer and then for a callback goes on under another worker, once each", { timeout: 60_000 }, async () => {
    await using opened = await engine.open();
    const tokens: string[] = [];
    const woken: number[] = [];
    const world = { blobs: createMemoryBlobs(), tokens, woken };
    const one = processOn(world, opened.table, "host/boot/ns/1/1/a");
    const run = await one.runtime.runs.accept(ALICE, {
      threadId: threadId(systemIds.uuid()),
      ifNotExists: "create",
      assistantId: "naps",
      payload: { input: { at: opened.table.now() + NAP_MS } },
      settings,
    });
    const sleepsOf = (deps: Deps, holds: number) => isAsleep(deps, run, holds);
    one.worker.start();
    await eventually(() => sleepsOf(one.deps, 1));
    await one.worker[Symbol.asyncDispose]();

    const two = processOn(world, await opened.another(), "host/boot/ns/2/1/b");
    two.worker.start();
    await eventually(() => sleepsOf(two.deps, 2));
    expect(await lateness(two.deps, run)).toBeGreaterThanOrEqual(0);
    expect(woken).toHaveLength(1);
    await two.worker[Symbol.asyncDispose]();

    // It arrives while nobody works: the hold is decided, and found by the next worker.
    const three = processOn(world, await opened.another(), "host/boot/ns/3/1/c");
    const arrival = { kind: "arrived", result: { parcel: 7 } } as const;
    const receipts = await Promise.all([1, 2, 3].map(() => three.runtime.callbacks.arrive(tokens[0] ?? "", arrival)));
    expect(new Set(receipts.map(({ at }) => at)).size).toBe(1);
    three.worker.start();
    const result = await three.runtime.runs.wait(ALICE, run.threadId, run.runId, new AbortController().signal);
    expect(result).toMatchObject({ kind: "values", values: { said: arrival } });
    expect(new Set(tokens).size).toBe(1);
    await three.worker[Symbol.asyncDispose]();
  });
});
