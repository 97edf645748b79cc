import { afterAll, describe, expect, it } from "vitest";
import { report } from "../crash/report.ts";
import { CALM } from "./chaos.ts";
import { factsOf } from "./facts.ts";
import { narrate } from "./narrate.ts";
import type { Plan, Start } from "./plan.ts";
import type { Script } from "./script.ts";
import { simulate } from "./simulate.ts";
import type { Options, Verdict } from "./simulate.ts";
import { reference, scripted } from "./stage.ts";

/**
 * A process is killed before and after every one of its calls to the table, one schedule for each; only polls of the index
 * are passed over, which change nothing and whose answer is a hint. Clients that heard nothing ask again under the same
 * key; whoever comes in the dead one's place remembers nothing.
 */
const THREAD = "00000000-0000-4000-8000-000000000001";
const BASE: Plan = {
  apis: 1,
  workers: 2,
  local: false,
  threads: [THREAD],
  starts: [],
  reviewers: [],
  resumer: false,
  cancels: 0,
  updates: 0,
  updatesCancelPending: false,
  drains: 0,
  pauseMs: 200,
  troubleMs: 2500,
  afterwardsMs: 0,
};
/** Processes are numbered as they start: first the API, then the workers. */
const PROCESSES = ["api1", "worker2", "worker3"] as const;

const start = (n: number, script: Script, fields: Partial<Start> = {}): Start => ({
  atMs: n * 40,
  thread: THREAD,
  tag: `run-${n}`,
  strategy: "enqueue",
  script,
  watched: "followed",
  ...fields,
});
const step = { do: "step", ms: 30 } as const;
const pay = { do: "effect", name: "pay", policy: "idempotent", ms: 20 } as const;
const review = (shown: string) => ({ do: "review", shown }) as const;

/** The first run stops and asks, and is cancelled then; the one behind it pays once nothing waits any more. */
const cancelledAfter = (cancelAfterMs: number): readonly Start[] => [
  start(0, [[step], [review("a"), review("b")], [step]], { cancelAfterMs }),
  start(1, [[pay]]),
];

interface Story {
  readonly plan: Plan;
  readonly stage: NonNullable<Options["stage"]>;
  /** So many take place when nothing goes wrong. */
  readonly effects: number;
}

const scriptStories: Readonly<Record<string, Plan>> = {
  "accepts of either strategy": {
    ...BASE,
    starts: [start(0, [[step], [pay]]), start(1, [[step]]), start(2, [[step]], { strategy: "reject" })],
  },
  "two reviews side by side and an effect behind them, decided by two reviewers": {
    ...BASE,
    starts: [start(0, [[step], [review("a"), review("b")], [pay]]), start(1, [[step]])],
    reviewers: ["eve", "bob"],
  },
  "an answer by command.resume, racing a reviewer": {
    ...BASE,
    starts: [start(0, [[review("a")], [pay]])],
    reviewers: ["eve"],
    resumer: true,
  },
  "a held run that is cancelled": { ...BASE, starts: cancelledAfter(400) },
  "a held run that is cancelled, racing a reviewer": {
    ...BASE,
    starts: cancelledAfter(230),
    reviewers: ["eve"],
    pauseMs: 100,
  },
  "updates of the state that cancel what waits, racing a reviewer": {
    ...BASE,
    starts: [start(0, [[step], [review("a"), review("b")], [step]])],
    reviewers: ["eve"],
    pauseMs: 400,
    updates: 5,
    updatesCancelPending: true,
  },
  "a cancel, and an update of the state": {
    ...BASE,
    starts: [start(0, [[step], [step], [step]], { cancelAfterMs: 60 }), start(1, [[step]])],
    updates: 2,
  },
};

/** Stories that say nothing unless reviews are cancelled in some of their schedules. */
const CANCELLING: ReadonlySet<string> = new Set([
  "a held run that is cancelled",
  "a held run that is cancelled, racing a reviewer",
  "updates of the state that cancel what waits, racing a reviewer",
]);

