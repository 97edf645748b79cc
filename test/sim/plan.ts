/** What the clients of one schedule want, drawn from the seed: who starts, answers, cancels what and when. */
import { isEnded } from "../../src/core/run.ts";
import type { MultitaskStrategy, StopAction } from "../../src/core/run.ts";
import type { Clients, Starting } from "./clients.ts";
import type { Racers } from "./clients-races.ts";
import type { Outside } from "./effects.ts";
import { playRaces } from "./play-races.ts";
import type { Races } from "./play-races.ts";
import type { Readers } from "./readers.ts";
import type { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Script, Task } from "./script.ts";

export interface Start extends Starting {
  readonly atMs: number;
  /** Cancel it so long after it was acknowledged. */
  readonly cancelAfterMs?: number;
  readonly cancelAction?: StopAction;
  /** Who looks at it from its acknowledgement on. */
  readonly watched: "no" | "followed" | "waited for";
}

export interface Plan {
  readonly apis: number;
  readonly workers: number;
  readonly local: boolean;
  readonly threads: readonly string[];
  readonly starts: readonly Start[];
  /** Names of those who look for open reviews and decide them; several race. */
  readonly reviewers: readonly string[];
  /** One who answers by `command.resume`. */
  readonly resumer: boolean;
  /** Cancels of whatever run is found on a thread that has not ended or asks something, continuations included. */
  readonly cancels: number;
  /** State updates through the API. */
  readonly updates: number;
  /** They cancel what waits on their thread. */
  readonly updatesCancelPending: boolean;
  /** Workers that are asked to stop. */
  readonly drains: number;
  /** Mean pause of a reviewer between two looks. */
  readonly pauseMs: number;
  /** Those who race with reviewers. */
  readonly races?: Races;
  /** For how long things may go wrong, and reviewers look. */
  readonly troubleMs: number;
  /** How long the fleet is watched after everything has come to rest. */
  readonly afterwardsMs: number;
}

export function drawPlan(random: Random): Plan {
  // Half of them crowd everything into a moment on one thread, where races are.
  const dense = random.chance(0.5);
  const threads = Array.from(
    { length: dense ? 1 : 1 + random.int(2) },
    (_, i) => `00000000-0000-4000-8000-00000000000${i}`,
  );
  const count = 1 + random.int(5);
  const reviews = random.chance(0.6);
  // In some of them everybody wants the thread for himself, in some nothing is done twice.
  const pushy = random.chance(0.3);
  const bulky = random.chance(0.04);
  return {
    apis: 1 + random.int(2),
    workers: 1 + random.int(3),
    local: random.chance(0.3),
    threads,
    starts: Array.from({ length: count }, (_, i) => ({
      atMs: random.chance(0.3) ? 0 : random.int(dense ? 200 : 2500),
      thread: random.pick(threads),
      tag: `run-${i}`,
      strategy: drawStrategy(random, pushy),
      script: drawScript(random, reviews),
      watched: random.pick(["no", "no", "followed", "waited for"] as const),
      ...(random.chance(0.15)
        ? {
            cancelAfterMs: random.int(dense ? 100 : 600),
            cancelAction: random.pick(["interrupt", "rollback"] as const),
          }
        : {}),
      ...(random.chance(0.12) ? { afterMs: random.int(dense ? 300 : 1500) } : {}),
      ...(random.chance(0.1) ? { cancelsPending: true } : {}),
      ...(random.chance(0.1) ? { force: true } : {}),
      ...(bulky ? { ballast: BALLAST_BYTES } : {}),
    })),
    reviewers: reviews ? ["eve", "bob"].slice(0, random.int(3)) : [],
    resumer: reviews && random.chance(0.25),
    cancels: random.chance(0.3) ? 1 + random.int(3) : 0,
    updates: random.chance(0.3) ? 1 + random.int(3) : 0,
    updatesCancelPending: random.chance(0.3),
    drains: random.chance(0.25) ? 1 + random.int(2) : 0,
    pauseMs: dense ? 30 : 200,
    troubleMs: (dense ? 1000 : 3000) + random.int(dense ? 1500 : 3000),
    afterwardsMs: 0,
  };
}

