/** What happens when two want the same at once: each of these was found by the simulation of races. */
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import type { LangGraphRunnableConfig } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { HoldpointError } from "../../src/core/errors.ts";
import { inTime } from "../../src/core/hold-time.ts";
import { decided, reopened } from "../../src/core/hold.ts";
import type { Hold } from "../../src/core/hold.ts";
import { decisionId, holdId, runId, threadId } from "../../src/core/ids.ts";
import { outcomeValue } from "../../src/core/wait-value.ts";
import { reviewValue } from "../../src/core/review-value.ts";
import { cancelled, isEnded } from "../../src/core/run.ts";
import type { Run } from "../../src/core/run.ts";
import { callback } from "../../src/graph/callback.ts";
import type { DriveOutcome } from "../../src/langgraph/drive.ts";
import { registeredGraph } from "../../src/langgraph/registry.ts";
import { createRuntime } from "../../src/runtime/create.ts";
import { langGraphEngine } from "../../src/runtime/engine.ts";
import { ALICE, createKit, inputFor, looseRun } from "./runtime-kit.ts";
import type { Kit } from "./runtime-kit.ts";
import { until } from "./runtime-pass.ts";

const asks = (n: number): DriveOutcome => {
  const id = String(n).repeat(32);
  const value = reviewValue({ number: 0, title: "Pay", action: "pay", args: { n } });
  const raisedBy = { id, ns: "", checkpointId: "c", taskId: "t", ordinal: 0 };
  return { kind: "interrupted", interrupts: [{ id, value, node: "ask", raisedBy }] };
};
const keyed = (key: string) => ({ idempotency: { key, bodyHash: key } });
const newest = async (kit: Kit, run: Run): Promise<Run> => {
  const stored = await kit.deps.runs.get(run, run.runId);
  if (!stored) throw new Error("the run is gone");
  return stored.value;
};
const ended = (kit: Kit, run: Run): Promise<Run> =>
  until(kit, async () => {
    const now = await newest(kit, run);
    return isEnded(now.status) && now;
  });
const heldBy = async (kit: Kit, run: Run) => (await kit.deps.holds.ofThread(run, 0)).map(({ value }) => value);

describe("an accept that is repeated once its run is queued", () => {
  it("is answered as before, whatever has been decided on the thread since", async () => {
    const kit = createKit();
    const thread = threadId(kit.deps.ids.uuid());
    let asked = 0;
    const work = async (run: Run): Promise<void> => {
      await using worker = kit.worker({ drive: async () => asks(++asked) });
      worker.start();
      expect((await ended(kit, run)).status).toBe("held");
    };
    const first = await kit.runtime.runs.accept(ALICE, inputFor(thread));
    const second = await kit.runtime.runs.accept(ALICE, inputFor(thread));
    await work(first);
    const third = { ...inputFor(thread), onPending: "cancel" as const, ...keyed("third") };
    const accepted = await kit.runtime.runs.accept(ALICE, third);
    await work(second);
    const [open] = (await kit.runtime.reviews.list(ALICE, { state: "open", limit: 1 })).items;
    const { digest = "", holdId = "" } = open ?? {};
    await kit.runtime.reviews.decide(ALICE, `${thread}.${holdId}`, { answer: { type: "approve" }, digest });

    expect((await kit.runtime.runs.accept(ALICE, third)).runId).toBe(accepted.runId);
    expect((await newest(kit, accepted)).status).toBe("pending");
  });
});

describe("a run that is parked", () => {
  it("keeps what it asks when it has just ended as held", async () => {
    const kit = createKit();
    const run = await kit.runtime.runs.accept(ALICE, inputFor(undefined));
    await using worker = kit.worker({ drive: async () => asks(1) });
    worker.start();
    await ended(kit, run);
    let reads = 0;
    const get: Kit["deps"]["runs"]["get"] = async (ref, id) => {
      const stored = await kit.deps.runs.get(ref, id);
      return stored && reads++ === 0 ? { ...stored, value: { ...stored.value, status: "running" } } : stored;
    };
    await createRuntime({ ...kit.deps, runs: { ...kit.deps.runs, get } }).operators.park(ALICE, run);
    expect(await heldBy(kit, run)).toMatchObject([{ state: "pending" }]);
  });

  it("is cancelled all the same when somebody wants that, and not the other way round", () => {
    const running = { ...looseRun(createKit()), status: "running" } as const;
    const [park, cancel] = [{ by: "olga", at: 1, parks: true } as const, { by: "ann", at: 2 }];
    expect(cancelled({ ...running, cancelAsked: park }, cancel)).toMatchObject({ run: { cancelAsked: cancel } });
    expect(cancelled({ ...running, cancelAsked: cancel }, park).kind).toBe("already");
    expect(cancelled({ ...running, cancelAsked: cancel }, cancel).kind).toBe("already");
  });
});

