/**
 * Real processes and real signals: `kill -9` of the worker and of the API at random moments of the story. Set
 * HOLDPOINT_CRASH_ROUNDS for more of them, HOLDPOINT_CRASH_SEED to see the same moments again.
 */
import { randomInt } from "node:crypto";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { PROJECT, startProcess } from "../../scripts/demo/process.ts";
import type { Service } from "../../scripts/demo/service.ts";
import { fleetEngines } from "../support/fleet.ts";
import type { Fleet } from "../support/fleet.ts";
import { SHIPPED_GRAPHS } from "../support/process.ts";
import { createRandom } from "../sim/random.ts";
import { LEASE_MS } from "./crew.ts";
import { createCustomer } from "./customer.ts";
import type { Acknowledged } from "./customer.ts";
import { checkDesk } from "./desk.ts";
import { gather } from "./evidence.ts";
import type { Evidence } from "./evidence.ts";
import { lostRuns, violationsOf } from "./invariants.ts";
import { openLook } from "./look.ts";
import { report } from "./report.ts";

const ROUNDS = Number(process.env["HOLDPOINT_CRASH_ROUNDS"] ?? 50);
const SEED = Number(process.env["HOLDPOINT_CRASH_SEED"] ?? randomInt(2 ** 31));
const CUSTOMERS = 2;
const ROUND_MS = 60_000;

/** The processes of one test, of which one role is killed again and again. */
class Victims {
  readonly #fleet: Fleet;
  readonly #role: "api" | "worker";
  #api: Service | undefined;
  #worker: Service | undefined;
  url = "";

  constructor(fleet: Fleet, role: "api" | "worker") {
    this.#fleet = fleet;
    this.#role = role;
  }

  async start(): Promise<void> {
    const { service, url } = await this.#fleet.startApi();
    this.#api = service;
    this.url = url;
    this.#worker = this.#fleet.start({
      role: "worker",
      flags: ["--documents", join(PROJECT, "graphs/policy-desk/documents")],
    });
    await this.#worker.line((line) => (line.includes('"documents ingested"') ? true : undefined));
  }

  /** Kills the process of the role and starts another in its place, without waiting for it. */
  async kill(): Promise<void> {
    if (this.#role === "worker") {
      await this.#worker?.stop("SIGKILL");
      this.#worker = this.#fleet.start({ role: "worker" });
    } else {
      await this.#api?.stop("SIGKILL");
      const port = new URL(this.url).port;
      this.#api = this.#fleet.start({ role: "api", flags: ["--port", port] });
    }
  }
}

const engines = fleetEngines().filter(({ name }) => name !== "dynalite");

const COMMAND = `HOLDPOINT_CRASH_SEED=${SEED} HOLDPOINT_CRASH_ROUNDS=${ROUNDS} HOLDPOINT_NIGHTLY=1 npx vitest run test/crash/kills.nightly.test.ts`;
// A test that fails, or hangs, has said how to see it again.
console.log(COMMAND);

describe.each(engines)("kill -9 at random moments, on $name", (engine) => {
  it.each(["worker", "api"] as const)(
    "of the %s: nothing accepted is lost, nothing is paid twice",
    { timeout: 120_000 + ROUNDS * ROUND_MS },
    async (role) => {
      const seed = SEED + (role === "api" ? 1 : 0);
      const random = createRandom(seed);
      await using fleet = await engine.open({ HOLDPOINT_CONFIG: SHIPPED_GRAPHS, HOLDPOINT_LEASE_MS: String(LEASE_MS) });
      await using ledger = startProcess({
        name: "the ledger",
        args: [join(PROJECT, "scripts/ledger.ts"), "--file", join(fleet.dataDir, "ledger.db")],
      });
      const ledgerUrl = await ledger.line((line) => /http:\/\/\S+/.exec(line)?.[0]);
      const victims = new Victims(withLedger(fleet, ledgerUrl), role);
      await victims.start();

      const all: Acknowledged[] = [];
      let storyMs = 1_000;
      for (let round = 0; round < ROUNDS; round++) {
        const began = performance.now();
        const stories = Array.from({ length: CUSTOMERS }, (_, i) => {
          const name = `${seed}-${round}-${i}`;
          return createCustomer({
            name,
            firstOrder: 1000 + 10 * (round * CUSTOMERS + i),
            url: () => victims.url,
          }).story();
        });
        const done = Promise.all(stories);
        // The kill is awaited first; a story that fails meanwhile is reported below.
        done.catch(() => undefined);
        await new Promise((resolve) => setTimeout(resolve, random.next() * storyMs));
        await victims.kill();
        all.push(...(await done));
        storyMs = Math.min(storyMs, performance.now() - began);
      }
      const checked = await checkDesk(victims.url, ledgerUrl, all);
      const evidence = await evidenceOf(fleet, all);
      const violations = violationsOf(evidence);
      report({
        test: `R2 kills of the ${role} at the policy desk`,
        engine: engine.name,
        seed: SEED,
        size: `${ROUNDS} rounds`,
        runs: checked.runs,
        faults: ROUNDS,
        lost: lostRuns(evidence),
        doubled: checked.doubled,
        violations: violations.length,
        counts: { payments: checked.payments, "payments asked for more than once": checked.askedAgain },
        command: COMMAND,
      });
      expect(violations).toEqual([]);
      expect(all).toHaveLength(ROUNDS * CUSTOMERS);
    },
  );
});

async function evidenceOf(fleet: Fleet, all: readonly Acknowledged[]): Promise<Evidence> {
  await using look = await openLook(fleet.place);
  const told = all.map(({ threadId, runs, decisions }) => ({
    tenant: "default",
    threadId,
    runs: runs.map(({ runId }) => runId),
    decisions: decisions.map(({ reviewId, winner, continuation }) => ({ reviewId, type: winner, continuation })),
    effects: [],
  }));
  return await gather({ look, told, leaseMs: LEASE_MS });
}

const withLedger = (fleet: Fleet, url: string): Fleet => {
  const env = { HOLDPOINT_LEDGER_URL: url };
  return {
    ...fleet,
    start: (options) => fleet.start({ ...options, env: { ...env, ...options.env } }),
    startApi: (options = {}) => fleet.startApi({ ...options, env: { ...env, ...options.env } }),
  };
};
