/**
 * R3. A worker is stopped with SIGSTOP right before a write of every kind, for two leases, and woken up again: by then
 * somebody else has its thread. HOLDPOINT_ZOMBIES and HOLDPOINT_ZOMBIE_SEED choose how many and which.
 */
import { randomInt } from "node:crypto";
import { describe, expect, it } from "vitest";
import { createRandom } from "../sim/random.ts";
import { fleetEngines } from "../support/fleet.ts";
import type { FleetEngine } from "../support/fleet.ts";
import { LEASE_MS, TENANTS, openCrew } from "./crew.ts";
import type { Crew, Tenant } from "./crew.ts";
import type { Told } from "./evidence.ts";
import { judge } from "./judge.ts";
import { WRITE_KINDS, placeOrder } from "./orders.ts";
import type { Order, WriteKind } from "./orders.ts";
import { createPatient, patiently } from "./patient.ts";
import { tell, threadNamed } from "./story.ts";
import { isOvertaken, wakeUp } from "./waker.ts";
import { factsOf, machineMs } from "./witness.ts";
import type { Fact } from "./witness.ts";

const NIGHTLY = process.env["HOLDPOINT_NIGHTLY"] === "1";
const engines = fleetEngines().filter(({ name }) => name !== "dynalite");
/** On all engines together. */
const ZOMBIES = Number(process.env["HOLDPOINT_ZOMBIES"] ?? (NIGHTLY ? 300 : 32));
const SEED = Number(process.env["HOLDPOINT_ZOMBIE_SEED"] ?? randomInt(2 ** 31));
const LANES = [...TENANTS, ...TENANTS];
/** While one worker of each lane is stopped, another of each goes on with its thread. */
const WORKERS = 2 * LANES.length;
/** Long enough for a heartbeat in every story. */
const PAUSE_MS = LEASE_MS / 2;
/** Nightly beyond the time for which a writer waits for another process's lock. */
const FROZEN_INSIDE_MS = NIGHTLY ? 12_000 : 3_000;

function play(crew: Crew, tenant: Tenant, name: string, order: Order): Promise<Told> {
  const threadId = threadNamed(`${SEED} ${name}`);
  placeOrder(crew.folder, threadId, order);
  return tell(crew, { tenant, threadId, pauseMs: PAUSE_MS });
}

/** How many writes of each kind there are in a story in which nothing happens. */
function writesIn(facts: readonly Fact[]): ReadonlyMap<WriteKind, number> {
  const counts = new Map<WriteKind, number>();
  for (const { kind, nth } of factsOf(facts, "write")) counts.set(kind, Math.max(nth, counts.get(kind) ?? 0));
  return counts;
}

const overtaken = (facts: readonly Fact[]) =>
  factsOf(facts, "woke").filter(({ thread, pid, fence, atMs }) =>
    factsOf(facts, "claim").some(
      (claim) => claim.thread === thread && claim.pid !== pid && claim.fence > fence && claim.atMs < atMs,
    ),
  );

/** The processes that have stopped more often than they woke. */
function asleep(facts: readonly Fact[]): readonly number[] {
  const times = (is: "stopped" | "woke", of: number): number =>
    factsOf(facts, is).filter(({ pid }) => pid === of).length;
  const pids = new Set(factsOf(facts, "stopped").map(({ pid }) => pid));
  return [...pids].filter((pid) => times("stopped", pid) > times("woke", pid));
}

/** What they did last. */
const lastOf = (facts: readonly Fact[], pids: readonly number[]): readonly Fact[] =>
  pids.flatMap((pid) => facts.filter((fact) => fact.pid === pid).slice(-5));

/** From the one stop to the one awakening. */
function frozenMs(facts: readonly Fact[]): number {
  const [[stopped], [woke]] = [factsOf(facts, "stopped"), factsOf(facts, "woke")];
  return stopped && woke ? woke.atMs - stopped.atMs : 0;
}

const COMMAND = `HOLDPOINT_ZOMBIE_SEED=${SEED} HOLDPOINT_ZOMBIES=${ZOMBIES} npx vitest run test/crash/zombies.test.ts`;
// A test that fails, or hangs, has said how to see it again.
console.log(COMMAND);

