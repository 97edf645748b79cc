/** Reviews that expire, are escalated and called to mind, and how time races people. LangGraph executes them. */
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { dueAt, inTime } from "../../src/core/hold-time.ts";
import { timesAgain } from "../../src/core/hold-times.ts";
import type { Hold } from "../../src/core/hold.ts";
import { threadId } from "../../src/core/ids.ts";
import type { Run } from "../../src/core/run.ts";
import { review } from "../../src/graph/review.ts";
import type { ReviewSpec } from "../../src/graph/review.ts";
import { registeredGraph } from "../../src/langgraph/registry.ts";
import { createRuntime } from "../../src/runtime/create.ts";
import { settleDue } from "../../src/runtime/decisions/expiry.ts";
import { langGraphEngine } from "../../src/runtime/engine.ts";
import { ALICE, createKit, inputFor } from "./runtime-kit.ts";
import type { Kit } from "./runtime-kit.ts";
import { pass, settle, until } from "./runtime-pass.ts";

const BOB = { ...ALICE, subject: "bob", groups: ["leads"] };
const MINUTE_MS = 60_000;
const State = Annotation.Root({ said: Annotation<string>(), fails: Annotation<boolean>() });

function kitOf(times: Partial<ReviewSpec>): Kit {
  const desk = new StateGraph(State)
    .addNode("ask", async (_, config) => {
      const { type, decidedBy } = await review(config, { title: "Refund", action: "refund", args: {}, ...times });
      return { said: `${type} by ${decidedBy}` };
    })
    .addNode("pay", ({ fails }) => {
      if (fails) throw new Error("the far side is away");
      return {};
    })
    .addEdge(START, "ask")
    .addEdge("ask", "pay")
    .addEdge("pay", END)
    .compile();
  return createKit(undefined, { graphs: { desk: registeredGraph("desk", desk) } });
}

const runOf = async (kit: Kit, run: Run) => (await kit.deps.runs.get(run, run.runId))?.value;
const holdOf = async (kit: Kit, run: Run): Promise<Hold> => {
  const [hold] = await kit.deps.holds.ofThread(run, 0);
  if (!hold) throw new Error("the run has asked for something");
  return hold.value;
};
async function asked(kit: Kit, input: { readonly fails?: boolean } = {}): Promise<Run> {
  const thread = threadId(kit.deps.ids.uuid());
  const run = await kit.runtime.runs.accept(ALICE, { ...inputFor(thread), assistantId: "desk", payload: { input } });
  await until(kit, async () => (await runOf(kit, run))?.status === "held", "held");
  return run;
}
const decide = async (kit: Kit, run: Run, who = ALICE) => {
  const { holdId, digest } = await holdOf(kit, run);
  return kit.runtime.reviews.decide(who, `${run.threadId}.${holdId}`, { answer: { type: "approve" }, digest });
};
const hooksOf = async (kit: Kit, groups: readonly string[]) =>
  kit.runtime.webhooks.create(ALICE, {
    url: "https://example.com/hook",
    events: ["review.escalated", "review.reminded"],
    groups,
    description: "",
  });
const toldTo = async (kit: Kit, { endpoint }: Awaited<ReturnType<typeof hooksOf>>) => {
  const { items } = await kit.runtime.webhooks.deliveries(ALICE, endpoint.endpointId, { limit: 10 });
  return items.map(({ event }) => event.type).toReversed();
};
const saidBy = async (kit: Kit, run: Run): Promise<unknown> =>
  until(kit, async () => {
    const { values } = await kit.runtime.threads.get(ALICE, run.threadId);
    return (values as { readonly said?: string } | null)?.said ?? false;
  });

