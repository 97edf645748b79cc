/**
 * R6. Three workers of three hosts, whose wall clocks are ten minutes slow, right and ten minutes fast. Leases are watched
 * on monotonic clocks, and DynamoDB's own time decides what is due. A table on SQLite has no time but its process's, which
 * is right since there is one machine: with clocks like these it is the negative control.
 */
import { describe, expect, it } from "vitest";
import { fleetEngines } from "../support/fleet.ts";
import type { FleetEngine } from "../support/fleet.ts";
import { armedEnv } from "./armed.ts";
import { TENANTS, openCrew } from "./crew.ts";
import type { Crew, Tenant } from "./crew.ts";
import { elsewhereEnv } from "./elsewhere.ts";
import type { Told } from "./evidence.ts";
import { BACKOFF_MS } from "./graphs/stumble.ts";
import type { Violation } from "./invariants.ts";
import { judge } from "./judge.ts";
import { patiently } from "./patient.ts";
import { restOf, threadNamed } from "./story.ts";
import { endOf, start, walkTwice } from "./walking.ts";
import { factsOf, machineMs } from "./witness.ts";
import type { Fact } from "./witness.ts";

const NIGHTLY = process.env["HOLDPOINT_NIGHTLY"] === "1";
const TEN_MINUTES_MS = 600_000;
const SHIFTS_MS = [TEN_MINUTES_MS, -TEN_MINUTES_MS, 0];
/** Long enough that the machine's other work lets none run out. */
const LEASE_MS = 5_000;
/** How far two processes may be apart in what they know of the table's time: its answers have whole seconds. */
const AGREE_MS = 1_500;
const COMMAND = "npx vitest run test/crash/skew.test.ts";
const [sqlite, ...others] = fleetEngines();
const engines = others.filter(({ name }) => name !== "dynalite");

const openSkewed = (engine: FleetEngine): Promise<Crew> =>
  openCrew(engine, {
    workers: SHIFTS_MS.length,
    leaseMs: LEASE_MS,
    workerEnv: (n) =>
      elsewhereEnv(`host-${n}`, SHIFTS_MS[n % SHIFTS_MS.length] ?? 0, armedEnv("")["NODE_OPTIONS"] ?? ""),
  });

/** Something that was not to happen before a time, on the machine's clock. */
interface Timer {
  readonly what: string;
  readonly dueMs: number;
  readonly beganMs: number;
}

const early = (timers: readonly Timer[]): readonly Violation[] =>
  timers.flatMap(({ what, dueMs, beganMs }) =>
    beganMs < dueMs - AGREE_MS
      ? [{ invariant: "nothing begins before its time", what: `${what} began ${Math.round(dueMs - beganMs)} ms early` }]
      : [],
  );

/** Leases that were taken from a holder within `leaseMs` of the moment at which it sent the last write that kept them. */
function takenEarly(facts: readonly Fact[], leaseMs: number): readonly Violation[] {
  const held = new Map<string, { readonly pid: number; readonly sentMs: number }>();
  const found: Violation[] = [];
  for (const fact of facts) {
    if (fact.is === "release") held.delete(fact.thread);
    if (fact.is !== "claim" && fact.is !== "beat") continue;
    const { thread, pid, sentMs, atMs } = fact;
    const before = held.get(thread);
    if (fact.is === "claim" && before && before.pid !== pid && atMs - before.sentMs < leaseMs)
      found.push({
        invariant: "no lease is taken before its end",
        what: `${thread} was taken after ${Math.round(atMs - before.sentMs)} ms`,
      });
    if (fact.is === "claim" || before?.pid === pid) held.set(thread, { pid, sentMs });
  }
  return found;
}

interface Waited {
  readonly told: Told;
  readonly timer: Timer;
}

