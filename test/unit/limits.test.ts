/** Every limit: that it exists with a default and a setting, what reaching it looks like, and that this names it. */
import { Annotation, START, Send, StateGraph, interrupt } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { readConfig } from "../../src/config.ts";
import { threadId } from "../../src/core/ids.ts";
import { DEFAULT_LIMITS, LIMIT_SETTINGS } from "../../src/core/limits.ts";
import type { Limits } from "../../src/core/limits.ts";
import type { Run } from "../../src/core/run.ts";
import { createAdmission } from "../../src/http/admission.ts";
import type { DriveLimits, DriveOutcome } from "../../src/langgraph/drive.ts";
import type { Engine } from "../../src/runtime/engine.ts";
import { createBacklog } from "../../src/runtime/accept/backlog.ts";
import { DrivenThread, interruptsOf } from "../support/drive-kit.ts";
import { createSpeaker, read } from "./runtime-events-kit.ts";
import { ALICE, createKit, inputFor, registryOf } from "./runtime-kit.ts";
import type { Given, Kit } from "./runtime-kit.ts";
import { pass, settle, until } from "./runtime-pass.ts";

interface Case {
  readonly name: string;
  /** A value of it that a test can reach. */
  readonly value: number;
  /** Does what the limit is there for, until it says something; undefined when nothing stops it. */
  readonly reach: (value: number, isOwn?: boolean) => Promise<string | undefined>;
}

const State = Annotation.Root({
  log: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }),
});
const single = (node: () => Promise<object> | object) =>
  new StateGraph(State).addNode("x", node).addEdge(START, "x").addEdge("x", "__end__");

const messageOf = (outcome: DriveOutcome) => (outcome.kind === "failed" ? outcome.error.message : undefined);
const driven = async (graph: unknown, limits: Partial<DriveLimits>, isOwn = false) =>
  messageOf((await new DrivenThread(graph, undefined, isOwn ? limits : {}).invoke({}, { limits })).outcome);
/** Bounds of the settings, or the graph's own. */
const given = (limits: Partial<Limits>, isOwn = false): Given => (isOwn ? { graphs: { g: { limits } } } : { limits });

const aThread = (kit: Kit) => threadId(kit.deps.ids.uuid());
const accept = (kit: Kit, thread = aThread(kit), as = ALICE) => kit.runtime.runs.accept(as, inputFor(thread));
const runOf = async (kit: Kit, run: Run) => (await kit.deps.runs.get(run, run.runId))?.value;
const ended = (kit: Kit, run: Run) =>
  until(kit, async () => {
    const now = await runOf(kit, run);
    return now?.end === undefined ? undefined : now;
  });

/** A graph that does nothing until it is stopped, or for so long that none of these tests waits for it. */
const endless =
  (kit: Kit): Engine["drive"] =>
  async ({ signal }) => {
    await kit.clock.sleep(1_200_000, signal);
    return signal.aborted ? { kind: "aborted" } : { kind: "done" };
  };

/** The status and the error of a run that takes twenty minutes. */
async function longRun(given: Given) {
  const kit = createKit(undefined, given);
  await using worker = kit.worker({ drive: endless(kit) });
  worker.start();
  return await ended(kit, await accept(kit));
}

/** What a run says, with its markers in full. */
async function markersOf(of: Given, speak: (kit: Kit, say: (word: string) => Promise<void>) => Promise<unknown>) {
  const kit = createKit(undefined, of);
  const speaker = createSpeaker();
  const run = await accept(kit);
  await using worker = kit.worker(speaker);
  worker.start();
  await until(kit, () => speaker.deliveries() === 1);
  await speak(kit, speaker.say);
  speaker.end();
  await ended(kit, run);
  using reading = read(kit.runtime, run);
  await until(kit, () => reading.got.at(-1) === "success");
  const [marker] = reading.markers;
  return marker === undefined ? undefined : JSON.stringify(marker);
}

/** Why one more new run is refused, with so many that wait. */
async function backlogRefusal(limits: Partial<Limits>, waiting: number) {
  const kit = createKit();
  const { table, clock, ids } = kit.deps;
  for (let n = 0; n < waiting; n++) await accept(kit);
  const backlog = createBacklog({
    table,
    clock,
    ids,
    pools: ["default"],
    shards: 1,
    limits: { ...DEFAULT_LIMITS, ...limits },
  });
  backlog.refusal(ALICE.tenant);
  await settle();
  return backlog.refusal(ALICE.tenant)?.message;
}

