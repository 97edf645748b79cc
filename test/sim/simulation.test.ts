import { describe, expect, it } from "vitest";
import { FAULTS, addFaults, noFaults } from "./faults.ts";
import type { FaultCounts } from "./faults.ts";
import { narrate } from "./narrate.ts";
import { drawRaces } from "./plan-races.ts";
import { drawContested, drawTimed } from "./plan.ts";
import { simulate } from "./simulate.ts";
import type { Options, Verdict } from "./simulate.ts";
import { real } from "./stage.ts";

/**
 * `HOLDPOINT_SIM_SCHEDULES`: how many schedules (2,500 unless given); a third as many are played
 * on contested reviews and on timers each, a quarter as many on races, and a tenth as many on LangGraph.js itself.
 * `HOLDPOINT_NIGHTLY=1`: 10,000 of races. `HOLDPOINT_SIM_FROM`: the first seed. `HOLDPOINT_SIM_SEED`: only this one,
 * told in full.
 */
const SCHEDULES = Number(process.env["HOLDPOINT_SIM_SCHEDULES"] ?? 2500);
const RACES = process.env["HOLDPOINT_NIGHTLY"] === "1" ? 10_000 : Math.ceil(SCHEDULES / 4);
const FROM = Number(process.env["HOLDPOINT_SIM_FROM"] ?? 0);
const ONLY = process.env["HOLDPOINT_SIM_SEED"];
/** What a failure tells of the history before it. */
const LINES = 200;

const STAGES = [
  { graphs: "scripts", schedules: SCHEDULES, options: {} },
  { graphs: "contested reviews", schedules: Math.ceil(SCHEDULES / 3), options: { plan: drawContested } },
  { graphs: "timers and expiring reviews", schedules: Math.ceil(SCHEDULES / 3), options: { plan: drawTimed } },
  { graphs: "races", schedules: RACES, options: { plan: drawRaces } },
  { graphs: "real graphs", schedules: Math.ceil(SCHEDULES / 10), options: { stage: real } },
] as const satisfies readonly { graphs: string; schedules: number; options: Partial<Options> }[];

function failure({ seed, violations, facts }: Verdict, graphs: string): Error {
  const story = narrate(facts);
  return new Error(
    [
      `seed ${seed} (${graphs}): ${violations.length} violations; again with`,
      `  HOLDPOINT_SIM_SEED=${seed} npx vitest run test/sim/simulation.test.ts -t "${graphs}"`,
      ...violations.slice(0, 10).map(({ invariant, what }) => `- ${invariant}: ${what}`),
      ...(story.length > LINES ? [`… ${story.length - LINES} lines before`] : []),
      ...story.slice(-LINES),
    ].join("\n"),
  );
}

type Staged = (typeof STAGES)[number];

interface Swept {
  readonly runs: number;
  readonly faults: FaultCounts;
}

/** @throws Error that tells the history of the first seed that fails */
async function sweep({ graphs, schedules, options }: Staged): Promise<Swept> {
  let faults: FaultCounts = noFaults();
  const total = { schedules, events: 0, runs: 0, decisions: 0, crashes: 0, virtualSeconds: 0 };
  for (let seed = FROM; seed < FROM + schedules; seed++) {
    const verdict = await simulate({ seed, ...options });
    if (verdict.violations.length > 0) throw failure(verdict, graphs);
    faults = addFaults(faults, verdict.faults);
    total.events += verdict.events;
    total.runs += verdict.runs;
    total.decisions += verdict.decisions;
    total.crashes += verdict.crashes;
    total.virtualSeconds += Math.round(verdict.took / 1000);
  }
  console.log(`simulated with ${graphs}: ${JSON.stringify(total)}, faults: ${JSON.stringify(faults)}`);
  return { runs: total.runs, faults };
}

async function tell({ graphs, options }: Staged): Promise<Swept> {
  const verdict = await simulate({ seed: Number(ONLY), ...options });
  console.log([graphs, ...narrate(verdict.facts)].join("\n"));
  if (verdict.violations.length > 0) throw failure(verdict, graphs);
  return verdict;
}

/** So many schedules of plans that hold everything are enough for every fault to take place, whatever the seeds. */
const ENOUGH = 500;

describe("the protocol, in simulation", () => {
  it.each(STAGES)(
    "holds in $schedules schedules drawn from their seeds, with $graphs",
    { timeout: 60_000 + SCHEDULES * 500 },
    async (staged) => {
      const { runs, faults } = await (ONLY === undefined ? sweep(staged) : tell(staged));
      expect(runs).toBeGreaterThan(0);
      if (ONLY !== undefined || staged.graphs !== "scripts" || staged.schedules < ENOUGH) return;
      expect(FAULTS.filter((name) => faults[name] === 0)).toEqual([]);
    },
  );

  it("gives the same history for the same seed", async () => {
    for (const seed of [11, 12, 13]) {
      const [one, other] = [await simulate({ seed }), await simulate({ seed })];
      expect(narrate(one.facts)).toEqual(narrate(other.facts));
    }
  });
});
