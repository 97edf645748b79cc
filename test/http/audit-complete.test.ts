/** One entry of the audit log for everything that was decided and done about runs, however often it was asked for. */
import { Annotation, START, StateGraph } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { tenantId } from "../../src/core/ids.ts";
import type { NodeConfig } from "../../src/graph/context.ts";
import { effect } from "../../src/graph/effect.ts";
import { review } from "../../src/graph/review.ts";
import { keyAuthenticator } from "../../src/http/auth.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import { verifyChain } from "../../src/runtime/audit/verify.ts";
import { serviceEngines } from "../support/engines.ts";
import type { Engine } from "../support/engines.ts";
import { LONG_MS, eventually } from "../support/eventually.ts";
import { createTestKeys } from "../support/http.ts";
import { startService } from "../support/service.ts";

interface Entry {
  readonly kind: string;
  readonly action: string;
  readonly actor: string;
  readonly run_id: string | null;
  readonly link: number | null;
}
interface Ended {
  readonly run_id: string;
  readonly status: string;
  readonly ended_at: string | null;
}

const State = Annotation.Root({ what: Annotation<string>() });

function desk() {
  const world = { broken: true, gate: Promise.withResolvers<void>() };
  const graph = new StateGraph(State)
    .addNode("act", async ({ what }: typeof State.State, config: NodeConfig) => {
      if (what === "asks") await review(config, { title: "Pay", action: "pay", args: {}, quorum: 2 });
      if (what === "waits") await world.gate.promise;
      if (what === "fails" && world.broken) throw new TypeError("no stock");
      await effect(config, { name: "pay", policy: "unsafe" }, async () => {
        if (what === "parks") throw new Error("no answer");
        return "paid";
      });
      return {};
    })
    .addEdge(START, "act")
    .compile();
  return { world, graphs: createRegistry([registeredGraph("acts", graph)], []) };
}

const PEOPLE = ["sam", "ann"] as const;

