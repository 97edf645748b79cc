import { describe, expect, it } from "vitest";
import { narrate } from "./narrate.ts";
import { simulate } from "./simulate.ts";
import type { Verdict } from "./simulate.ts";

/**
 * `HOLDPOINT_SIM_SCHEDULES`: how many schedules (600 unless given). `HOLDPOINT_SIM_FROM`: the first seed.
 * `HOLDPOINT_SIM_SEED`: only this one, told in full.
 */
const SCHEDULES = Number(process.env["HOLDPOINT_SIM_SCHEDULES"] ?? 600);
const FROM = Number(process.env["HOLDPOINT_SIM_FROM"] ?? 0);
const ONLY = process.env["HOLDPOINT_SIM_SEED"];
const LINES = 200;

function failure({ seed, violations, facts }: Verdict): Error {
  const story = narrate(facts);
  return new Error(
    [
      `seed ${seed}: ${violations.length} violations; again with HOLDPOINT_SIM_SEED=${seed} npx vitest run test/sim/simulation.test.ts`,
      ...violations.slice(0, 10).map(({ at, invariant, what }) => `- ${invariant}: ${what} (at ${Math.round(at)})`),
      ...(story.length > LINES ? [`… ${story.length - LINES} lines before`] : []),
      ...story.slice(-LINES),
    ].join("\n"),
  );
}

describe("the protocol, in simulation", () => {
  it.runIf(ONLY === undefined)(
    `holds in ${SCHEDULES} schedules drawn from their seeds`,
    async () => {
      const total = { schedules: 0, events: 0, runs: 0, decisions: 0, crashes: 0, virtualSeconds: 0 };
      for (let seed = FROM; seed < FROM + SCHEDULES; seed++) {
        const verdict = await simulate({ seed });
        if (verdict.violations.length > 0) throw failure(verdict);
        total.schedules++;
        total.events += verdict.events;
        total.runs += verdict.runs;
        total.decisions += verdict.decisions;
        total.crashes += verdict.crashes;
        total.virtualSeconds += Math.round(verdict.took / 1000);
      }
      console.log(`simulated: ${JSON.stringify(total)}`);
      expect(total.runs).toBeGreaterThan(SCHEDULES);
    },
    60_000 + SCHEDULES * 500,
  );

  it.runIf(ONLY !== undefined)("tells one schedule in full", async () => {
    const verdict = await simulate({ seed: Number(ONLY) });
    console.log(narrate(verdict.facts).join("\n"));
    if (verdict.violations.length > 0) throw failure(verdict);
  });

  it("gives the same history for the same seed", async () => {
    for (const seed of [11, 12, 13]) {
      const [one, other] = [await simulate({ seed }), await simulate({ seed })];
      expect(narrate(one.facts)).toEqual(narrate(other.facts));
    }
  });
});