/** More than one piece of a value that does not fit into its record. */
const BALLAST_BYTES = 210_000;

function drawStrategy(random: Random, pushy: boolean): MultitaskStrategy {
  return pushy
    ? random.pick(["interrupt", "rollback", "interrupt", "enqueue"] as const)
    : random.pick(["enqueue", "enqueue", "enqueue", "reject", "reject", "interrupt", "rollback"] as const);
}

/**
 * Several reviews and a plain question on one thread with input queued behind them, two quick reviewers, answers that
 * make their code fail, and cancels of whatever is there: where decisions are most easily lost.
 */
export function drawContested(random: Random): Plan {
  const thread = "00000000-0000-4000-8000-000000000001";
  const review = (shown: string): Task => ({ do: "review", shown, fails: random.chance(0.3) });
  const start = (n: number, script: Script): Start => ({
    atMs: n * 5,
    thread,
    tag: `run-${n}`,
    strategy: "enqueue",
    script,
    watched: "no",
  });
  return {
    ...drawPlan(random),
    threads: [thread],
    starts: [
      start(0, [[{ do: "step", ms: 30 }], [review("a"), review("b")], [{ do: "step", ms: 20 }, review("c")]]),
      start(1, [[{ do: "step", ms: 1 }]]),
      start(2, [[review("d"), { do: "ask" }]]),
    ],
    reviewers: ["eve", "bob"],
    resumer: false,
    cancels: 4,
    updates: 1,
    drains: 0,
    pauseMs: 25,
    troubleMs: 1500,
  };
}

/**
 * Timers side by side with each other and with reviews that expire about when they are decided, while people cancel and
 * others start: where two that want the same moment most easily both get it.
 */
export function drawTimed(random: Random): Plan {
  const thread = "00000000-0000-4000-8000-000000000001";
  const timer = (): Task => ({ do: "timer", ms: random.int(400) });
  const review = (shown: string): Task => ({
    do: "review",
    shown,
    fails: random.chance(0.15),
    ...(random.chance(0.8) ? { dueInMs: random.int(400) } : {}),
  });
  const scripts: readonly Script[] = [
    [[timer(), timer()], [timer()], [{ do: "step", ms: 5 }]],
    [
      [review("a"), timer()],
      [review("b"), review("c")],
    ],
    [[review("d")], [timer(), { do: "ask" }]],
  ];
  return {
    ...drawPlan(random),
    threads: [thread],
    starts: scripts.map((script, n) => ({
      atMs: n * random.int(200),
      thread,
      tag: `run-${n}`,
      strategy: random.pick(["enqueue", "enqueue", "interrupt", "rollback"] as const),
      script,
      watched: random.pick(["no", "followed", "waited for"] as const),
    })),
    reviewers: ["eve", "bob"].slice(0, 1 + random.int(2)),
    resumer: random.chance(0.3),
    cancels: random.int(4),
    updates: random.int(2),
    drains: random.int(2),
    pauseMs: 40,
    troubleMs: 2000,
  };
}

function drawScript(random: Random, reviews: boolean): Script {
  return Array.from({ length: random.int(3) + 1 }, (_, i) => {
    const wide = random.chance(0.25) ? 2 : 1;
    return Array.from({ length: wide }, (_unused, j) => drawTask(random, reviews, `${i}.${j}`));
  });
}