async function opened(engine: Engine) {
  await using opening = new AsyncDisposableStack();
  const { world, graphs } = desk();
  opening.defer(() => world.gate.resolve());
  const { apiKeys, texts } = createTestKeys(
    PEOPLE.map((subject) => ({ tenant: "acme", subject, roles: ["admin"] as const })),
  );
  const { table } = opening.use(await engine.open());
  const service = opening.use(await startService({ graphs, table, app: { auth: keyAuthenticator(apiKeys) } }));
  const call = async <T>(path: string, json?: object, { as = 0, key = "" } = {}): Promise<T> => {
    const headers = { "x-api-key": texts[as] ?? "", ...(key === "" ? {} : { "idempotency-key": key }) };
    const init = { as: "nobody", headers, ...(json === undefined ? {} : { json }) } as const;
    const response = await service.app.call(json === undefined ? "GET" : "POST", path, init);
    expect([path, response.ok]).toEqual([path, true]);
    return (await response.json()) as T;
  };
  const runOf = (run: string): Promise<Ended> => call(`/v1/runs/${run}`);
  const kept = opening.move();
  return {
    world,
    service,
    call,
    runOf,
    ended: (run: string) =>
      eventually(
        async () => {
          const now = await runOf(run);
          return now.ended_at === null ? undefined : now.status;
        },
        `run ${run} to end`,
        LONG_MS,
      ),
    start: async (what: string): Promise<string> => {
      const { thread_id: thread } = await call<{ thread_id: string }>("/threads", {});
      const { run_id: run } = await call<{ run_id: string }>(`/threads/${thread}/runs`, {
        assistant_id: "acts",
        input: { what },
      });
      return run;
    },
    entries: async () => (await call<{ items: Entry[] }>("/v1/audit?limit=100")).items,
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

type Desk = Awaited<ReturnType<typeof opened>>;

/** The votes of two people, the first of them given twice. */
async function decided({ call, start, ended }: Desk): Promise<void> {
  expect(await ended(await start("asks"))).toBe("held");
  const { items } = await call<{ items: { id: string; digest: string }[] }>("/v1/reviews");
  const [{ id, digest } = { id: "", digest: "" }] = items;
  const answer = { type: "approve", digest };
  await call(`/v1/reviews/${id}/decisions`, answer, { key: "sam's" });
  await call(`/v1/reviews/${id}/decisions`, answer, { key: "sam's" });
  const { decision } = await call<{ decision: { continuation_run_id: string } }>(
    `/v1/reviews/${id}/decisions`,
    answer,
    { as: 1 },
  );
  expect(await ended(decision.continuation_run_id)).toBe("success");
}

/** Said twice, in the same words. */
async function settled({ call, start, ended }: Desk): Promise<void> {
  expect(await ended(await start("parks"))).toBe("parked");
  const { items } = await call<{ items: { id: string; intent: number }[] }>("/v1/effects");
  const [{ id, intent } = { id: "", intent: 0 }] = items;
  const word = { outcome: "happened", result: "paid", intent, reason: "seen" };
  const shown = () =>
    call<{ settlement: { continuation_run_id: string | null } }>(`/v1/effects/${id}/settlement`, word);
  await shown();
  const next = await eventually(
    async () => (await shown()).settlement.continuation_run_id ?? undefined,
    "the run that goes on",
    LONG_MS,
  );
  expect(await ended(next)).toBe("success");
}

async function retried({ call, start, ended, world }: Desk): Promise<void> {
  const run = await start("fails");
  expect(await ended(run)).toBe("error");
  world.broken = false;
  const retry = (): Promise<Ended> => call(`/v1/runs/${run}/retry`, {}, { key: "again" });
  const { run_id: next } = await retry();
  expect((await retry()).run_id).toBe(next);
  expect(await ended(next)).toBe("success");
}

async function stopped({ call, start, ended, runOf, world }: Desk): Promise<void> {
  const [parks, cancels] = [await start("waits"), await start("waits")];
  const isRunning = async (run: string): Promise<boolean> => (await runOf(run)).status === "running";
  await eventually(async () => (await isRunning(parks)) && isRunning(cancels), "both to run", LONG_MS);
  await call(`/v1/runs/${parks}/park`, {});
  await call(`/v1/runs/${cancels}/cancel`, {});
  expect([await ended(parks), await ended(cancels)]).toEqual(["parked", "cancelled"]);
  await call(`/v1/runs/${parks}/park`, {});
  world.gate.resolve();
  const resume = () => call<Ended>(`/v1/runs/${parks}/resume`, {}).catch(() => undefined);
  const { run_id: next } = await eventually(resume, "the parked run to be resumed", LONG_MS);
  expect(await ended(next)).toBe("success");
}

describe.each(serviceEngines())("on $name, the audit log", { timeout: 120_000 }, (engine) => {
  it("has one entry for each vote, decision, effect, settlement, retry, resume, park and cancel", async () => {
    await using at = await opened(engine);
    for (const act of [decided, settled, retried, stopped]) await act(at);
    const entries = await at.entries();
    const named = entries.map(({ kind, action, actor }) => `${kind} ${action} by ${actor}`);
    expect(named.toSorted()).toEqual([
      "cancel cancel by sam",
      "decision approve by ann",
      "decision approve by sam",
      // Of the decided run, of the one that was tried again, and of the one that was parked.
      "effect happened by sam",
      "effect happened by sam",
      "effect happened by sam",
      "park park by sam",
      // After the settlement, and of the parked run.
      "resume resume by sam",
      "resume resume by sam",
      "retry retry by sam",
      "settlement happened by sam",
    ]);
    await eventually(async () => (await at.entries()).every(({ link }) => link !== null), "the chain", LONG_MS);
    const { problems, entries: chained } = await verifyChain(at.service.deps.audit, tenantId("acme"));
    expect([problems, chained]).toEqual([[], entries.length]);
  });
});