const effectsIn = ({ starts }: Plan): number =>
  starts.flatMap(({ script }) => script.flat()).filter((task) => task.do === "effect").length;

const STORIES: Readonly<Record<string, Story>> = {
  ...Object.fromEntries(
    Object.entries(scriptStories).map(([name, plan]) => [name, { plan, stage: scripted, effects: effectsIn(plan) }]),
  ),
  "nodes side by side, a subgraph, an edge that leads back, two reviews and effects, by LangGraph itself": {
    plan: { ...BASE, starts: [start(0, []), start(1, [], { cancelAfterMs: 5000 })], reviewers: ["eve", "bob"] },
    stage: reference,
    // The second run finds that the first has paid, and does so once more.
    effects: 7,
  },
};

interface Sweep extends Story {
  /** One seed: every schedule of the sweep is the same up to the crash. */
  readonly seed: string;
  readonly process: string;
  readonly when: "before" | "after";
}

/** Of all schedules together. */
const total = { runs: 0, faults: 0, lost: 0, doubled: 0, violations: 0 };

function count({ runs, crashes, violations }: Verdict): void {
  const found = (invariant: string): number => violations.filter((one) => one.invariant === invariant).length;
  total.runs += runs;
  total.faults += crashes;
  total.lost += found("an acknowledged run ends, or waits behind a review that is open");
  total.doubled += found("no effect takes place twice");
  total.violations += violations.length;
}

afterAll(() =>
  report({
    test: "R1 crash points",
    engine: "the simulation",
    seed: 0,
    ...total,
    command: "npx vitest run test/sim/crash-sweep.test.ts",
  }),
);

/** Reviews that ended as cancelled. */
function cancelledIn(facts: Verdict["facts"]): number {
  const ends = new Map(factsOf(facts, "hold").map(({ hold }) => [hold.holdId, hold.state]));
  return [...ends.values()].filter((state) => state === "cancelled").length;
}

interface Swept {
  /** The number of calls that the process makes, each of which was its last once. */
  readonly points: number;
  /** Schedules in which a review ended as cancelled. */
  readonly cancelling: number;
}

async function sweep({ seed, plan, stage, process, when }: Sweep): Promise<Swept> {
  let cancelling = 0;
  for (let call = 1; ; call++) {
    const verdict = await simulate({ seed, plan, stage, profile: CALM, planned: { process, call, when } });
    if (verdict.crashes === 0) return { points: call - 1, cancelling };
    count(verdict);
    if (cancelledIn(verdict.facts) > 0) cancelling++;
    const told = verdict.violations.map(({ invariant, what }) => `${invariant}: ${what}`);
    if (told.length > 0)
      throw new Error([`${process} killed ${when} call ${call}`, ...told, ...narrate(verdict.facts)].join("\n"));
  }
}

describe("a process killed at any of its calls", () => {
  it.each(Object.entries(STORIES))(
    "loses nothing and doubles nothing: %s",
    { timeout: 300_000 },
    async (name, story) => {
      let [points, cancelling] = [0, 0];
      for (const process of PROCESSES) {
        for (const when of ["before", "after"] as const) {
          const swept = await sweep({ ...story, seed: name, process, when });
          points += swept.points;
          cancelling += swept.cancelling;
        }
      }
      const { facts, violations } = await simulate({ seed: name, ...story, profile: CALM });
      const effects = factsOf(facts, "effect").length;
      console.log(
        `${name}: ${points} crash points, ${cancelling} with a review cancelled, in a story with ${effects} effects`,
      );
      expect(violations).toEqual([]);
      expect(effects).toBe(story.effects);
      if (CANCELLING.has(name)) expect(cancelling).toBeGreaterThan(20);
      if (name === "a held run that is cancelled") expect(cancelledIn(facts)).toBe(2);
      expect(points).toBeGreaterThan(20);
    },
  );
});