function drawTask(random: Random, reviews: boolean, place: string): Task {
  const kind = random.int(20);
  if (random.chance(0.06)) return { do: "flaky", failures: 1 + random.int(2), delayMs: 2000 + random.int(1500) };
  if (random.chance(0.08)) return { do: "timer", ms: random.int(3000) };
  const due = random.chance(0.25) ? { dueInMs: random.int(2500) } : {};
  if (reviews && kind < 8) return { do: "review", shown: place, fails: random.chance(0.1), ...due };
  if (reviews && kind === 8) return { do: "ask" };
  if (kind === 9) return { do: "fail" };
  if (kind < 14)
    return { do: "effect", name: `pay-${place}`, policy: random.pick(["idempotent", "unsafe"]), ms: random.int(50) };
  return { do: "step", ms: random.chance(0.2) ? random.int(1500) : random.int(20) };
}

export interface Stage {
  readonly clients: Clients;
  readonly readers: Readers;
  readonly racers: Racers;
  readonly outside: Outside;
  readonly scheduler: Scheduler;
  readonly random: Random;
  readonly drain: () => void;
}

/** Resolves when everyone has had their answers. */
export async function play(plan: Plan, stage: Stage): Promise<void> {
  const { scheduler, clients, readers, random, drain } = stage;
  const over = scheduler.now() + plan.troubleMs;
  await Promise.all([
    ...plan.starts.map(async (start) => {
      await scheduler.sleep(start.atMs);
      const answer = await clients.start(start);
      const { thread } = start;
      if (answer.is !== "yes" || thread === undefined) return;
      if (start.watched === "followed") readers.follow(thread, answer.id);
      if (start.watched === "waited for") readers.wait(thread, answer.id);
      if (start.cancelAfterMs === undefined) return;
      await scheduler.sleep(start.cancelAfterMs);
      await clients.cancel(thread, answer.id, start.cancelAction);
    }),
    ...plan.reviewers.map((name) => review(name, { plan, over, stage: { ...stage, random: random.fork(name) } })),
    ...(plan.resumer ? [resume({ plan, over, stage: { ...stage, random: random.fork("resumer") } })] : []),
    ...Array.from({ length: plan.updates }, async (_, n) => {
      await scheduler.sleep(random.int(plan.troubleMs));
      await clients.update(random.pick(plan.threads), `update-${n}`, plan.updatesCancelPending);
    }),
    ...Array.from({ length: plan.cancels }, async () => {
      await scheduler.sleep(random.int(plan.troubleMs));
      const thread = random.pick(plan.threads);
      const found = (await clients.runs(thread)).filter(({ status }) => !isEnded(status) || status === "held");
      if (found.length > 0) {
        const action = random.pick(["interrupt", "interrupt", "rollback"] as const);
        await clients.cancel(thread, random.pick(found).runId, action);
      }
    }),
    ...Array.from({ length: plan.drains }, async () => {
      await scheduler.sleep(random.int(plan.troubleMs));
      drain();
    }),
    ...(plan.races ? [playRaces(plan.races, { ...plan, over }, { ...stage, random: random.fork("races") })] : []),
  ]);
}

interface Turn {
  readonly plan: Plan;
  /** Virtual time after which nobody looks any more. */
  readonly over: number;
  readonly stage: Stage;
}

async function review(name: string, { plan, over, stage: { clients, scheduler, random } }: Turn): Promise<void> {
  for (let n = 0; scheduler.now() < over; n++) {
    await scheduler.sleep(random.exponential(plan.pauseMs));
    const open = await clients.open();
    if (open.length === 0 || random.chance(0.2)) continue;
    const [first] = open;
    const hold = first && random.chance(0.7) ? first : random.pick(open);
    if (random.chance(0.3)) await clients.claim(name, hold);
    if (plan.races && random.chance(0.1)) await clients.release(name, hold);
    await clients.decide(name, hold, `${name}-${n}`);
  }
}

async function resume({ plan, over, stage: { clients, scheduler, random } }: Turn): Promise<void> {
  for (let n = 0; scheduler.now() < over; n++) {
    await scheduler.sleep(random.exponential(plan.pauseMs * 4));
    await clients.resume(random.pick(plan.threads), `resume-${n}`);
  }
}
