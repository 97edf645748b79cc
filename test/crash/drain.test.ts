/**
 * R11 as a test: both workers of a fleet are replaced under load, as Amazon ECS replaces tasks: another one is ready first,
 * then SIGTERM. `npm run bench -- drain` measures how long it takes. HOLDPOINT_DRAIN_ROUNDS says how often.
 */
import { describe, expect, it } from "vitest";
import { fleetEngines } from "../support/fleet.ts";
import { TENANTS, openCrew } from "./crew.ts";
import type { Crew, Tenant } from "./crew.ts";
import type { Told } from "./evidence.ts";
import { judge } from "./judge.ts";
import type { Judgement } from "./judge.ts";
import { openLedgers } from "./ledgers.ts";
import type { Ledgers } from "./ledgers.ts";
import { patiently } from "./patient.ts";
import { payOnce } from "./paying.ts";
import type { Paid } from "./paying.ts";
import { threadNamed } from "./story.ts";
import { RUNS_PER_THREAD, STEPS, walkTwice } from "./walking.ts";
import { factsOf } from "./witness.ts";

const ROUNDS = Number(process.env["HOLDPOINT_DRAIN_ROUNDS"] ?? (process.env["HOLDPOINT_NIGHTLY"] === "1" ? 10 : 1));
const WORKERS = 2;
const LANES = [...TENANTS, ...TENANTS, ...TENANTS];
/** Between two replacements, so that each worker is in the middle of something. */
const STEPS_BETWEEN = 30;
const SEED = 0;
const COMMAND = `HOLDPOINT_DRAIN_ROUNDS=${ROUNDS} npx vitest run test/crash/drain.test.ts`;
const engines = fleetEngines().filter(({ name }) => name !== "dynalite");

const stepsOf = (crew: Crew): number => factsOf(crew.facts(), "step").length;

async function moreSteps(crew: Crew): Promise<void> {
  const next = stepsOf(crew) + STEPS_BETWEEN;
  await patiently("steps before the next replacement", () => stepsOf(crew) >= next || undefined);
}

interface Seen {
  readonly told: readonly Told[];
  readonly paid: readonly Paid[];
}

/** Clients that ask without end, walkers and payers in turn, until `replace` is through. */
async function underLoad(crew: Crew, ledgers: Ledgers, replace: () => Promise<void>): Promise<Seen> {
  const told: Told[] = [];
  const paid: Paid[] = [];
  const over = new AbortController();
  let started = 0;
  const lane = async (tenant: Tenant): Promise<void> => {
    while (!over.signal.aborted) {
      const name = `drain ${(started += 1)}`;
      told.push(await walkTwice(crew, tenant, threadNamed(`${name} walks`)));
      // At a ledger that pays whatever it is asked: nothing but the journal keeps it from being paid twice.
      paid.push(await payOnce(crew, ledgers, { tenant, name: `${name} pays`, policy: "unsafe", crash: null }));
    }
  };
  const asking = Promise.all(LANES.map(lane));
  asking.catch(() => undefined);
  try {
    await replace();
  } finally {
    over.abort();
  }
  await asking;
  return { told, paid };
}

const judged = (
  crew: Crew,
  { told }: Seen,
  about: { readonly test: string; readonly engine: string; readonly faults: number },
): Promise<Judgement> =>
  judge(crew, {
    ...about,
    seed: SEED,
    told,
    // Payers tell of none: what they did is asked of the ledger.
    stepsNeeded: told.length * RUNS_PER_THREAD * STEPS,
    command: COMMAND,
  });

describe.each(engines)("two workers that are replaced under load, on $name", (engine) => {
  it(
    "end with code 0; no run is lost, and no step and no payment is made twice",
    { timeout: 120_000 * (1 + ROUNDS) },
    async () => {
      await using ledgers = await openLedgers();
      // Of leases that are longer than the test nobody waits for the end: what a worker held was given up by it.
      await using crew = await openCrew(engine, { workers: WORKERS, leaseMs: 30_000, env: ledgers.env });
      await Promise.all(crew.workers().map(({ ready }) => ready));
      const exits: (number | null)[] = [];
      const seen = await underLoad(crew, ledgers, async () => {
        for (let n = 0; n < ROUNDS * WORKERS; n++) {
          await moreSteps(crew);
          const [oldest] = crew.workers();
          if (oldest) exits.push((await crew.replace(oldest)).code);
        }
        await moreSteps(crew);
      });
      const { violations, proof } = await judged(crew, seen, {
        test: "R11 workers replaced under load",
        engine: engine.name,
        faults: exits.length,
      });
      const payments = await ledgers.payments();
      expect(exits).toEqual(Array.from({ length: ROUNDS * WORKERS }, () => 0));
      expect(violations).toEqual([]);
      expect(proof).toMatchObject({ lost: 0, doubled: 0 });
      expect(proof.steps?.again).toBe(0);
      expect(seen.paid.map(({ ends, looked }) => [ends.map(({ status }) => status), looked])).toEqual(
        seen.paid.map(() => [["success"], []]),
      );
      expect(payments.map(({ order }) => order).toSorted()).toEqual(seen.paid.map(({ order }) => order).toSorted());
    },
  );
});

describe("a worker that is killed in its place (negative control)", () => {
  it("leaves steps that are executed again", { timeout: 120_000 }, async () => {
    const [engine] = engines;
    if (!engine) throw new Error("there is no engine");
    await using ledgers = await openLedgers();
    await using crew = await openCrew(engine, { workers: WORKERS, leaseMs: 2_500, env: ledgers.env });
    const seen = await underLoad(crew, ledgers, async () => {
      await moreSteps(crew);
      for (const worker of crew.workers()) await crew.kill(worker);
      await moreSteps(crew);
    });
    const again = stepsOf(crew) - seen.told.length * RUNS_PER_THREAD * STEPS;
    expect(again).toBeGreaterThan(0);
  });
});