function admission(limits: Partial<Limits>, delayMs = 0) {
  const { deps } = createKit();
  return createAdmission({
    limits: { ...DEFAULT_LIMITS, ...limits },
    backlog: { refusal: () => undefined, letIn: () => undefined },
    table: { isThere: true },
    loop: { delayMs },
    ids: deps.ids,
  });
}

const CASES: Readonly<Record<Exclude<keyof Limits, "tenantConcurrency">, Case>> = {
  runTimeoutMs: {
    name: "run time-out",
    value: 60_000,
    reach: async (runTimeoutMs, isOwn) => {
      const { status, error } = await longRun(given({ runTimeoutMs }, isOwn));
      return status === "timeout" ? error?.message : undefined;
    },
  },
  steps: {
    name: "step budget",
    value: 3,
    // Ten rounds, of which each is resumed: what was used up before counts.
    reach: async (steps, isOwn = false) => {
      const graph = new StateGraph(State)
        .addNode("round", () => ({ log: [String(interrupt("go on?"))] }))
        .addEdge(START, "round")
        .addConditionalEdges("round", ({ log }) => (log.length < 10 ? "round" : "__end__"));
      const limits = { steps };
      const thread = new DrivenThread(graph, undefined, isOwn ? limits : {});
      let { outcome } = await thread.invoke({}, { limits });
      for (let [asked] = interruptsOf(outcome); asked; [asked] = interruptsOf(outcome))
        ({ outcome } = await thread.resume({ [asked.id]: "yes" }, { limits }));
      return messageOf(outcome);
    },
  },
  nodeTimeoutMs: {
    name: "node time-out",
    value: 20,
    reach: (nodeTimeoutMs, isOwn) =>
      driven(
        single(() => new Promise((resolve) => setTimeout(resolve, 200, {}))),
        { nodeTimeoutMs },
        isOwn,
      ),
  },
  stateBytes: {
    name: "state size",
    value: 2000,
    reach: (stateBytes, isOwn) =>
      driven(
        single(() => ({ log: ["x".repeat(5000)] })),
        { stateBytes },
        isOwn,
      ),
  },
  parallelTasks: {
    name: "parallel tasks",
    value: 5,
    reach: (parallelTasks, isOwn) => {
      const graph = new StateGraph(State)
        .addNode("plan", () => ({}))
        .addNode("leaf", () => ({}))
        .addEdge(START, "plan")
        .addConditionalEdges("plan", () => Array.from({ length: 6 }, () => new Send("leaf", {})));
      return driven(graph, { parallelTasks }, isOwn);
    },
  },
  eventBytes: {
    name: "event log per run",
    value: 2000,
    reach: (eventBytes, isOwn) => markersOf(given({ eventBytes }, isOwn), (_, say) => say("x".repeat(3000))),
  },
  eventRetentionMs: {
    name: "event retention",
    value: 60_000,
    reach: (eventRetentionMs) => markersOf({ limits: { eventRetentionMs } }, (kit) => pass(kit, 61_000)),
  },
  queuePerThread: {
    name: "queue per thread",
    value: 3,
    reach: async (queuePerThread) => {
      const kit = createKit(undefined, { limits: { queuePerThread } });
      const thread = aThread(kit);
      for (let n = 0; n < 3; n++) await accept(kit, thread);
      return await accept(kit, thread).then(
        () => undefined,
        (error: unknown) => String(error),
      );
    },
  },
  graphWaitMs: {
    name: "wait for a graph",
    value: 60_000,
    reach: async (graphWaitMs) => {
      const kit = createKit(undefined, { limits: { graphWaitMs } });
      const run = await accept(kit);
      await using worker = kit.worker({}, { graphs: registryOf({ other: {} }) });
      worker.start();
      await pass(kit, 300_000);
      return (await runOf(kit, run))?.error?.message;
    },
  },
  backlogPerTenant: {
    name: "backlog of a tenant",
    value: 3,
    reach: (backlogPerTenant) => backlogRefusal({ backlogPerTenant }, 3),
  },
  backlog: { name: "backlog", value: 3, reach: (backlog) => backlogRefusal({ backlog }, 3) },
  requestsInFlight: {
    name: "requests in flight",
    value: 4,
    reach: async (requestsInFlight) => {
      const doors = admission({ requestsInFlight });
      for (let n = 0; n < 4; n++) doors.enter("vital", ALICE.tenant);
      return doors.refusal("vital", ALICE.tenant)?.message;
    },
  },
  eventLoopDelayMs: {
    name: "event loop delay",
    value: 200,
    reach: async (eventLoopDelayMs) => admission({ eventLoopDelayMs }, 200).refusal("new", ALICE.tenant)?.message,
  },
};