describe("a review that nobody decides", () => {
  it.each([
    [{ dueInMs: MINUTE_MS }, "reject by holdpoint:time"],
    [{ dueInMs: MINUTE_MS, onExpiry: "approve" }, "approve by holdpoint:time"],
  ] as const)("with %j is answered at its time, and its run goes on", async (times, said) => {
    const kit = kitOf(times);
    await using worker = kit.worker(langGraphEngine);
    worker.start();
    const run = await asked(kit);
    const due = dueAt(await holdOf(kit, run)) ?? 0;
    await pass(kit, due - kit.table.now() - 1);
    expect((await holdOf(kit, run)).state).toBe("pending");
    expect(await saidBy(kit, run)).toBe(said);
    const { decision } = await holdOf(kit, run);
    expect(decision?.cause).toBe("time");
    expect((decision?.at ?? 0) - due).toBeLessThanOrEqual(1000);
    await expect(decide(kit, run)).rejects.toMatchObject({ code: "gone", detail: { state: "expired" } });
  });

  it("is one that people may decide until then: whoever comes first stands", async () => {
    for (let n = 0; n < 20; n++) {
      const kit = kitOf({ dueInMs: MINUTE_MS });
      const run = await (async () => {
        await using worker = kit.worker(langGraphEngine);
        worker.start();
        return await asked(kit);
      })();
      const { holdId } = await holdOf(kit, run);
      kit.clock.advance((dueAt(await holdOf(kit, run)) ?? 0) + 500 - kit.table.now());
      const people = [decide(kit, run), decide(kit, run, BOB)];
      const time = Array.from({ length: 3 }, () => settleDue(kit.deps, run, holdId));
      const answers = await Promise.allSettled(n % 2 === 0 ? [...people, ...time] : [...time, ...people]);
      const won = answers.filter((answer) => answer.status === "fulfilled" && typeof answer.value === "object");
      const { decision } = await holdOf(kit, run);
      expect(won).toHaveLength(decision?.cause === "time" ? 0 : 1);
      expect((await kit.deps.threads.get(run))?.value.queue).toHaveLength(1);
    }
  });

  it("is for nobody to decide any more once its time is over, also while no worker is there to say so", async () => {
    const kit = kitOf({ dueInMs: MINUTE_MS });
    const run = await (async () => {
      await using worker = kit.worker(langGraphEngine);
      worker.start();
      return await asked(kit);
    })();
    kit.clock.advance(2 * MINUTE_MS);
    await expect(decide(kit, run)).rejects.toMatchObject({ code: "gone", detail: { state: "expired" } });
    const resumes = {
      ...inputFor(run.threadId),
      assistantId: "desk",
      payload: { command: { resume: { type: "approve" } } },
    };
    await expect(kit.runtime.runs.accept(ALICE, resumes)).rejects.toMatchObject({ code: "gone" });
    expect(await holdOf(kit, run)).toMatchObject({ decision: { cause: "time" } });
    await using worker = kit.worker(langGraphEngine);
    worker.start();
    expect(await saidBy(kit, run)).toBe("reject by holdpoint:time");
  });

  it("is not decided by an answer that was still on its way when its repeat was told that it came too late", async () => {
    const kit = kitOf({ dueInMs: MINUTE_MS });
    const run = await (async () => {
      await using worker = kit.worker(langGraphEngine);
      worker.start();
      return await asked(kit);
    })();
    const { holdId, digest } = await holdOf(kit, run);
    const answer = { answer: { type: "approve" }, digest, idempotencyKey: "k" } as const;
    const id = `${run.threadId}.${holdId}`;
    let arrives = (): void => undefined;
    const onItsWay = new Promise<void>((resolve) => void (arrives = resolve));
    const put: Kit["deps"]["holds"]["put"] = async (hold, when) => {
      await onItsWay;
      return kit.deps.holds.put(hold, when);
    };
    const slow = createRuntime({ ...kit.deps, holds: { ...kit.deps.holds, put } });
    const first = slow.reviews.decide(ALICE, id, answer);
    first.catch(() => undefined);
    await settle();
    kit.clock.advance(2 * MINUTE_MS);
    await expect(kit.runtime.reviews.decide(ALICE, id, answer)).rejects.toMatchObject({ code: "gone" });
    arrives();
    await expect(first).rejects.toMatchObject({ code: "gone" });
    expect(await holdOf(kit, run)).toMatchObject({ decision: { cause: "time" } });
  });

  it("does not begin its answer again and again while what it leads to fails", async () => {
    const kit = kitOf({ dueInMs: MINUTE_MS, onExpiry: "approve" });
    await using worker = kit.worker(langGraphEngine);
    worker.start();
    const run = await asked(kit, { fails: true });
    await pass(kit, 10 * MINUTE_MS);
    const runs = await kit.runtime.runs.list(ALICE, run.threadId);
    expect(runs.length).toBeLessThan(12);
  });

  it("has its say later and later, each time that its answer comes back", () => {
    let times = timesAgain({ settlesAt: 0 }, 1000);
    expect(times).toEqual({ settlesAt: 3000, returned: 1 });
    for (let n = 0; n < 20; n++) times = timesAgain(times, 1000);
    expect(times.settlesAt).toBe(3_601_000);
  });
});

