/**
 * R8. Graphs that exit, run out of memory, block the event loop or throw in a timer, among neighbours that do none of
 * it. Whoever restarts dead workers also kills those that stand still, as a health check does.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { fleetEngines } from "../support/fleet.ts";
import { armedEnv } from "./armed.ts";
import { TENANTS, openCrew } from "./crew.ts";
import type { Crew, Tenant } from "./crew.ts";
import type { Told } from "./evidence.ts";
import { SUSPECT_STRIKES } from "./invariants.ts";
import type { Violation } from "./invariants.ts";
import { judge } from "./judge.ts";
import { createPatient } from "./patient.ts";
import { threadNamed } from "./story.ts";
import { endOf, start, walkTwice } from "./walking.ts";
import { factsOf } from "./witness.ts";
import type { Fact } from "./witness.ts";

const NIGHTLY = process.env["HOLDPOINT_NIGHTLY"] === "1";
/** What a graph does to its process is the same on every table: on DynamoDB Local at night. */
const engines = fleetEngines().filter(({ name }) => (NIGHTLY ? name !== "dynalite" : name.includes("SQLite")));
const ROUNDS = Number(process.env["HOLDPOINT_POISON_ROUNDS"] ?? (NIGHTLY ? 20 : 1));
const WORKERS = 4;
/** Long enough that no innocent worker is taken for one that stands still, on a machine on which others spin. */
const LEASE_MS = 3_000;
const NEIGHBOURS = 6;
const LOOK_MS = 50;
/** How often each may be executed, and how it ends. */
const POISONS = { exits: "parked", hoards: "parked", spins: "parked", throws: "error" } as const;
const MOST_EXECUTIONS = 5;
/** Room enough for all that is not hoarded, which is about a third of it, and filled by a hoard within moments. */
const HEAP_MB = 192;

/** Kills whoever stands still: its threads were taken from it while it is alive. Until it is disposed. */
function healthCheck(crew: Crew): AsyncDisposable {
  const over = new AbortController();
  const looking = (async () => {
    for (; !over.signal.aborted; await sleep(LOOK_MS)) {
      const taken = takenFrom(crew.facts());
      for (const worker of crew.workers()) if (taken.has(worker.pid)) await crew.kill(worker);
    }
  })();
  return {
    async [Symbol.asyncDispose]() {
      over.abort();
      await looking;
    },
  };
}

/** Processes from which a thread was taken that they had not given up. */
function takenFrom(facts: readonly Fact[]): ReadonlySet<number> {
  const holders = new Map<string, number>();
  const taken = new Set<number>();
  for (const fact of facts) {
    if (fact.is === "release") holders.delete(fact.thread);
    if (fact.is !== "claim") continue;
    const before = holders.get(fact.thread);
    if (before !== undefined && before !== fact.pid) taken.add(before);
    holders.set(fact.thread, fact.pid);
  }
  return taken;
}

/**
 * Threads that the process of a fact held when it happened. Where a lease was lost to lateness nothing is given back, so
 * only what was taken or renewed within two thirds of a lease counts: longer than that no holder believes in it itself. Nor
 * does what somebody else was taking by then: the old holder may hear of it before the new one has noted it.
 */
function heldAt(facts: readonly Fact[], moment: Fact): readonly string[] {
  const held = new Map<string, { readonly pid: number; readonly sinceMs: number }>();
  for (const fact of facts.slice(0, facts.indexOf(moment) + 1)) {
    if (fact.is === "claim") held.set(fact.thread, { pid: fact.pid, sinceMs: fact.atMs });
    if (fact.is === "beat") held.set(fact.thread, { pid: fact.pid, sinceMs: fact.sentMs });
    if (fact.is === "release") held.delete(fact.thread);
  }
  const isBeingTaken = (thread: string, sinceMs: number): boolean =>
    factsOf(facts, "claim").some(
      (claim) =>
        claim.thread === thread && claim.pid !== moment.pid && claim.atMs > sinceMs && claim.sentMs < moment.atMs,
    );
  return [...held].flatMap(([thread, { pid, sinceMs }]) =>
    pid === moment.pid && moment.atMs - sinceMs < (LEASE_MS * 2) / 3 && !isBeingTaken(thread, sinceMs) ? [thread] : [],
  );
}

interface Drunk extends Told {
  readonly graph: keyof typeof POISONS;
  readonly error: string;
  readonly wireStatus: unknown;
}

