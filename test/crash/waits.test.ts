/**
 * Timers, expiries and callbacks. A process is killed with SIGKILL before and after its storage calls in a story that
 * waits for a timer, for a review that expires, for a callback that is given up and for one that is answered: none is
 * lost, none fires twice, and an answer that was acknowledged is applied once. One point of so many, all of them with
 * HOLDPOINT_NIGHTLY=1; HOLDPOINT_WAITS_EVERY and HOLDPOINT_WAITS_SEED choose others.
 */
import { randomInt } from "node:crypto";
import { describe, expect, it } from "vitest";
import { fleetEngines } from "../support/fleet.ts";
import { TENANTS, openCrew } from "./crew.ts";
import type { Crew, Tenant } from "./crew.ts";
import type { Told } from "./evidence.ts";
import type { Violation } from "./invariants.ts";
import { judge } from "./judge.ts";
import { placeOrder } from "./orders.ts";
import type { Order, Role } from "./orders.ts";
import { threadNamed } from "./story.ts";
import { waitThrough } from "./waiting.ts";
import { factsOf } from "./witness.ts";

const NIGHTLY = process.env["HOLDPOINT_NIGHTLY"] === "1";
const EVERY = Number(process.env["HOLDPOINT_WAITS_EVERY"] ?? (NIGHTLY ? 1 : 40));
const SEED = Number(process.env["HOLDPOINT_WAITS_SEED"] ?? randomInt(2 ** 31));
const LANES = [...TENANTS, ...TENANTS];
const WORKERS = LANES.length + 1;
/** A point beyond the end of its story is tried again so much nearer to the beginning. */
const EARLIER = 0.8;

const engines = fleetEngines().filter(({ name }) => name !== "dynalite");
const COMMAND = `HOLDPOINT_WAITS_SEED=${SEED} HOLDPOINT_WAITS_EVERY=${EVERY} npx vitest run test/crash/waits.test.ts`;
console.log(COMMAND);

type Point = Extract<Order, { readonly do: "kill" }>;

function pointsOf(role: Role, calls: number): readonly Point[] {
  const all = Array.from({ length: calls }, (_, i) => i + 1).flatMap((call) =>
    (["before", "after"] as const).map((when): Point => ({ do: "kill", role, call, when })),
  );
  return all.filter((_, i) => i % EVERY === SEED % EVERY);
}

describe.each(engines)("kill -9 around what waits, on $name", (engine) => {
  it(
    "loses no timer, expiry or callback, and lets none come twice",
    { timeout: NIGHTLY ? 3_600_000 : 480_000 },
    async () => {
      await using crew = await openCrew(engine, { workers: WORKERS, concurrency: 1 });
      const told: Told[] = [];
      const found: Violation[] = [];
      const play = async (tenant: Tenant, name: string, order: Order): Promise<string> => {
        const threadId = threadNamed(`${SEED} waits ${name}`);
        placeOrder(crew.folder, threadId, order);
        const waited = await waitThrough(crew, tenant, threadId);
        told.push(waited.told);
        found.push(...waited.found);
        return threadId;
      };
      await play("acme", "undisturbed", { do: "count" });
      const points = (["worker", "api"] as const).flatMap((role) => pointsOf(role, callsOf(crew, role)));
      const planned = [...points];
      let stories = 0;
      const lane = async (tenant: Tenant): Promise<void> => {
        for (let point = planned.shift(); point; point = planned.shift()) {
          const threadId = await play(tenant, `story ${++stories}`, point);
          const wasKilled = factsOf(crew.facts(), "killed").some(({ thread }) => thread === threadId);
          if (!wasKilled) planned.push({ ...point, call: Math.ceil(point.call * EARLIER) });
        }
      };
      await Promise.all(LANES.map(lane));

      const { violations, facts } = await judge(crew, {
        test: "R12 timers and callbacks",
        engine: engine.name,
        seed: SEED,
        size: EVERY === 1 ? "every point" : `one of ${EVERY} points`,
        told,
        found,
        counts: { points: points.length, waits: told.length * 4 },
        command: COMMAND,
      });
      expect(violations).toEqual([]);
      expect(factsOf(facts, "killed")).toHaveLength(points.length);
    },
  );
});

const callsOf = (crew: Crew, role: Role): number =>
  factsOf(crew.facts(), "call").filter((call) => call.role === role).length;
