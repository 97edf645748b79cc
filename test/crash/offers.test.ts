/**
 * R7. Everything that is due is seen by three workers at once: each run is taken once. HOLDPOINT_OFFERS chooses how
 * many runs there are.
 */
import { describe, expect, it } from "vitest";
import { fleetEngines } from "../support/fleet.ts";
import { TENANTS, openCrew } from "./crew.ts";
import type { Crew } from "./crew.ts";
import type { Told } from "./evidence.ts";
import { judge } from "./judge.ts";
import { createPatient, patiently } from "./patient.ts";
import { threadNamed } from "./story.ts";
import { factsOf } from "./witness.ts";

const NIGHTLY = process.env["HOLDPOINT_NIGHTLY"] === "1";
const engines = fleetEngines().filter(({ name }) => name !== "dynalite");
/**
 * On all engines together. Ten thousand take minutes, most of them to be accepted and read again one by one: far beyond
 * what one test of `npm test` may take.
 */
const OFFERS = Number(process.env["HOLDPOINT_OFFERS"] ?? (NIGHTLY ? 10_000 : 500));
const WORKERS = 3;
const CLIENTS = 10;
/** No lease runs out here, however much else the machine has to do. */
const LEASE_MS = 60_000;

/** Accepts one run on a thread of its own. */
async function offer(crew: Crew, i: number): Promise<Told> {
  const tenant = TENANTS[i % TENANTS.length] ?? "acme";
  const threadId = threadNamed(`offer ${i}`);
  const { body } = await createPatient({ url: crew.url, headers: crew.headers(tenant) }).send(
    `/threads/${threadId}/runs`,
    {
      key: `${threadId}-run`,
      body: { assistant_id: "walk", input: { name: "offered", steps: 1, pauseMs: 1 }, if_not_exists: "create" },
    },
  );
  const runs = [String(body["run_id"])];
  return { tenant, threadId, runs, decisions: [], effects: [], log: ["offered 1"], ends: ["success"] };
}

describe.each(engines)("runs that are offered to three workers at once, on $name", (engine) => {
  it("are taken once each", { timeout: NIGHTLY ? 1_800_000 : 120_000 }, async () => {
    const backlog = { HOLDPOINT_MAX_TENANT_BACKLOG: "100000", HOLDPOINT_MAX_BACKLOG: "100000" };
    await using crew = await openCrew(engine, { workers: WORKERS, leaseMs: LEASE_MS, apiEnv: backlog });
    const workers = crew.workers();
    await Promise.all(workers.map(({ ready }) => ready));
    // They hold nothing and write nothing yet. When they go on, everything is there at once, for each of them.
    for (const worker of workers) worker.signal("SIGSTOP");
    const numbers = Array.from({ length: Math.ceil(OFFERS / engines.length) }, (_, i) => i).values();
    const told: Told[] = [];
    const client = async (): Promise<void> => {
      for (const i of numbers) told.push(await offer(crew, i));
    };
    await Promise.all(Array.from({ length: CLIENTS }, client));

    for (const worker of workers) worker.signal("SIGCONT");
    const released = (): number => new Set(factsOf(crew.facts(), "release").map(({ thread }) => thread)).size;
    for (let before = released(); before < told.length; before = released()) {
      const reached = before;
      await patiently("another run to end", () => released() > reached || undefined);
    }
    const claims = factsOf(crew.facts(), "claim");
    const { violations, evidence } = await judge(crew, {
      test: "R7 duplicate offers",
      engine: engine.name,
      seed: 0,
      size: `${OFFERS} runs on all engines, together`,
      told,
      counts: { claims: claims.length, "claims that came too late": factsOf(crew.facts(), "outrun").length },
      command: `HOLDPOINT_OFFERS=${OFFERS} npx vitest run test/crash/offers.test.ts`,
    });
    expect(violations).toEqual([]);
    expect(claims).toHaveLength(told.length);
    expect(evidence.threads.flatMap(({ runs }) => runs).every(({ deliveries }) => deliveries === 1)).toBe(true);
    expect(new Set(claims.map(({ pid }) => pid)).size).toBe(WORKERS);
  });
});
