/** A retry whose API process dies at any of its calls of the table, and is asked for again: it takes place once. */
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import type { LangGraphRunnableConfig } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { isHoldpointError } from "../../src/core/errors.ts";
import type { Run } from "../../src/core/run.ts";
import { isEnded } from "../../src/core/run.ts";
import { effect } from "../../src/graph/effect.ts";
import { registeredGraph } from "../../src/langgraph/registry.ts";
import { verifyChain } from "../../src/runtime/audit/verify.ts";
import { createDeps, createRuntime } from "../../src/runtime/create.ts";
import { langGraphEngine } from "../../src/runtime/engine.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import type { Table } from "../../src/storage/table.ts";
import { ALICE, createKit, inputFor } from "./runtime-kit.ts";
import type { Kit } from "./runtime-kit.ts";
import { until } from "./runtime-pass.ts";

const State = Annotation.Root({ done: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }) });

/** Pays, and then fails as long as the world is broken. */
function shop(world: { payments: number; broken: boolean }) {
  return new StateGraph(State)
    .addNode("pay", async (_state: typeof State.State, config: LangGraphRunnableConfig) => {
      await effect(config, { name: "pay", policy: "unsafe" }, async () => ++world.payments);
      return { done: ["paid"] };
    })
    .addNode("ship", () => {
      if (world.broken) throw new Error("no stock");
      return { done: ["shipped"] };
    })
    .addEdge(START, "pay")
    .addEdge("pay", "ship")
    .addEdge("ship", END)
    .compile();
}

interface Stage extends Kit {
  readonly world: { payments: number; broken: boolean };
  readonly failed: Run;
}

const latest = async (kit: Kit, run: Run): Promise<Run | undefined> => (await kit.deps.runs.get(run, run.runId))?.value;
const allRuns = (kit: Kit, { tenant, threadId }: Run): Promise<readonly Run[]> =>
  kit.deps.runs.list({ tenant, threadId }, 0);

/** A run that has paid and failed, with the worker still there. */
async function failedStage(worker: (kit: Kit) => void): Promise<Stage> {
  const world = { payments: 0, broken: true };
  const kit = createKit(undefined, { graphs: { g: registeredGraph("g", shop(world)) } });
  worker(kit);
  const run = await kit.runtime.runs.accept(ALICE, inputFor(undefined));
  const failed = await until(kit, async () => {
    const now = await latest(kit, run);
    return now && isEnded(now.status) && now;
  });
  expect([failed.status, failed.error?.node, world.payments]).toEqual(["error", "ship", 1]);
  world.broken = false;
  return { ...kit, world, failed };
}

/** An API process that dies before or after its call `n` of the table. */
function dyingApi(
  kit: Kit,
  n: number,
  when: "before" | "after",
): { readonly runtime: Runtime; readonly died: () => boolean } {
  let calls = 0;
  const never = new Promise<never>(() => undefined);
  const mortal = async <T>(call: () => Promise<T>): Promise<T> => {
    const mine = ++calls;
    if (mine > n || (mine === n && when === "before")) return never;
    const answer = await call();
    return mine === n ? never : answer;
  };
  const { table } = kit;
  const own: Table = {
    ...table,
    get: (...args) => mortal(() => table.get(...args)),
    put: (...args) => mortal(() => table.put(...args)),
    query: (...args) => mortal(() => table.query(...args)),
    batchGet: (...args) => mortal(() => table.batchGet(...args)),
  };
  return { runtime: createRuntime(createDeps({ ...kit.deps, table: own })), died: () => calls >= n };
}

const VERB = { reason: "stock is back", idempotency: { key: "once", bodyHash: "h" } };

async function sweepOnce(n: number, when: "before" | "after"): Promise<boolean> {
  await using stack = new AsyncDisposableStack();
  const stage = await failedStage((kit) => stack.use(kit.worker(langGraphEngine)).start());
  const { failed, world } = stage;
  const verb = { runId: failed.runId, ...VERB };
  const api = dyingApi(stage, n, when);
  let answered = false;
  void api.runtime.operators.retry(ALICE, verb).finally(() => (answered = true));
  await until(stage, () => answered || api.died());
  // The operator's page asks again under the same key, until the answer is definite.
  const retry = await until(stage, async () => {
    try {
      return await stage.runtime.operators.retry(ALICE, verb);
    } catch (error) {
      if (isHoldpointError(error, "unavailable")) return false;
      throw error;
    }
  });
  const end = await until(stage, async () => {
    const now = await latest(stage, retry);
    return now && isEnded(now.status) && now;
  });
  expect([end.status, end.replayOf, end.root, world.payments]).toEqual(["success", failed.runId, failed.root, 1]);
  const runs = await allRuns(stage, failed);
  expect(
    runs
      .filter(({ status }) => status !== "refused")
      .map(({ runId }) => runId)
      .toSorted(),
  ).toEqual([failed.runId, retry.runId].toSorted());
  const { items } = await stage.runtime.audit.list(ALICE, { kind: "retry", limit: 10 });
  expect(items.map(({ content }) => content?.detail?.["retriedBy"])).toEqual([retry.runId]);
  await until(stage, async () => (await stage.deps.audit.head(ALICE.tenant)) !== undefined);
  expect((await verifyChain(stage.deps.audit, ALICE.tenant)).problems).toEqual([]);
  return api.died();
}

describe("a retry", () => {
  it.each(["before", "after"] as const)(
    "takes place once, whichever call its process dies %s",
    { timeout: 120_000 },
    async (when) => {
      let points = 0;
      while (await sweepOnce(points + 1, when)) points++;
      console.log(`a retry: ${points} crash points (${when})`);
      expect(points).toBeGreaterThan(10);
    },
  );

  it("takes place again under another key, once the first was over (negative control)", async () => {
    await using stack = new AsyncDisposableStack();
    const stage = await failedStage((kit) => stack.use(kit.worker(langGraphEngine)).start());
    stage.world.broken = true;
    const retried = async (key: string): Promise<Run["runId"]> => {
      const asked = { runId: stage.failed.runId, idempotency: { key, bodyHash: "h" } };
      const retry = await stage.runtime.operators.retry(ALICE, asked);
      await until(stage, async () => (await latest(stage, retry))?.status === "error");
      return retry.runId;
    };
    const first = await retried("one");
    expect(await retried("one")).toBe(first);
    expect(await retried("two")).not.toBe(first);
    expect(await allRuns(stage, stage.failed)).toHaveLength(3);
    expect(stage.world.payments).toBe(1);
  });
});
