/**
 * R2. Four workers, of which one is killed with SIGKILL every one to two seconds, while clients start run after run. A
 * machine that is slow is killed at less often: between two kills lie steps, whose number is drawn as well. HOLDPOINT_KILL_RUNS, HOLDPOINT_KILLS and HOLDPOINT_KILL_SEED choose how many and which.
 */
import { randomInt } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { createRandom } from "../sim/random.ts";
import { fleetEngines } from "../support/fleet.ts";
import { TENANTS, openCrew } from "./crew.ts";
import type { Crew, Tenant } from "./crew.ts";
import type { Told } from "./evidence.ts";
import { judge } from "./judge.ts";
import { patiently } from "./patient.ts";
import { threadNamed } from "./story.ts";
import { RUNS_PER_THREAD, STEPS, walkTwice } from "./walking.ts";
import { factsOf } from "./witness.ts";

const NIGHTLY = process.env["HOLDPOINT_NIGHTLY"] === "1";
const engines = fleetEngines().filter(({ name }) => name !== "dynalite");
/** On all engines together. */
const RUNS = Number(process.env["HOLDPOINT_KILL_RUNS"] ?? (NIGHTLY ? 2_000 : 200));
const KILLS = Number(process.env["HOLDPOINT_KILLS"] ?? (NIGHTLY ? 500 : 20));
const SEED = Number(process.env["HOLDPOINT_KILL_SEED"] ?? randomInt(2 ** 31));
const WORKERS = 4;
const LANES = Array.from({ length: 3 }, () => TENANTS).flat();
/** Between two kills at least, and up to twice as many: so that the last kill comes about with the last run. */
const LEAST_STEPS = Math.floor((2 * RUNS * STEPS) / (3 * KILLS));
/** Long enough that none runs out because the machine has too much to do. */
const LEASE_MS = 3_000;
const MOST_AGAIN = 0.05;

const COMMAND = `HOLDPOINT_KILL_SEED=${SEED} HOLDPOINT_KILL_RUNS=${RUNS} HOLDPOINT_KILLS=${KILLS} npx vitest run test/crash/random-kills.test.ts`;
// A test that fails, or hangs, has said how to see it again.
console.log(COMMAND);

const stepsOf = (crew: Crew): number => factsOf(crew.facts(), "step").length;

describe.each(engines)("kill -9 of one of four workers every one to two seconds, on $name", (engine) => {
  it(
    "loses no run, parks none, does nothing twice and repeats few steps",
    { timeout: NIGHTLY ? 3_600_000 : 480_000 },
    async () => {
      await using crew = await openCrew(engine, { workers: WORKERS, leaseMs: LEASE_MS });
      const random = createRandom(SEED);
      const [runs, kills] = [RUNS, KILLS].map((all) => Math.ceil(all / engines.length)) as [number, number];
      const told: Told[] = [];
      let [killed, started] = [0, 0];
      const isOver = (): boolean => started * RUNS_PER_THREAD >= runs && killed >= kills;
      const lane = async (tenant: Tenant): Promise<void> => {
        while (!isOver()) told.push(await walkTwice(crew, tenant, threadNamed(`${SEED} walk ${++started}`)));
      };
      const walking = Promise.all(LANES.map(lane));
      walking.catch(() => undefined);
      let next = 0;
      while (!isOver()) {
        await sleep(1000 + random.int(1000));
        next += LEAST_STEPS + random.int(LEAST_STEPS);
        await patiently("the steps before the next kill", () => stepsOf(crew) >= next || undefined);
        await crew.kill(random.pick(crew.workers()));
        next = stepsOf(crew);
        killed += 1;
      }
      await walking;

      const { violations, proof } = await judge(crew, {
        test: "R2 random kills",
        engine: engine.name,
        seed: SEED,
        size: `${RUNS} runs and ${KILLS} kills on all engines, together`,
        told,
        stepsNeeded: told.length * RUNS_PER_THREAD * STEPS,
        command: COMMAND,
      });
      expect(violations).toEqual([]);
      expect(proof.steps?.again).toBeLessThanOrEqual(MOST_AGAIN * (proof.steps?.needed ?? 0));
    },
  );
});