const State = Annotation.Root({ said: Annotation<unknown>() });
const said = async (kit: Kit, run: Run): Promise<unknown> =>
  (await kit.runtime.threads.get(ALICE, run.threadId)).values;

describe("a run that was parked before it began", () => {
  const greeting = new StateGraph(State)
    .addNode("greet", () => ({ said: "hello" }))
    .addEdge(START, "greet")
    .addEdge("greet", END)
    .compile();
  const parked = async () => {
    const kit = createKit(undefined, { graphs: { g: registeredGraph("g", greeting) } });
    const run = await kit.runtime.runs.accept(ALICE, { ...inputFor(threadId(kit.deps.ids.uuid())) });
    await kit.runtime.operators.park(ALICE, run);
    return { kit, run };
  };

  it("begins once, however often it is resumed", async () => {
    const { kit, run } = await parked();
    await using worker = kit.worker(langGraphEngine);
    worker.start();
    const first = await until(kit, () => kit.runtime.operators.resume(ALICE, run).catch(() => undefined));
    await ended(kit, first);
    await expect(kit.runtime.operators.resume(ALICE, run)).rejects.toMatchObject({ code: "conflict" });
  });

  it("is never resumed without its input, whatever an earlier attempt took it for", async () => {
    const { kit, run } = await parked();
    const other = await kit.runtime.runs.accept(ALICE, inputFor(run.threadId));
    const verb = { ...run, ...keyed("resume") };
    // The thread is busy; the attempt dies before it can be told so.
    const create: Kit["deps"]["runs"]["create"] = async (made) => {
      await kit.deps.runs.create(made);
      throw new HoldpointError("unavailable", "the process died");
    };
    const dying = createRuntime({ ...kit.deps, runs: { ...kit.deps.runs, create } });
    await expect(dying.operators.resume(ALICE, verb)).rejects.toMatchObject({ code: "unavailable" });
    await kit.runtime.runs.cancel(ALICE, { ...other, wait: false, signal: new AbortController().signal });
    const again = async () => (await kit.runtime.operators.resume(ALICE, verb)).payload?.input;
    await expect(again()).rejects.toMatchObject({ code: "conflict" });
  });
});

describe("the answer of a callback", () => {
  const tokens: string[] = [];
  const calling = new StateGraph(State)
    .addNode("call", async (_: typeof State.State, config: LangGraphRunnableConfig) => ({
      said: await callback(config, { timeoutMs: 3_600_000, send: async (token) => void tokens.push(token) }),
    }))
    .addEdge(START, "call")
    .addEdge("call", END)
    .compile();

  it("that came before its run was parked is what the resumed run hears", async () => {
    const kit = createKit(undefined, { graphs: { g: registeredGraph("g", calling) } });
    const run = await kit.runtime.runs.accept(ALICE, inputFor(threadId(kit.deps.ids.uuid())));
    {
      await using worker = kit.worker(langGraphEngine);
      worker.start();
      await until(kit, async () => (await newest(kit, run)).status === "waiting");
      await until(kit, async () => (await kit.deps.threads.get(run))?.value.lease === undefined);
    }
    await kit.runtime.callbacks.arrive(tokens[0] ?? "", { kind: "arrived", result: "yes" });
    await kit.runtime.operators.park(ALICE, run);
    await using worker = kit.worker(langGraphEngine);
    worker.start();
    expect((await ended(kit, run)).status).toBe("parked");
    expect(await heldBy(kit, run)).toMatchObject([{ state: "cancelled", decision: { by: "holdpoint:callback" } }]);

    const resumed = await until(kit, () => kit.runtime.operators.resume(ALICE, run).catch(() => undefined));
    await ended(kit, resumed);
    await until(kit, async () => (await heldBy(kit, run))[0]?.state === "applied");
    expect(await said(kit, run)).toEqual({ said: { kind: "arrived", result: "yes" } });
  });

  it("that no run could carry on is kept, and given to its code again in time", () => {
    const id = decisionId("d");
    const answer = { type: "value" as const, value: outcomeValue({ kind: "arrived", result: "yes" }) };
    const decision = { id, by: "holdpoint:callback", at: 5, bodyDigest: "b", answer, continuation: runId("r") };
    const hold = { origin: "callback", holdId: holdId("h"), times: { settlesAt: 1e9 } } as Hold; // nothing else matters
    const back = reopened(decided(hold, decision), "the run was cancelled", 10);
    expect(back).toMatchObject({ state: "pending", kept: decision });
    expect(inTime(back, 11)).toBeUndefined();
    const again = inTime(back, 10 + 3_600_000)?.hold;
    expect(again).toMatchObject({ state: "decided", followUpDue: true, decision: { answer, bodyDigest: "b" } });
    expect(again?.kept).toBeUndefined();
    expect(again?.decision?.continuation).not.toBe(decision.continuation);
  });
});
