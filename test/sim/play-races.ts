/** What those do who race with reviewers, until the time is over. */
import { isEnded } from "../../src/core/run.ts";
import type { Run } from "../../src/core/run.ts";
import type { Racers } from "./clients-races.ts";
import type { Clients } from "./clients.ts";
import type { HandedOut, Outside } from "./effects.ts";
import type { Random } from "./random.ts";
import type { Scheduler } from "./scheduler.ts";

export interface Races {
  /** Other systems, each of which answers whatever it can. */
  readonly callers: number;
  /** Names of those who park runs, have them tried again, and say what became of effects. */
  readonly operators: readonly string[];
  /** Operators look for so long after everybody else has stopped: a word may count only then. */
  readonly operatorsStayMs: number;
}

export interface RaceStage {
  readonly clients: Clients;
  readonly racers: Racers;
  readonly outside: Outside;
  readonly scheduler: Scheduler;
  readonly random: Random;
}

export interface RaceTurn {
  readonly threads: readonly string[];
  readonly pauseMs: number;
  /** Virtual time after which nobody begins anything. */
  readonly over: number;
}

export async function playRaces(races: Races, turn: RaceTurn, stage: RaceStage): Promise<void> {
  const operate = (name: string) =>
    operator(
      name,
      { ...turn, until: turn.over + races.operatorsStayMs },
      { ...stage, random: stage.random.fork(name) },
    );
  await Promise.all([
    ...Array.from({ length: races.callers }, (_, n) =>
      caller(`caller-${n}`, turn, { ...stage, random: stage.random.fork(`caller ${n}`) }),
    ),
    ...races.operators.map(operate),
  ]);
}

/** Answers what was handed out, now and then something that it has answered before, and in other words. */
async function caller(name: string, { pauseMs, over }: RaceTurn, stage: RaceStage): Promise<void> {
  const { racers, outside, scheduler, random } = stage;
  const told = new Map<string, string>();
  for (let n = 0; scheduler.now() < over; n++) {
    await scheduler.sleep(random.exponential(pauseMs));
    const fresh = outside.handedOut.filter(({ token }) => !told.has(token));
    const to: HandedOut | undefined = random.chance(0.8) && fresh.length > 0 ? fresh.at(-1) : outside.handedOut.at(-1);
    if (!to || random.chance(0.2)) continue;
    const again = told.get(to.token);
    const tag = again !== undefined && random.chance(0.5) ? again : `${name}-${n}`;
    told.set(to.token, tag);
    await racers.callBack(to, tag);
  }
}

/** Between two looks of an operator who has only stayed for what counts later. */
const LATE_PAUSE_MS = 800;

async function operator(name: string, turn: RaceTurn & { readonly until: number }, stage: RaceStage): Promise<void> {
  const { threads, pauseMs, over, until } = turn;
  const { racers, clients, scheduler, random } = stage;
  for (let n = 0; scheduler.now() < until; n++) {
    await scheduler.sleep(random.exponential(scheduler.now() < over ? pauseMs * 3 : LATE_PAUSE_MS));
    if (random.chance(0.5)) {
      const parked = await racers.parked();
      if (parked.length > 0) await racers.settle(name, random.pick(parked), `${name}-${n}`);
      continue;
    }
    const runs = await clients.runs(random.pick(threads));
    // Now and then one that was tried again already.
    const failed = runs.filter(hasFailed).slice(random.chance(0.8) ? -1 : 0);
    const unfinished = runs.filter(({ status }) => !isEnded(status));
    if (failed.length > 0 && random.chance(0.7)) await racers.retry(name, random.pick(failed), `${name}-${n}`);
    else if (unfinished.length > 0 && random.chance(0.3)) await racers.park(name, random.pick(unfinished));
  }
}

const hasFailed = ({ status }: Run): boolean => status === "error" || status === "timeout" || status === "parked";