describe("a review that waits", () => {
  it("is put before other groups at its time, who may decide it from then on, and not before", async () => {
    const kit = kitOf({ groups: ["desk"], escalateAfterMs: MINUTE_MS, escalateTo: ["leads"] });
    await using worker = kit.worker(langGraphEngine);
    worker.start();
    const hooks = [await hooksOf(kit, ["leads"]), await hooksOf(kit, []), await hooksOf(kit, ["legal"])];
    const run = await asked(kit);
    await expect(decide(kit, run, BOB)).rejects.toMatchObject({ code: "forbidden" });
    await until(kit, async () => (await holdOf(kit, run)).times?.escalation?.done === true, "escalated");
    expect(await holdOf(kit, run)).toMatchObject({ state: "pending", request: { groups: ["desk", "leads"] } });
    expect(await Promise.all(hooks.map((hook) => toldTo(kit, hook)))).toEqual([
      ["review.escalated"],
      ["review.escalated"],
      [],
    ]);
    await decide(kit, run, BOB);
    expect(await saidBy(kit, run)).toBe("approve by bob");
  });

  it("is shown again when it is put before other groups, however long it was put aside for", async () => {
    const kit = kitOf({ groups: ["desk"], escalateAfterMs: MINUTE_MS, escalateTo: ["leads"] });
    await using worker = kit.worker(langGraphEngine);
    worker.start();
    const run = await asked(kit);
    const { holdId } = await holdOf(kit, run);
    const work = { kind: "snooze", until: kit.table.now() + 30 * 24 * 60 * MINUTE_MS } as const;
    await kit.runtime.reviews.work({ ...BOB, groups: ["desk"] }, `${run.threadId}.${holdId}`, { work });
    const shown = async () => (await kit.runtime.reviews.list(BOB, { state: "open", limit: 9 })).items.length;
    expect(await shown()).toBe(0);
    await until(kit, async () => (await holdOf(kit, run)).times?.escalation?.done === true, "escalated");
    expect(await shown()).toBe(1);
  });

  it("is called to mind at its times, and once for all that were missed", async () => {
    const kit = kitOf({ remindEveryMs: MINUTE_MS });
    const worker = kit.worker(langGraphEngine);
    worker.start();
    const hook = await hooksOf(kit, []);
    const run = await asked(kit);
    await pass(kit, 2.5 * MINUTE_MS);
    expect((await holdOf(kit, run)).times?.reminders?.sent).toBe(2);
    await worker.drain();
    kit.clock.advance(10 * MINUTE_MS);
    await using other = kit.worker(langGraphEngine);
    other.start();
    await pass(kit, 1000);
    expect((await holdOf(kit, run)).times?.reminders?.sent).toBe(3);
    expect(await toldTo(kit, hook)).toEqual(["review.reminded", "review.reminded", "review.reminded"]);
    await decide(kit, run);
    await pass(kit, 5 * MINUTE_MS);
    expect((await holdOf(kit, run)).times?.reminders?.sent).toBe(3);
  });

  it("expires before it is escalated when both are due, and does nothing before its time", async () => {
    const kit = kitOf({ dueInMs: 2000, escalateAfterMs: 1000, escalateTo: ["leads"], remindEveryMs: 1000 });
    await using worker = kit.worker(langGraphEngine);
    worker.start();
    const hold = await holdOf(kit, await asked(kit));
    const fresh: Hold = { ...hold, state: "pending" };
    expect(inTime(fresh, hold.raisedAt)).toBeUndefined();
    expect(inTime(fresh, hold.raisedAt + 1000)?.kind).toBe("escalated");
    expect(inTime(fresh, hold.raisedAt + 5000)?.kind).toBe("settled");
  });

  it.each([
    { onExpiry: "reject" },
    { dueInMs: -1 },
    { escalateAfterMs: 5 },
    { escalateTo: ["leads"] },
    { remindEveryMs: 1 },
    { dueInMs: Number.NaN },
  ] as const)("with %j is refused", async (times) => {
    const kit = kitOf(times);
    await using worker = kit.worker(langGraphEngine);
    worker.start();
    const thread = threadId(kit.deps.ids.uuid());
    const run = await kit.runtime.runs.accept(ALICE, { ...inputFor(thread), assistantId: "desk" });
    await until(kit, async () => (await runOf(kit, run))?.status === "error", "refused");
    expect((await runOf(kit, run))?.error?.message).toContain("review()");
  });
});
