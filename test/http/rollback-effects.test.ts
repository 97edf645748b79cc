/** Rolling back a run that has paid: what was seen cannot be made unseen unless somebody insists, over HTTP. */
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import type { LangGraphRunnableConfig } from "@langchain/langgraph";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Client } from "@langchain/langgraph-sdk";
import { runId, tenantId, threadId } from "../../src/core/ids.ts";
import { effect } from "../../src/graph/effect.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import { eventually } from "../support/eventually.ts";
import { startService } from "../support/service.ts";
import type { Service } from "../support/service.ts";

type Pays = "and has its receipt" | "and has heard nothing yet" | "not at all";

const State = Annotation.Root({
  pays: Annotation<Pays | "quick">(),
  done: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
});

const untilAborted = (signal: AbortSignal | undefined): Promise<never> =>
  new Promise((_, reject) => {
    signal?.addEventListener("abort", () => reject(new Error("aborted")), { once: true });
  });

/** Books, pays, and then waits until it is stopped; `quick` only books. */
const graph = new StateGraph(State)
  .addNode("book", () => ({ done: ["booked"] }))
  .addNode("pay", async ({ pays }: typeof State.State, config: LangGraphRunnableConfig) => {
    if (pays === "quick") return {};
    if (pays !== "not at all") {
      await effect(config, { name: "pay", policy: "unsafe" }, async (_token, signal) =>
        pays === "and has heard nothing yet" ? untilAborted(signal) : "receipt",
      );
    }
    return untilAborted(config.signal);
  })
  .addEdge(START, "book")
  .addEdge("book", "pay")
  .addEdge("pay", END)
  .compile();

let service: Service;
let client: Client;
beforeAll(async () => {
  service = await startService({ graphs: createRegistry([registeredGraph("shop", graph)]) });
  client = service.client("acme");
});
afterAll(() => service[Symbol.asyncDispose]());

const FORCED = { "holdpoint-force": "true" };
const journalOf = async (run: string) =>
  service.deps.effects.ofRoot(tenantId("acme"), runId(run)).then((entries) => entries.map(({ outcome }) => outcome));
const doneOf = async (thread: string) => ((await client.threads.getState(thread)).values as { done?: string[] }).done;

/** A thread with a booking of an earlier run, and a run that has booked, has paid as it says, and goes on. */
async function shopping(pays: Pays) {
  const { thread_id: thread } = await client.threads.create();
  await client.runs.wait(thread, "shop", { input: { pays: "quick" } });
  const { run_id: run } = await client.runs.create(thread, "shop", { input: { pays } });
  await eventually(async () => (await doneOf(thread))?.length === 2);
  await eventually(async () => {
    const journal = await journalOf(run);
    if (pays === "not at all") return true;
    return journal.length === 1 && (pays === "and has heard nothing yet" || journal[0] !== undefined);
  });
  const cancel = (headers: Readonly<Record<string, string>> = {}) =>
    service.app.call("POST", `/threads/${thread}/runs/${run}/cancel?action=rollback&wait=true`, { headers });
  const rival = (headers: Readonly<Record<string, string>> = {}) =>
    service.app.call("POST", `/threads/${thread}/runs/wait`, {
      json: { assistant_id: "shop", input: { pays: "quick" }, multitask_strategy: "rollback" },
      headers,
    });
  const own = async () => (await service.deps.runs.get(ref, ref.runId))?.value;
  const ref = { tenant: tenantId("acme"), threadId: threadId(thread), runId: runId(run) };
  return { thread, run, cancel, rival, own };
}

describe("rolling back a run that has paid", () => {
  it.each(["and has its receipt", "and has heard nothing yet"] as const)(
    "%s is 409 for who cancels it and for who takes its place, and it goes on",
    async (pays) => {
      const { thread, cancel, rival, own } = await shopping(pays);
      for (const answer of [await cancel(), await rival()]) {
        expect(answer.status).toBe(409);
        expect(await answer.text()).toContain("pay happened or may have happened");
      }
      const run = await own();
      expect(run?.status).toBe("running");
      expect(run?.cancelAsked).toBeUndefined();
      expect(await doneOf(thread)).toEqual(["booked", "booked"]);
    },
  );

  it.each(["and has its receipt", "and has heard nothing yet"] as const)(
    "%s is done for who insists: its steps are hidden, the run and its journal stay",
    async (pays) => {
      const { thread, run, cancel, own } = await shopping(pays);
      expect((await cancel(FORCED)).status).toBeLessThan(300);
      await eventually(async () => (await own())?.rolledBack === true);
      expect(await own()).toMatchObject({ status: "cancelled", rolledBack: true });
      expect(await doneOf(thread)).toEqual(["booked"]);
      expect((await client.threads.getHistory(thread)).map(({ metadata }) => metadata?.["run_id"])).not.toContain(run);
      expect(await journalOf(run)).toHaveLength(1);
      await expect(client.runs.get(thread, run)).rejects.toThrow(/404/);
    },
  );

  it("is done for a later run that insists: what it left is built on what was there before", async () => {
    const { thread, run, rival, own } = await shopping("and has its receipt");
    const answer = await rival(FORCED);
    expect([answer.status, await answer.json()]).toMatchObject([200, { done: ["booked", "booked"] }]);
    expect(await own()).toMatchObject({ status: "cancelled", rolledBack: true });
    const byRun = (await client.threads.getHistory(thread)).map(({ metadata }) => metadata?.["run_id"]);
    expect(byRun).not.toContain(run);
    expect(await journalOf(run)).toHaveLength(1);
  });

  it("takes nobody to insist when it has not paid (negative control)", async () => {
    const { thread, cancel, own } = await shopping("not at all");
    expect((await cancel()).status).toBeLessThan(300);
    await eventually(async () => (await own())?.rolledBack === true);
    expect(await doneOf(thread)).toEqual(["booked"]);
  });

  it("keeps its steps where it is only interrupted (negative control)", async () => {
    const { thread, run, own } = await shopping("and has its receipt");
    await client.runs.cancel(thread, run, true, "interrupt");
    expect((await own())?.rolledBack).toBeUndefined();
    expect(await doneOf(thread)).toEqual(["booked", "booked"]);
  });
});
