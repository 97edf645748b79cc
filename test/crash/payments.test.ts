/**
 * Runs that pay at a real ledger process while workers are killed: at random, and right around the intent, the call and
 * the result. Two thirds of them pay at a ledger that pays whatever it is asked. HOLDPOINT_PAYMENT_RUNS and
 * HOLDPOINT_PAYMENT_SEED choose how many, and who is killed.
 */
import { randomInt } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { createRandom } from "../sim/random.ts";
import type { Random } from "../sim/random.ts";
import { fleetEngines } from "../support/fleet.ts";
import { TENANTS, openCrew } from "./crew.ts";
import type { Crew, CrewOptions } from "./crew.ts";
import { openLedgers } from "./ledgers.ts";
import type { Ledgers, Payment } from "./ledgers.ts";
import { lastOf, payOnce } from "./paying.ts";
import type { CrashPoint, Paid, Payer } from "./paying.ts";
import { report } from "./report.ts";
import { FORGETS_VARIABLE, factsOf } from "./witness.ts";

const NIGHTLY = process.env["HOLDPOINT_NIGHTLY"] === "1";
const engines = fleetEngines().filter(({ name }) => name !== "dynalite");
/** On all engines together. */
const RUNS = Number(process.env["HOLDPOINT_PAYMENT_RUNS"] ?? (NIGHTLY ? 500 : 60));
const SEED = Number(process.env["HOLDPOINT_PAYMENT_SEED"] ?? randomInt(2 ** 31));
const WORKERS = 3;
const LANES = 8;
const POLICIES = ["idempotent", "queryable", "unsafe"] as const;
const CRASHES: readonly CrashPoint[] = ["before the intent", "before the call", "after the call", "before the result"];
/** At random, on each engine, about so many. */
const KILLS = 20;
/** One of so many payers has its worker killed at a point of its own. */
const ONE_IN = 5;
/** Neither says anything about how fast it is: only what stands still is given up. */
const PATIENCE_MS = 900_000;
const TIMEOUT_MS = 600_000 + RUNS * 15_000;

const COMMAND = `HOLDPOINT_PAYMENT_SEED=${SEED} HOLDPOINT_PAYMENT_RUNS=${RUNS} npx vitest run test/crash/payments.test.ts`;
console.log(COMMAND);

const payments = (paid: readonly Payment[], order: string): number => paid.filter((one) => one.order === order).length;

