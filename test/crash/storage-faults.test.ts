/**
 * R4. An API process and two workers on a table whose calls time out, are throttled, and leave batches half done, while
 * customers tell their stories. HOLDPOINT_FAULT_RUNS and HOLDPOINT_FAULT_SEED choose how many runs and which faults.
 */
import { randomInt } from "node:crypto";
import { describe, expect, it } from "vitest";
import { fleetEngines } from "../support/fleet.ts";
import type { FleetEngine } from "../support/fleet.ts";
import { TENANTS, openCrew } from "./crew.ts";
import type { Crew, Tenant } from "./crew.ts";
import type { Told } from "./evidence.ts";
import { FAULTS_VARIABLE, RATES, beginFaults, throughFaults } from "./faults.ts";
import { judge } from "./judge.ts";
import { tell, threadNamed } from "./story.ts";
import { factsOf } from "./witness.ts";

const NIGHTLY = process.env["HOLDPOINT_NIGHTLY"] === "1";
const engines = fleetEngines().filter(({ name }) => name !== "dynalite");
/** On each engine; on DynamoDB Local, whose calls take their time to time out, fewer unless it is asked for. */
const RUNS = Number(process.env["HOLDPOINT_FAULT_RUNS"] ?? (NIGHTLY ? 1_000 : 100));
const RUNS_ON_DYNAMO = Number(process.env["HOLDPOINT_FAULT_RUNS"] ?? (NIGHTLY ? 1_000 : 30));
const SEED = Number(process.env["HOLDPOINT_FAULT_SEED"] ?? randomInt(2 ** 31));
/** The first, and one for each of its two decisions. */
const RUNS_OF_STORY = 3;
/** With a value that is too long for one item: it is put as a batch. */
const STORY = { ballastBytes: 220 * 1024, asksAgain: true } as const;
const LANES = [...TENANTS, ...TENANTS, ...TENANTS];
/** Longer than a call takes to time out on DynamoDB, as in production. On SQLite calls fail at once. */
const LEASES_MS = { dynamo: 8_000, sqlite: 2_500 } as const;

const isDynamo = ({ name }: FleetEngine): boolean => name !== "one SQLite file";
const runsOn = (engine: FleetEngine): number => (isDynamo(engine) ? RUNS_ON_DYNAMO : RUNS);
const commandOf = (engine: FleetEngine): string =>
  `HOLDPOINT_FAULT_SEED=${SEED} HOLDPOINT_FAULT_RUNS=${runsOn(engine)} npx vitest run test/crash/storage-faults.test.ts -t "${engine.name}"`;
// A test that fails, or hangs, has said how to see it again.
for (const engine of engines) console.log(commandOf(engine));

/** On SQLite each process fails its own calls, by a seed of its own: whoever comes in its place has another. */
const faultsOf = (process: string) => ({ [FAULTS_VARIABLE]: `${SEED} ${process}` });

const openFaulty = (engine: FleetEngine): Promise<Crew> =>
  isDynamo(engine)
    ? openCrew(throughFaults(engine, SEED), { workers: 2, leaseMs: LEASES_MS.dynamo })
    : openCrew(engine, {
        workers: 2,
        leaseMs: LEASES_MS.sqlite,
        apiEnv: faultsOf("api"),
        workerEnv: (n) => faultsOf(`worker ${n}`),
      });

describe.each(engines)("a table whose calls fail in every way, on $name", (engine) => {
  it(
    "loses nothing, does nothing twice, and surprises nobody",
    { timeout: NIGHTLY ? 3_600_000 : 480_000 },
    async () => {
      await using crew = await openFaulty(engine);
      await Promise.all(crew.workers().map(({ ready }) => ready));
      beginFaults(crew.folder);
      const told: Told[] = [];
      let stories = 0;
      const lane = async (tenant: Tenant): Promise<void> => {
        while (stories * RUNS_OF_STORY < runsOn(engine))
          told.push(await tell(crew, { ...STORY, tenant, threadId: threadNamed(`${SEED} faults ${++stories}`) }));
      };
      await Promise.all(LANES.map(lane));

      const faults = factsOf(crew.facts(), "fault");
      const counts = Object.fromEntries(
        Object.keys(RATES).map((kind) => [kind, faults.filter((fault) => fault.kind === kind).length]),
      );
      const { violations } = await judge(crew, {
        test: "R4 storage faults",
        engine: engine.name,
        seed: SEED,
        size: `${runsOn(engine)} runs`,
        told,
        counts,
        command: commandOf(engine),
      });
      expect(violations).toEqual([]);
      expect(crew.lines().filter((line) => line.includes("nobody handled"))).toEqual([]);
      expect(crew.deaths).toBe(0);
      expect(Object.entries(counts).filter(([, count]) => count === 0)).toEqual([]);
    },
  );
});