/** A run that is to begin later. */
async function later(crew: Crew, tenant: Tenant, afterSeconds: number): Promise<Waited> {
  const named = { tenant, threadId: threadNamed(`${tenant} later`) };
  const sentMs = machineMs();
  const input = { name: "later", steps: 1, pauseMs: 1, taken: 0 };
  const runId = await start(crew, named, { graph: "walk", name: "later", input, afterSeconds });
  await endOf(crew, named, runId);
  await restOf(crew, named);
  const [began] = factsOf(crew.facts(), "step").filter(({ thread }) => thread === named.threadId);
  return {
    told: { ...named, runs: [runId], decisions: [], effects: [], log: ["later 1"], ends: ["success"] },
    timer: { what: `a run after ${afterSeconds} s`, dueMs: sentMs + afterSeconds * 1000, beganMs: began?.atMs ?? 0 },
  };
}

/** A run whose node fails, and is tried again. */
async function stumbling(crew: Crew, tenant: Tenant, n: number): Promise<Waited> {
  const named = { tenant, threadId: threadNamed(`${tenant} stumbles ${n}`) };
  const runId = await start(crew, named, { graph: "stumble", name: "stumble", input: {} });
  await endOf(crew, named, runId);
  await restOf(crew, named);
  const [failed, again] = factsOf(crew.facts(), "step").filter(({ thread }) => thread === named.threadId);
  return {
    told: { ...named, runs: [runId], decisions: [], effects: [], log: ["got up"], ends: ["success"] },
    timer: { what: "a back-off", dueMs: (failed?.atMs ?? 0) + BACKOFF_MS, beganMs: again?.atMs ?? 0 },
  };
}

/** Kills a worker in the middle of a walk, with whatever it holds. Nobody knows at once that it is dead: it was elsewhere. */
async function killHolder(crew: Crew): Promise<void> {
  const [claim] = await patiently("a walk that is under way", () => {
    const walking = factsOf(crew.facts(), "claim");
    return walking.length > 0 ? walking : undefined;
  });
  const holder = crew.workers().find(({ pid }) => pid === claim?.pid);
  if (holder) await crew.kill(holder);
}

describe.each(engines)("workers whose clocks are ten minutes apart, on $name", (engine) => {
  it("take no lease before its end, and begin nothing before its time", { timeout: 240_000 }, async () => {
    await using crew = await openSkewed(engine);
    await Promise.all(crew.workers().map(({ ready }) => ready));
    const walks = TENANTS.flatMap((tenant) =>
      Array.from({ length: NIGHTLY ? 20 : 4 }, (_, n) => walkTwice(crew, tenant, threadNamed(`${tenant} skewed ${n}`))),
    );
    const waiting = TENANTS.flatMap((tenant) => [
      later(crew, tenant, 6),
      ...Array.from({ length: NIGHTLY ? 20 : 4 }, (_, n) => stumbling(crew, tenant, n)),
    ]);
    const all = Promise.all([Promise.all(walks), Promise.all(waiting)]);
    all.catch(() => undefined);
    await killHolder(crew);
    const [walked, waited] = await all;

    const timers = waited.map(({ timer }) => timer);
    const taken = takenEarly(crew.facts(), LEASE_MS);
    const { violations, facts } = await judge(crew, {
      test: "R6 clock skew",
      engine: engine.name,
      seed: 0,
      told: [...walked, ...waited.map(({ told }) => told)],
      found: [...taken, ...early(timers)],
      counts: { "early takeovers": taken.length, "early timers": early(timers).length, timers: timers.length },
      command: COMMAND,
    });
    expect(violations).toEqual([]);
    // Negative control: of leases that were longer the same check finds that they were taken.
    expect(takenEarly(facts, 100 * LEASE_MS)).not.toEqual([]);
  });
});

describe("negative control: a table whose time is the wall clock of each process", () => {
  it("begins a run long before its time, and the check sees it", { timeout: 240_000 }, async () => {
    if (!sqlite) throw new Error("there is no engine");
    await using crew = await openSkewed(sqlite);
    const { told, timer } = await later(crew, "acme", 60);
    const { violations } = await judge(crew, {
      test: "R13 control: time by the wall clock",
      engine: sqlite.name,
      seed: 0,
      told: [told],
      found: early([timer]),
      counts: { "early timers": early([timer]).length },
      command: COMMAND,
    });
    expect(violations.map(({ invariant }) => invariant)).toEqual(["nothing begins before its time"]);
  });
});