describe.each(engines)("a worker that is stopped for two leases and wakes up, on $name", (engine) => {
  it(
    "changes nothing any more, whatever it was about to write",
    { timeout: NIGHTLY ? 3_600_000 : 480_000 },
    async () => {
      await using crew = await openCrew(engine, { workers: WORKERS, concurrency: 1 });
      await using _ = wakeUp(crew, 2 * LEASE_MS, isOvertaken(crew));
      const told = [await play(crew, "acme", "undisturbed", { do: "count" })];
      const writes = writesIn(crew.facts());
      expect([...writes.keys()].toSorted()).toEqual([...WRITE_KINDS].toSorted());

      const random = createRandom(SEED);
      const planned = Array.from({ length: Math.ceil(ZOMBIES / engines.length) }, (_, i) => {
        const kind = WRITE_KINDS[i % WRITE_KINDS.length] ?? "claim";
        return { kind, nth: 1 + random.int(writes.get(kind) ?? 1) };
      });
      let stories = 0;
      const lane = async (tenant: Tenant): Promise<void> => {
        for (let zombie = planned.shift(); zombie; zombie = planned.shift()) {
          const story = await play(crew, tenant, `zombie ${++stories}`, { do: "stop", ...zombie });
          told.push(story);
          const wasStopped = factsOf(crew.facts(), "stopped").some(({ thread }) => thread === story.threadId);
          // Stories differ by a few writes: this one was over before.
          if (!wasStopped) planned.push({ kind: zombie.kind, nth: Math.ceil(zombie.nth / 2) });
        }
      };
      await Promise.all(LANES.map(lane));
      const stopped = factsOf(crew.facts(), "stopped");
      await patiently(
        "every zombie to wake",
        () => factsOf(crew.facts(), "woke").length >= stopped.length || undefined,
        async () => JSON.stringify(lastOf(crew.facts(), asleep(crew.facts()))),
      );

      const woken = overtaken(crew.facts());
      const { violations } = await judge(crew, {
        test: "R3 zombies",
        engine: engine.name,
        seed: SEED,
        size: `${ZOMBIES} zombies on all engines, together`,
        told,
        counts: {
          overtaken: woken.length,
          "answered with an error": factsOf(crew.facts(), "woke").filter(({ error }) => error !== undefined).length,
          ...Object.fromEntries(WRITE_KINDS.map((kind) => [kind, stopped.filter((one) => one.kind === kind).length])),
        },
        command: COMMAND,
      });
      expect(violations).toEqual([]);
      expect([...new Set(stopped.map(({ kind }) => kind))].toSorted()).toEqual([...WRITE_KINDS].toSorted());
      expect(stopped.length).toBeGreaterThanOrEqual(ZOMBIES / engines.length);
      expect(woken.length).toBeGreaterThan(stopped.length / 2);
    },
  );
});

describe("negative control: a fence that is off", () => {
  it.each(["events", "effect"] as const)(
    "lets a zombie's write of %s through, and the checker sees it",
    { timeout: 120_000 },
    async (kind) => {
      await using crew = await openCrew(sqlite(), { workers: 3, concurrency: 1 });
      await using _ = wakeUp(crew, 2 * LEASE_MS, isOvertaken(crew));
      const told = await play(crew, "acme", `unfenced ${kind}`, { do: "stop", kind, nth: 2, unfenced: true });
      await patiently("the zombie to wake", () => factsOf(crew.facts(), "woke").length > 0 || undefined);
      const { violations } = await judge(crew, {
        test: `R13 control: fence off, a write of ${kind}`,
        engine: sqlite().name,
        seed: SEED,
        told: [told],
        command: `${COMMAND} -t control`,
      });
      const found = violations.map(({ invariant }) => invariant);
      expect(found).toContain("no write of a holder that was overtaken is accepted");
    },
  );
});

describe("a worker that is stopped inside a transaction, on one SQLite file", () => {
  it(
    "keeps others from writing, not from reading; they wait or fail clearly, and go on after it",
    { timeout: 120_000 },
    async () => {
      await using crew = await openCrew(sqlite(), { workers: 3, concurrency: 1 });
      let isRead = false;
      await using _ = wakeUp(crew, FROZEN_INSIDE_MS, () => isRead);
      const frozen = play(crew, "acme", "inside", { do: "stop-inside", kind: "checkpoint", nth: 3 });
      frozen.catch(() => undefined);
      await patiently("the transaction to stand still", () => factsOf(crew.facts(), "stopped").at(0));
      const { send } = createPatient({ url: crew.url, headers: crew.headers("acme") });
      const read = await send(`/threads/${threadNamed(`${SEED} inside`)}`);
      const wasFrozen = factsOf(crew.facts(), "woke").length === 0;
      isRead = true;
      const begun = machineMs();
      const refusal = await fetch(`${crew.url()}/threads`, {
        method: "POST",
        headers: { "content-type": "application/json", ...crew.headers("globex") },
        body: "{}",
      });
      const told = await Promise.all([frozen, play(crew, "globex", "meanwhile", { do: "count" })]);
      const { violations } = await judge(crew, {
        test: "R3 frozen inside a transaction",
        engine: "one SQLite file",
        seed: SEED,
        told,
        unwritableMs: frozenMs(crew.facts()),
        counts: { "a write was answered": refusal.status, "after ms": Math.round(machineMs() - begun) },
        command: `HOLDPOINT_ZOMBIE_SEED=${SEED} npx vitest run test/crash/zombies.test.ts -t transaction`,
      });
      expect(read.status).toBe(200);
      expect(wasFrozen).toBe(true);
      expect([200, 503]).toContain(refusal.status);
      expect(violations).toEqual([]);
    },
  );
});

function sqlite(): FleetEngine {
  const [first] = engines;
  if (!first) throw new Error("there is no engine");
  return first;
}
