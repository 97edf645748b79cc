/** Links, and what a graph's registration says of plain interrupts, where tables are real. */
import { Annotation, END, interrupt, START, StateGraph } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import type { Hold } from "../../src/core/hold.ts";
import { systemIds, tenantId, threadId } from "../../src/core/ids.ts";
import type { Run } from "../../src/core/run.ts";
import { review } from "../../src/graph/review.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import type { PlainInterrupts } from "../../src/langgraph/registry.ts";
import type { Table } from "../../src/storage/table.ts";
import { engines } from "../support/engines.ts";
import type { Engine } from "../support/engines.ts";
import { eventually } from "../support/eventually.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { openProcess } from "../support/own-process.ts";

const ALICE = { tenant: tenantId("acme"), subject: "alice", roles: ["admin"], groups: [] } as const;
const ANN = { tenant: tenantId("acme"), subject: "ann", roles: ["reviewer"], groups: ["payments"] } as const;
const ORIGIN = { requestId: "r1" };
const settings = {
  streamModes: [],
  streamSubgraphs: false,
  streamResumable: false,
  multitaskStrategy: "enqueue",
} as const;

const State = Annotation.Root({ said: Annotation<string>() });
const asks = new StateGraph(State)
  .addNode("ask", async (_, config) => {
    const spec = { title: "Refund", action: "refund", args: {}, groups: ["payments"] };
    return { said: (await review(config, spec)).decidedBy };
  })
  .addEdge(START, "ask")
  .addEdge("ask", END)
  .compile();
const plain = new StateGraph(State)
  .addNode("ask", () => ({ said: String(interrupt("?")) }))
  .addEdge(START, "ask")
  .addEdge("ask", END)
  .compile();
const under = (plainInterrupts: PlainInterrupts) => ({
  ...registeredGraph(plainInterrupts, plain),
  plainInterrupts,
});
const graphs = createRegistry([
  registeredGraph("asks", asks),
  ...(["lenient", "strict", "refused"] as const).map((setting) => under(setting)),
]);

/** Two processes on one table, the second without a worker. */
async function opened(engine: Engine) {
  await using opening = new AsyncDisposableStack();
  const handles = opening.use(await engine.open());
  const blobs = createMemoryBlobs();
  const on = (table: Table, n: number) => openProcess({ table, blobs, graphs, owner: `host/boot/ns/${n}/1/a` });
  const [one, two] = [on(handles.table, 1), on(await handles.another(), 2)];
  const worker = opening.use(one.workerWith());
  worker.start();
  const kept = opening.move();
  const send = (assistantId: string, thread: string, input: object, { runtime } = one): Promise<Run> =>
    runtime.runs.accept(ALICE, {
      threadId: threadId(thread),
      ifNotExists: "create",
      assistantId,
      payload: { input: { ...input } },
      settings,
    });
  const endOf = (run: Run): Promise<Run> =>
    eventually(async () => {
      const now = (await two.deps.runs.get(run, run.runId))?.value;
      return now?.end && now;
    });
  return {
    one,
    two,
    send,
    endOf,
    async asked(graph: string): Promise<{ readonly run: Run; readonly hold: Hold }> {
      const run = await endOf(await send(graph, systemIds.uuid(), {}));
      const [hold] = await two.deps.holds.ofThread(run, 0);
      if (!hold) throw new Error(`nothing was asked: ${run.status} ${run.error?.message}`);
      return { run, hold: hold.value };
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

describe.each(engines())("on $name", { timeout: 60_000 }, (engine) => {
  it("a link is good in every process, and counts once however many use it at the same time", async () => {
    await using at = await opened(engine);
    const { hold } = await at.asked("asks");
    const id = `${hold.threadId}.${hold.holdId}`;
    const wanted = { answer: "approve", digest: hold.digest, forMs: 60_000 } as const;
    const { token } = await at.one.runtime.links.create(ANN, id, wanted);
    expect((await at.two.runtime.links.look(token)).problem).toBeUndefined();
    const uses = [at.one, at.two, at.one, at.two].map(({ runtime }) => runtime.links.use(token, { origin: ORIGIN }));
    const decisions = (await Promise.all(uses)).map(({ decision }) => decision?.id);
    expect(new Set(decisions).size).toBe(1);
    await eventually(async () => (await at.two.deps.holds.get(hold, hold.holdId))?.value.state === "applied");
    expect((await at.two.runtime.links.look(token)).problem).toMatchObject({ code: "gone" });
    const { items } = await at.two.runtime.audit.list(ALICE, { review: id, limit: 10 });
    expect(items.map(({ content }) => `${content?.action} by ${content?.actor}`).toSorted()).toEqual([
      "approve by ann",
      "link by ann",
    ]);
    await expect(at.two.runtime.links.use(`${token}x`, { origin: ORIGIN })).rejects.toMatchObject({
      code: "not_found",
    });
  });

  it("new input cancels a plain interrupt on the record, races with its answer, and one of the two wins", async () => {
    await using at = await opened(engine);
    const { run, hold } = await at.asked("lenient");
    const id = `${hold.threadId}.${hold.holdId}`;
    const answer = { answer: { type: "value", value: "yes" }, digest: hold.digest } as const;
    const [next, decided] = await Promise.allSettled([
      at.send("lenient", run.threadId, {}),
      at.two.runtime.reviews.decide(ANN, id, answer),
    ]);
    if (next.status === "fulfilled") await at.endOf(next.value);
    const became = await eventually(async () => {
      const now = (await at.two.deps.holds.get(hold, hold.holdId))?.value;
      return now?.state === "applied" || now?.state === "cancelled" ? now : undefined;
    });
    expect(became.state).toBe(decided.status === "fulfilled" ? "applied" : "cancelled");
    if (became.state === "cancelled") expect(became.cancelledBy).toBe("alice");
  });

  it("a strict graph refuses new input while one waits, in every process; a refused one fails at its interrupt", async () => {
    await using at = await opened(engine);
    const { run, hold } = await at.asked("strict");
    for (const process of [at.one, at.two])
      await expect(at.send("strict", run.threadId, {}, process)).rejects.toMatchObject({ code: "conflict" });
    expect((await at.two.deps.holds.get(hold, hold.holdId))?.value.state).toBe("pending");
    const failed = await at.endOf(await at.send("refused", systemIds.uuid(), {}));
    expect([failed.status, failed.error?.message]).toEqual(["error", expect.stringContaining("plainInterrupts")]);
    expect(await at.two.deps.holds.ofThread(failed, 0)).toEqual([]);
  });
});
