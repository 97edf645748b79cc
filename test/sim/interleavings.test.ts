/**
 * Interleavings of the table calls of a few processes, executed with the product's own code; with no fault, one crash,
 * one takeover from a living owner, or one lost reply, at every moment at which it may come. A search that is claimed
 * to be exhausted has executed every one; every other stops at a bound, and its line says so.
 *
 * A violation prints its schedule. `HOLDPOINT_INTERLEAVING="<scenario>, <fault>: <schedule>"` takes its steps again.
 */
import { afterAll, describe, expect, it } from "vitest";
import { isEnded } from "../../src/core/run.ts";
import type { Deps } from "../../src/runtime/deps.ts";
import { FAULT_KINDS } from "./interleave.ts";
import type { FaultKind, Scenario } from "./interleave.ts";
import { CLAIMS } from "./interleave-scenarios.ts";
import { replay, search } from "./interleave-search.ts";
import type { Found, Outcome, SearchOptions } from "./interleave-search.ts";
import { narrate } from "./narrate.ts";

const NIGHTLY = process.env["HOLDPOINT_NIGHTLY"] === "1";
/** States of a search that is claimed to be exhausted: far more than it has. */
const ENOUGH = 1_000_000;
/** States after which every other search stops. */
const LIMIT = NIGHTLY ? 200_000 : 12_000;
const REPEATED = process.env["HOLDPOINT_INTERLEAVING"];

const CASES = CLAIMS.flatMap(({ scenario, faults = FAULT_KINDS, merged = false, exhausts, exhaustsNightly = [] }) =>
  faults.map((fault) => ({
    scenario,
    fault,
    name: scenario.name,
    isClaimed: exhausts.includes(fault) || (NIGHTLY && exhaustsNightly.includes(fault)),
    // Without a fault also what a worker has read before its claim grows old.
    raced: fault === "no fault" && !merged,
  })),
);

const outcomes: { readonly name: string; readonly outcome: Outcome }[] = [];
afterAll(() => {
  for (const { scenario } of CLAIMS) console.log(`interleavings: ${scenario.name}: ${ratioOf(scenario.name)}`);
  console.log(`interleavings: in all, ${ratioOf()}`);
});

/** How many of the searches of a scenario were exhausted, and how far all of them went. */
function ratioOf(name?: string): string {
  const some = outcomes.filter((one) => name === undefined || one.name === name).map(({ outcome }) => outcome);
  const states = some.reduce((sum, outcome) => sum + outcome.states, 0);
  return `${some.filter(({ exhausted }) => exhausted).length} of ${some.length} searches exhausted, ${states} states`;
}

const searches = (): void => {
  describe("no interleaving that was searched breaks what must always hold:", () => {
    it.each(CASES)(
      "$name, $fault",
      { timeout: NIGHTLY ? 3_600_000 : 300_000 },
      async ({ scenario, fault, isClaimed, raced }) => {
        const options: SearchOptions = { scenario, fault, limit: isClaimed ? ENOUGH : LIMIT, raced };
        const outcome = await search(options);
        console.log(lineOf(scenario, fault, outcome));
        outcomes.push({ name: scenario.name, outcome });
        expect(outcome.found && (await told(options, outcome.found))).toBeUndefined();
        if (isClaimed) expect(outcome.exhausted).toBe(true);
        // The same steps on executions of their own: what the search kept of processes is what they do.
        const { last } = outcome;
        if (last) expect((await replay(options, last.schedule)).facts).toEqual(last.facts);
      },
    );
  });

  describe("the search sees it when this protection is missing:", () => {
    it.each(controls())("$off", { timeout: 120_000 }, async ({ options: control }) => {
      const options: SearchOptions = { limit: ENOUGH, shortest: true, ...control };
      const { found } = await search(options);
      if (!found) expect.fail("no interleaving shows it");
      const again = await replay(options, found.schedule);
      expect(again.violations).toEqual(found.violations);
      console.log(`${found.violations[0]?.what}, by ${found.schedule.length} steps: ${found.schedule.join(" ")}`);
    });
  });
};

