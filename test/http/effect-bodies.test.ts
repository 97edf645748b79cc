/** Results of effects that are too long for the journal: bodies of their own, which go with their thread. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Annotation, START, StateGraph } from "@langchain/langgraph";
import type { LangGraphRunnableConfig } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { runId, tenantId } from "../../src/core/ids.ts";
import { effect } from "../../src/graph/effect.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import { serviceEngines } from "../support/engines.ts";
import type { Engine } from "../support/engines.ts";
import { eventually } from "../support/eventually.ts";
import { startService } from "../support/service.ts";

/** 300 KB. */
const LONG = "long ".repeat(60_000);
const State = Annotation.Root({
  answers: Annotation<boolean>(),
  done: Annotation<number[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
});

/** What happens between the call of the effect and its result. */
let onTheWay = async (): Promise<void> => {};

const graph = new StateGraph(State)
  .addNode("fetch", async ({ answers }: typeof State.State, config: LangGraphRunnableConfig) => {
    const text = await effect(config, { name: "fetch", policy: "unsafe" }, async () => {
      if (!answers) throw new Error("no answer");
      await onTheWay();
      return LONG;
    });
    return { done: [text.length] };
  })
  .addEdge(START, "fetch")
  .compile();

interface Listed {
  readonly items: readonly { readonly id: string; readonly intent: number; readonly run_id: string }[];
}

async function opened(engine: Engine) {
  await using opening = new AsyncDisposableStack();
  const { table } = opening.use(await engine.open());
  const bodies = await mkdtemp(join(tmpdir(), "holdpoint-bodies-"));
  opening.defer(() => rm(bodies, { recursive: true, force: true }));
  const graphs = createRegistry([registeredGraph("fetching", graph)]);
  const service = opening.use(await startService({ graphs, table, bodies }));
  const kept = opening.move();
  const call = async <T>(method: "GET" | "POST", path: string, json?: object): Promise<T> =>
    (await service.app.call(method, `/v1/effects${path}`, json ? { json } : {})).json() as Promise<T>;
  return {
    client: service.client("acme"),
    call,
    async fetched(answers: boolean): Promise<string> {
      const { thread_id: thread } = await service.client("acme").threads.create();
      await service.client("acme").runs.wait(thread, "fetching", { input: { answers }, raiseError: false });
      return thread;
    },
    hasHappened: async (run: string) => {
      const entries = await service.deps.effects.ofRoot(tenantId("acme"), runId(run));
      return entries.some(({ outcome }) => outcome?.kind === "result" && outcome.body !== undefined);
    },
    /** How many bodies there are, of whatever. */
    count: async () =>
      (await readdir(bodies, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile()).length,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

describe.each(serviceEngines())("a long result on $name", { timeout: 120_000 }, (engine) => {
  it("is kept as a body, shown whole, and removed with its thread; that it happened stays in the journal", async () => {
    await using at = await opened(engine);
    const threads = [await at.fetched(true), await at.fetched(true)];
    const [run] = await at.client.runs.list(threads[0] ?? "");
    const { items } = await at.call<Listed>("GET", `?run_id=${run?.run_id}`);
    const id = items[0]?.id ?? "";
    expect(await at.call("GET", `/${id}`)).toMatchObject({ state: "happened", result: LONG });
    const before = await at.count();
    await at.client.threads.delete(threads[0] ?? "");
    expect(before - (await at.count())).toBeGreaterThanOrEqual(1);
    expect(await at.call("GET", `/${id}`)).toMatchObject({
      state: "happened",
      result_omitted: expect.stringMatching(/removed with its thread/) as string,
    });
    await at.client.threads.delete(threads[1] ?? "");
    expect(await at.count()).toBe(0);
  });

  it("that comes when its thread was deleted already is removed by who has stored it", async () => {
    await using at = await opened(engine);
    const { thread_id: thread } = await at.client.threads.create();
    const called = Promise.withResolvers<void>();
    const deleted = Promise.withResolvers<void>();
    onTheWay = async () => {
      called.resolve();
      await deleted.promise;
    };
    const { run_id: run } = await at.client.runs.create(thread, "fetching", { input: { answers: true } });
    await called.promise;
    onTheWay = async () => {};
    await at.client.threads.delete(thread);
    expect(await at.count()).toBe(0);
    deleted.resolve();
    await eventually(() => at.hasHappened(run), "the result in the journal");
    expect(await at.count()).toBe(0);
  });

  it("that an operator has given is removed with the thread; of one that is gone, none is stored", async () => {
    await using at = await opened(engine);
    const thread = await at.fetched(false);
    const gone = await at.fetched(false);
    await at.client.threads.delete(gone);
    const { items } = await at.call<Listed>("GET", "");
    expect(items).toHaveLength(2);
    for (const { id, intent } of items)
      await at.call("POST", `/${id}/settlement`, { outcome: "happened", result: LONG, intent, reason: "found" });
    await at.client.runs.list(thread);
    expect(await at.count()).toBeGreaterThan(0);
    await at.client.threads.delete(thread);
    expect(await at.count()).toBe(0);
  });
});
