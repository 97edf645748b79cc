/**
 * R1. A process is killed with SIGKILL before and after each of its storage calls, in a story with everything that
 * graphs do. Every tenth point, all of them with HOLDPOINT_NIGHTLY=1. HOLDPOINT_SWEEP_EVERY and HOLDPOINT_SWEEP_SEED
 * choose others.
 */
import { randomInt } from "node:crypto";
import { describe, expect, it } from "vitest";
import { fleetEngines } from "../support/fleet.ts";
import { TENANTS, openCrew } from "./crew.ts";
import type { Crew, Tenant } from "./crew.ts";
import type { Told } from "./evidence.ts";
import { STEPS } from "./graphs/reference.ts";
import { judge } from "./judge.ts";
import { placeOrder } from "./orders.ts";
import type { Order, Role } from "./orders.ts";
import { tell, threadNamed } from "./story.ts";
import { factsOf } from "./witness.ts";

const NIGHTLY = process.env["HOLDPOINT_NIGHTLY"] === "1";
const EVERY = Number(process.env["HOLDPOINT_SWEEP_EVERY"] ?? (NIGHTLY ? 1 : 10));
const SEED = Number(process.env["HOLDPOINT_SWEEP_SEED"] ?? randomInt(2 ** 31));
/** Two stories of each tenant at a time, and workers to spare. */
const LANES = [...TENANTS, ...TENANTS];
const WORKERS = LANES.length + 2;
/** A point beyond the end of its story is tried again so much nearer to the beginning. */
const EARLIER = 0.8;

const engines = fleetEngines().filter(({ name }) => name !== "dynalite");

/** Plays a story with something ordered to happen in it. */
function play(crew: Crew, tenant: Tenant, name: string, order: Order): Promise<Told> {
  const threadId = threadNamed(`${SEED} ${name}`);
  placeOrder(crew.folder, threadId, order);
  return tell(crew, { tenant, threadId });
}

/** How many calls each role makes in a story in which nothing happens. */
async function count(crew: Crew): Promise<{ readonly told: Told; readonly calls: Readonly<Record<Role, number>> }> {
  const told = await play(crew, "acme", "undisturbed", { do: "count" });
  const calls = factsOf(crew.facts(), "call");
  const of = (role: Role): number => calls.filter((call) => call.role === role).length;
  return { told, calls: { api: of("api"), worker: of("worker") } };
}

type Point = Extract<Order, { readonly do: "kill" }>;

/** Every n-th point, beginning where the seed says. */
function pointsOf(role: Role, calls: number): readonly Point[] {
  const all = Array.from({ length: calls }, (_, i) => i + 1).flatMap((call) =>
    (["before", "after"] as const).map((when): Point => ({ do: "kill", role, call, when })),
  );
  return all.filter((_, i) => i % EVERY === SEED % EVERY);
}

const COMMAND = `HOLDPOINT_SWEEP_SEED=${SEED} HOLDPOINT_SWEEP_EVERY=${EVERY} npx vitest run test/crash/sweep.test.ts`;
// A test that fails, or hangs, has said how to see it again.
console.log(COMMAND);

describe.each(engines)("kill -9 before and after storage calls, on $name", (engine) => {
  it(
    "loses nothing and doubles nothing, whichever call it is",
    { timeout: NIGHTLY ? 3_600_000 : 480_000 },
    async () => {
      await using crew = await openCrew(engine, { workers: WORKERS, concurrency: 1 });
      const { told: first, calls } = await count(crew);
      const points = [...pointsOf("worker", calls.worker), ...pointsOf("api", calls.api)];
      const planned = [...points];
      const told = [first];
      let stories = 0;
      const lane = async (tenant: Tenant): Promise<void> => {
        for (let point = planned.shift(); point; point = planned.shift()) {
          const story = await play(crew, tenant, `story ${++stories}`, point);
          told.push(story);
          const wasKilled = factsOf(crew.facts(), "killed").some(({ thread }) => thread === story.threadId);
          // Stories differ by a few calls: this one was over before.
          if (!wasKilled) planned.push({ ...point, call: Math.ceil(point.call * EARLIER) });
        }
      };
      await Promise.all(LANES.map(lane));

      const { violations, facts } = await judge(crew, {
        test: "R1 crash points",
        engine: engine.name,
        seed: SEED,
        size: EVERY === 1 ? "every point" : `one of ${EVERY} points`,
        told,
        stepsNeeded: told.length * STEPS.length,
        counts: { "calls of a worker": calls.worker, "calls of the api": calls.api, points: points.length },
        command: COMMAND,
      });
      expect(violations).toEqual([]);
      expect(factsOf(facts, "killed")).toHaveLength(points.length);
    },
  );
});