async function drink(crew: Crew, graph: keyof typeof POISONS, round: number): Promise<Drunk> {
  const named = { tenant: "acme" as const, threadId: threadNamed(`${graph} ${round}`) };
  const runId = await start(crew, named, { graph, name: graph, input: {} });
  const run = await endOf(crew, named, runId);
  const client = createPatient({ url: crew.url, headers: crew.headers("acme") });
  const { body } = await client.send(`/threads/${named.threadId}/runs/${runId}`);
  return {
    ...named,
    runs: [runId],
    decisions: [],
    effects: [],
    ends: [POISONS[graph]],
    graph,
    error: `${run.error?.name}: ${run.error?.message}`,
    wireStatus: body["status"],
  };
}

describe.each(engines)("graphs that take their worker with them, on $name", (engine) => {
  it(
    "are parked after five deliveries, alone from the third, and harm no neighbour",
    { timeout: 60_000 + ROUNDS * 120_000 },
    async () => {
      const memory = { NODE_OPTIONS: `${armedEnv("")["NODE_OPTIONS"]} --max-old-space-size=${HEAP_MB}` };
      await using crew = await openCrew(engine, {
        workers: WORKERS,
        leaseMs: LEASE_MS,
        workerEnv: memory,
      });
      await using _ = healthCheck(crew);
      const told: Told[] = [];
      const drinking = { rounds: 0 };
      const drunk: Drunk[] = [];
      let walks = 0;
      for (let round = 0; round < ROUNDS; round++) {
        const neighbour = async (tenant: Tenant): Promise<void> => {
          do told.push(await walkTwice(crew, tenant, threadNamed(`neighbour ${++walks}`)));
          while (drinking.rounds === round);
        };
        const neighbours = Promise.all(
          Array.from({ length: NEIGHBOURS }, (_, i) => neighbour(TENANTS[i % TENANTS.length] ?? "acme")),
        );
        neighbours.catch(() => undefined);
        const graphs = ["exits", "hoards", "throws", "spins"] as const;
        if (round % 2 === 0) for (const graph of graphs) drunk.push(await drink(crew, graph, round));
        else drunk.push(...(await Promise.all(graphs.map((graph) => drink(crew, graph, round)))));
        drinking.rounds += 1;
        await neighbours;
      }

      const { violations } = await judge(crew, {
        test: "R8 poison",
        engine: engine.name,
        seed: 0,
        size: `${ROUNDS} ${ROUNDS === 1 ? "round" : "rounds"} of ${Object.keys(POISONS).length} poisons`,
        told: [...told, ...drunk],
        found: [...executedTooOften(crew.facts(), drunk), ...inCompany(crew.facts())],
        faults: crew.deaths,
        counts: {
          neighbours: told.length,
          executions: executionsOf(crew.facts(), drunk).length,
        },
        command: `HOLDPOINT_POISON_ROUNDS=${ROUNDS} npx vitest run test/crash/poison.test.ts`,
      });
      expect(violations).toEqual([]);
      expect(drunk.map(({ graph, wireStatus }) => ({ graph, wireStatus }))).toEqual(
        drunk.map(({ graph }) => ({ graph, wireStatus: "error" })),
      );
      for (const { graph, error } of drunk)
        expect(error).toMatch(graph === "throws" ? /thrown in a timer/ : /^poison: 5 deliveries in a row/);
    },
  );
});

function executionsOf(facts: readonly Fact[], drunk: readonly Told[]) {
  const threads = new Set(drunk.map(({ threadId }) => threadId));
  return factsOf(facts, "step").filter(({ thread }) => threads.has(thread));
}

/** Poison that was executed more often than it may be. */
function executedTooOften(facts: readonly Fact[], drunk: readonly Drunk[]): readonly Violation[] {
  const invariant = `poison is executed ${MOST_EXECUTIONS} times at most`;
  return drunk.flatMap((one) => {
    const { length } = executionsOf(facts, [one]);
    return length > MOST_EXECUTIONS ? [{ invariant, what: `${one.graph} was executed ${length} times` }] : [];
  });
}

/** Suspects that were executed and shared their worker. The fifth strike only parks. */
function inCompany(facts: readonly Fact[]): readonly Violation[] {
  const invariant = "a suspect has a worker for itself";
  return factsOf(facts, "claim").flatMap((claim) => {
    const held = claim.strikes < SUSPECT_STRIKES || claim.strikes >= MOST_EXECUTIONS ? 1 : heldAt(facts, claim).length;
    return held > 1 ? [{ invariant, what: `${claim.thread} with ${claim.strikes} strikes was one of ${held}` }] : [];
  });
}