const repetition = (steps: string): void => {
  describe("a schedule from HOLDPOINT_INTERLEAVING", () => {
    it("is taken again", async () => {
      const [, name = "", fault = "", schedule = ""] = /^(.*), (no fault|a [a-z ]+): (.*)$/.exec(steps) ?? [];
      const found = CASES.find((one) => one.name === name && one.fault === fault);
      if (!found) expect.fail(`there is no scenario ${name} with ${fault}`);
      const options = { scenario: found.scenario, fault: found.fault, limit: 1, raced: found.raced };
      const { facts, violations } = await replay(options, schedule.split(" "));
      console.log(narrate(facts).join("\n"));
      expect(violations).toEqual([]);
    });
  });
};

if (REPEATED === undefined) searches();
else repetition(REPEATED);

function lineOf(scenario: Scenario, fault: FaultKind, outcome: Outcome): string {
  const { schedules, states, ends, depth, exhausted } = outcome;
  const count = schedules.toLocaleString("en");
  const stopped = outcome.found ? "stopped by a violation" : "bounded";
  const bound = exhausted ? "exhausted" : `${stopped} at ${states} states`;
  return `interleavings: ${scenario.name}, ${fault}: ${count} schedules, ${states} states, depth ${depth}, ${ends} ends, ${bound}`;
}

/** The violation with as few steps as can be found, narrated. */
async function told(options: SearchOptions, first: Found): Promise<string> {
  const { found = first } = await search({ ...options, shortest: true, limit: 200_000 });
  const { scenario, fault } = options;
  return [
    ...found.violations.map(({ invariant, what }) => `${invariant}: ${what}`),
    `HOLDPOINT_INTERLEAVING="${scenario.name}, ${fault}: ${found.schedule.join(" ")}"`,
    ...narrate(found.facts),
  ].join("\n");
}

interface Control {
  readonly off: string;
  readonly options: Pick<SearchOptions, "scenario" | "fault" | "adapt" | "shortest">;
}

function controls(): readonly Control[] {
  const scenarioOf = (name: string): Scenario => {
    const claim = CLAIMS.find(({ scenario }) => scenario.name === name);
    if (!claim) throw new Error(`there is no scenario ${name}`);
    return claim.scenario;
  };
  return [
    {
      off: "a header write is conditional on the header as it was read",
      options: { scenario: scenarioOf("enqueue and enqueue"), fault: "no fault", adapt: overwritingHeaders },
    },
    {
      off: "a decided hold is due until its continuation is queued",
      options: { scenario: scenarioOf("a review and two decisions"), fault: "a crash", adapt: forgettingDecisions },
    },
    {
      off: "the same, with a review and a run that comes behind it",
      options: {
        scenario: scenarioOf(
          "two API calls, two workers, two runs, one review that the second finds, claims made at once",
        ),
        fault: "no fault",
        adapt: overwritingHeaders,
        shortest: false,
      },
    },
    {
      off: "the end of a run is conditional on the run as it was read",
      options: {
        scenario: scenarioOf("a repeat under one key"),
        fault: "a takeover",
        adapt: overwritingEnds,
        // Its schedules are too long to be tried by their length.
        shortest: false,
      },
    },
  ];
}

const forgettingDecisions = (deps: Deps): Deps => ({
  ...deps,
  holds: { ...deps.holds, put: (hold, when) => deps.holds.put({ ...hold, followUpDue: false }, when) },
});

/** Whatever stands there is taken for what was read. */
function overwritingHeaders(deps: Deps): Deps {
  const { threads } = deps;
  return {
    ...deps,
    threads: {
      ...threads,
      async put(thread, when) {
        const now = await threads.get(thread);
        return threads.put(thread, now ? { version: now.version } : when);
      },
    },
  };
}

/** A run that ends is put over whatever stands there. */
function overwritingEnds(deps: Deps): Deps {
  const { runs } = deps;
  return {
    ...deps,
    runs: {
      ...runs,
      async put(run, version) {
        const now = isEnded(run.status) ? await runs.get(run, run.runId) : undefined;
        return runs.put(run, now?.version ?? version);
      },
    },
  };
}