const limitsOf = (env: Readonly<Record<string, string>>): Limits => {
  const asked = readConfig([], env);
  if (asked.kind === "help") throw new Error("help was shown");
  return asked.config.limits;
};

describe.each(Object.entries(CASES) as [keyof typeof CASES, Case][])(
  "the limit %s",
  (limit, { name, value, reach }) => {
    it("is named, with its value and its setting, when it is reached", async () => {
      expect(await reach(value)).toContain(`(limit: ${name}, ${value}; setting: ${LIMIT_SETTINGS[limit]})`);
    });

    it("stops nothing of this by default", async () => {
      expect(await reach(DEFAULT_LIMITS[limit])).toBeUndefined();
    });
  },
);

describe.each(["runTimeoutMs", "steps", "nodeTimeoutMs", "stateBytes", "parallelTasks", "eventBytes"] as const)(
  "the limit %s",
  (limit) => {
    it("is named with the graph's own setting where that holds", async () => {
      const { name, value, reach } = CASES[limit];
      const setting = `graphs.g.limits.${limit} in langgraph.json`;
      const told = await reach(value, true);
      expect(told).toContain(`(limit: ${name}, ${value}; setting: ${setting})`);
      expect(told).not.toContain(LIMIT_SETTINGS[limit]);
    });
  },
);

describe.each(Object.keys(LIMIT_SETTINGS) as (keyof Limits)[])("the limit %s", (limit) => {
  it("has a default and a setting", () => {
    expect(DEFAULT_LIMITS[limit]).toBeGreaterThan(0);
    expect(limitsOf({})[limit]).toBe(DEFAULT_LIMITS[limit]);
    const another = limit === "queuePerThread" ? 99 : limit === "tenantConcurrency" ? 999 : DEFAULT_LIMITS[limit] + 1;
    expect(limitsOf({ [LIMIT_SETTINGS[limit]]: String(another) })[limit]).toBe(another);
  });
});

describe("the time-out of a run", () => {
  it("may be a graph's own, which wins over the setting", async () => {
    const own = await longRun({
      limits: { runTimeoutMs: 600_000 },
      graphs: { g: { limits: { runTimeoutMs: 60_000 } } },
    });
    expect(own.status).toBe("timeout");
    expect(own.error?.message).toContain(
      "(limit: run time-out, 60000; setting: graphs.g.limits.runTimeoutMs in langgraph.json)",
    );
    const longer = await longRun({
      limits: { runTimeoutMs: 60_000 },
      graphs: { g: { limits: { runTimeoutMs: 3_600_000 } } },
    });
    expect(longer.status).toBe("success");
  });
});

describe("the runs of a tenant per worker", () => {
  const begun = async (tenantConcurrency: number): Promise<number> => {
    const kit = createKit(undefined, { limits: { tenantConcurrency } });
    const runs = [await accept(kit), await accept(kit), await accept(kit)];
    let executing = 0;
    let most = 0;
    await using worker = kit.worker({
      drive: async () => {
        most = Math.max(most, ++executing);
        await kit.clock.sleep(5000);
        executing--;
        return { kind: "done" };
      },
    });
    worker.start();
    for (const run of runs) expect((await ended(kit, run)).status).toBe("success");
    return most;
  };

  it("are no more at once than the limit, refuse nobody, and are all of them by default", async () => {
    expect(await begun(1)).toBe(1);
    expect(await begun(2)).toBe(2);
    expect(await begun(DEFAULT_LIMITS.tenantConcurrency)).toBe(3);
  });
});