async function withLedgers(engine: (typeof engines)[number], options: Partial<CrewOptions> = {}) {
  await using opening = new AsyncDisposableStack();
  const ledgers: Ledgers = opening.use(await openLedgers());
  const { env } = ledgers;
  const crew = opening.use(
    await openCrew(engine, { workers: WORKERS, leaseMs: 3_000, patienceMs: PATIENCE_MS, ...options, env }),
  );
  const opened = opening.move();
  return { ledgers, crew, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

interface Killing {
  readonly random: Random;
  readonly over: AbortSignal;
  readonly ended: () => number;
  readonly all: number;
}

/** Kills one worker after the other; a machine that is slow is killed at less often: payments must get through in between. */
async function killing(crew: Crew, { random, over, ended, all }: Killing): Promise<void> {
  for (let next = 0; !over.aborted;) {
    await sleep(1_000 + random.int(2_000), undefined, { signal: over }).catch(() => undefined);
    // Nor is one killed before all are there again: else nobody may be left to take anything over.
    await Promise.allSettled(crew.workers().map(({ ready }) => ready));
    if (over.aborted || ended() < next) continue;
    const victim = crew.workers()[random.int(WORKERS)];
    if (victim) await crew.kill(victim);
    next = ended() + Math.ceil(all / KILLS);
  }
}

const drawPayers = (random: Random): readonly Payer[] =>
  Array.from({ length: Math.ceil(RUNS / engines.length) }, (_, n): Payer => ({
    tenant: random.pick(TENANTS),
    name: `${SEED} pays ${n}`,
    policy: POLICIES[n % POLICIES.length] ?? "unsafe",
    crash: random.int(ONE_IN) === 0 ? random.pick(CRASHES) : null,
  }));

/** Some pay at a time, while workers are killed. */
async function payAll(crew: Crew, ledgers: Ledgers, payers: readonly Payer[], random: Random) {
  const paid: Paid[] = [];
  const waiting = payers.values();
  const lane = async (): Promise<void> => {
    for (const payer of waiting) paid.push(await payOnce(crew, ledgers, payer));
  };
  const paying = Promise.all(Array.from({ length: LANES }, lane));
  paying.catch(() => undefined);
  const over = new AbortController();
  void paying.finally(() => over.abort()).catch(() => undefined);
  await killing(crew, { random, over: over.signal, ended: () => paid.length, all: payers.length });
  await paying;
  return paid;
}

describe.each(engines)("payments while workers are killed, on $name", (engine) => {
  it("are made exactly once; what nobody knows is parked, and never guessed", { timeout: TIMEOUT_MS }, async () => {
    await using stage = await withLedgers(engine);
    const { crew, ledgers } = stage;
    const random = createRandom(SEED);
    const payers = drawPayers(random);
    const paid = await payAll(crew, ledgers, payers, random);

    const all = await ledgers.payments();
    const orders = new Set(paid.map(({ order }) => order));
    const wrong = paid.filter(({ order }) => payments(all, order) !== 1);
    const parked = paid.flatMap(({ policy, ends }) =>
      ends.slice(0, -1).map(({ status, error }) => ({ policy, status, why: error?.name })),
    );
    const ofEffects = parked.filter(({ why }) => why !== "poison");
    const looked = paid.flatMap((one) => one.looked);
    report({
      test: "R12 payments",
      engine: engine.name,
      seed: SEED,
      size: `${RUNS} runs on all engines, together`,
      runs: paid.length,
      faults: factsOf(crew.facts(), "killed").length,
      lost: paid.filter((one) => lastOf(one).status !== "success").length,
      doubled: all.length - new Set(all.map(({ order }) => order)).size,
      violations: wrong.length + all.filter(({ order }) => !orders.has(order)).length,
      counts: {
        "killed at a point of their own": paid.filter(({ crash }) => crash !== null).length,
        "effects parked": ofEffects.length,
        "that had happened": looked.filter((what) => what === "happened").length,
        "parked as poison": parked.length - ofEffects.length,
      },
      command: COMMAND,
    });
    expect(wrong.map(({ order, policy, crash }) => [order, policy, crash, payments(all, order)])).toEqual([]);
    expect(all).toHaveLength(payers.length);
    expect(paid.map((one) => lastOf(one).status)).toEqual(paid.map(() => "success"));
    expect(ofEffects).toEqual(ofEffects.map(() => ({ policy: "unsafe", status: "parked", why: "effect_ambiguous" })));
    // A kill at a write of the journal may come to be one before its intent, if another one was first.
    const within = (crash: CrashPoint): boolean => crash === "before the call" || crash === "after the call";
    const around = paid.filter(({ policy, crash }) => policy === "unsafe" && within(crash));
    const isLookedInto = ({ ends }: Paid): boolean => ends.some(({ error }) => error?.name === "effect_ambiguous");
    expect(around.filter((one) => !isLookedInto(one))).toEqual([]);
  });
});

const controls =
  "a payment at a ledger that honours no keys, whose worker is killed after it and before its step is stored";

describe.each(engines)(`${controls}, on $name`, (engine) => {
  const payer = { tenant: "acme", policy: "queryable", crash: "after the call" } as const;

  it("is found again, and made no second time", { timeout: TIMEOUT_MS }, async () => {
    await using stage = await withLedgers(engine, { workers: 1 });
    const paid = await payOnce(stage.crew, stage.ledgers, { ...payer, name: `${SEED} on` });
    expect([lastOf(paid).status, payments(await stage.ledgers.payments(), paid.order)]).toEqual(["success", 1]);
  });

  it("is made twice with the journal off (negative control)", { timeout: TIMEOUT_MS }, async () => {
    await using stage = await withLedgers(engine, { workers: 1, workerEnv: { [FORGETS_VARIABLE]: "1" } });
    const { order } = await payOnce(stage.crew, stage.ledgers, { ...payer, name: `${SEED} off` });
    const made = payments(await stage.ledgers.payments(), order);
    report({
      test: "R13 control: journal off, a payment",
      engine: engine.name,
      seed: SEED,
      runs: 1,
      faults: factsOf(stage.crew.facts(), "killed").length,
      lost: 0,
      doubled: made - 1,
      violations: made - 1,
      command: COMMAND,
    });
    expect(made).toBe(2);
  });
});
