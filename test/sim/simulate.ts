/**
 * One schedule from one seed: a fleet, its clients and what goes wrong, then quiet, then the verdict.
 */
import { FencedSaver } from "../../src/checkpoint/saver.ts";
import { threadId } from "../../src/core/ids.ts";
import type { Deps } from "../../src/runtime/deps.ts";
import { verifyChain } from "../../src/runtime/audit/verify.ts";
import { createAudit } from "../../src/storage/audit.ts";
import type { Table } from "../../src/storage/table.ts";
import { createChaos, drawProfile } from "./chaos.ts";
import type { Chaos, Planned, Profile } from "./chaos.ts";
import { createRacers } from "./clients-races.ts";
import { TENANT, createClients } from "./clients.ts";
import type { ClientHost } from "./clients.ts";
import type { Fact } from "./facts.ts";
import { createTally } from "./faults.ts";
import type { FaultCounts, Tally } from "./faults.ts";
import { answersTo } from "./history.ts";
import { check } from "./invariants.ts";
import type { Violation } from "./invariants.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { drawPlan, play } from "./plan.ts";
import type { Plan } from "./plan.ts";
import { createRandom } from "./random.ts";
import type { Random } from "./random.ts";
import { createReaders } from "./readers.ts";
import { createRecorder } from "./recorder.ts";
import type { Recorder } from "./recorder.ts";
import { EPOCH, createScheduler } from "./scheduler.ts";
import type { Scheduler } from "./scheduler.ts";
import { scripted } from "./stage.ts";
import type { Stage, StageHost } from "./stage.ts";
import { createOutside } from "./effects.ts";
import type { Outside } from "./effects.ts";
import { createWorld } from "./world.ts";
import type { Control, World } from "./world.ts";

export const LEASE_MS = 1000;
/** Readers may be told of the end this much later: they look once a second. */
const READERS_MS = 5_000;
/** Virtual time after which a schedule that has not come to rest counts as stuck. */
const REST_MS = 120_000;

export interface Options {
  readonly seed: number | string;
  /** How graphs are executed; as scripts unless given. */
  readonly stage?: (host: StageHost) => Stage;
  /** What the clients want; drawn from the seed unless given. */
  readonly plan?: Plan | ((random: Random) => Plan);
  readonly profile?: Profile;
  readonly planned?: Planned;
  readonly control?: Control;
  readonly adapt?: (deps: Deps) => Deps;
  readonly trace?: (line: string) => void;
}

export interface Verdict {
  readonly seed: number | string;
  readonly violations: readonly Violation[];
  readonly facts: readonly Fact[];
  /** Events of the scheduler: what the schedule cost. */
  readonly events: number;
  /** Virtual milliseconds. */
  readonly took: number;
  readonly crashes: number;
  readonly runs: number;
  readonly decisions: number;
  readonly faults: FaultCounts;
}

/** Plays one schedule and checks what came of it. The same options give the same verdict. */
export async function simulate(options: Options): Promise<Verdict> {
  const setting = setUp(options);
  const { scheduler, recorder, stage, world, plan } = setting;
  await untilRest(setting);
  for (const thread of plan.threads) {
    const saver = new FencedSaver({
      table: world.table.direct,
      blobs: createMemoryBlobs(),
      tenant: TENANT,
      threadId: threadId(thread),
    });
    recorder.note({ kind: "state", at: scheduler.now(), by: "checker", thread, log: await stage.logOf(saver, thread) });
  }
  recorder.note({ kind: "audit", at: scheduler.now(), by: "checker", ...(await auditOf(world.table.direct)) });
  return verdictOf(options.seed, await recorder.facts(), setting);
}

async function auditOf(
  table: Table,
): Promise<{ readonly chained: readonly string[]; readonly problems: readonly string[] }> {
  const audit = createAudit({ table, shards: 2 });
  const chained: string[] = [];
  for (let from = 1; ;) {
    const links = await audit.links(TENANT, from);
    if (links.length === 0) break;
    chained.push(...links.flatMap(({ entries }) => entries.map(({ id }) => id)));
    from += links.length;
  }
  const { problems } = await verifyChain(audit, TENANT);
  return { chained, problems: problems.map(({ link, what }) => `link ${link}: ${what}`) };
}

interface Setting {
  readonly random: Random;
  readonly recorder: Recorder;
  readonly scheduler: Scheduler;
  readonly chaos: Chaos;
  readonly tally: Tally;
  readonly stage: Stage;
  readonly outside: Outside;
  readonly plan: Plan;
  readonly world: World;
}

function setUp(options: Options): Setting {
  const random = createRandom(options.seed);
  const recorder = createRecorder();
  const stageHost: StageHost = {
    outside: {
      call: (process, request) => outside.call(process, request),
      attempt: (what) => outside.attempt(what),
      happened: (token) => outside.happened(token),
      handOut: (token) => outside.handOut(token),
      get handedOut() {
        return outside.handedOut;
      },
    },
    heard: (process, tag) => recorder.note({ kind: "heard", at: scheduler.now(), by: process.name, tag }),
  };
  const stage = (options.stage ?? scripted)(stageHost);
  const scheduler = createScheduler({ seed: options.seed, quietTurns: stage.quietTurns });
  const outside = createOutside(recorder, scheduler);
  const { plan: given = drawPlan } = options;
  const plan = typeof given === "function" ? given(random.fork("plan")) : given;
  const chaos = createChaos({
    random: random.fork("chaos"),
    profile: options.profile ?? drawProfile(random.fork("profile")),
    leaseMs: LEASE_MS,
    ...(options.planned ? { planned: options.planned } : {}),
  });
  const { apis, workers, local } = plan;
  const tally = createTally();
  const world = createWorld({
    scheduler,
    chaos,
    tally,
    recorder,
    stage,
    apis,
    workers,
    local,
    leaseMs: LEASE_MS,
    ...(options.control ? { control: options.control } : {}),
    ...(options.adapt ? { adapt: options.adapt } : {}),
    ...(options.trace ? { trace: options.trace } : {}),
  });
  return { random, recorder, scheduler, chaos, tally, stage, outside, plan, world };
}

/** Lets the clients play, then lets everything that goes wrong cease, then waits until nothing is left to do. */
async function untilRest(setting: Setting): Promise<void> {
  const { random, recorder, scheduler, chaos, outside, plan, world } = setting;
  const hostOf = (who: string): ClientHost => ({ ...setting, random: random.fork(who) });
  const clients = createClients(hostOf("clients"));
  const readers = createReaders(hostOf("readers"));
  const racers = createRacers(hostOf("racers"));
  const troubleEnds = EPOCH + plan.troubleMs;
  let played = false;
  const drain = (): void => world.drain();
  const cast = { clients, readers, racers, outside, scheduler, random: random.fork("play"), drain };
  const playing = play(plan, cast).then(() => {
    played = true;
  });
  scheduler.after(plan.troubleMs, () => {
    chaos.calm();
    recorder.note({ kind: "calm", at: scheduler.now(), by: "scheduler" });
  });
  let restingSince: number | undefined;
  const atRest = (): boolean => {
    const now = scheduler.now();
    const rests = played && world.idle() && now > troubleEnds;
    restingSince = rests ? (restingSince ?? now) : undefined;
    return restingSince !== undefined && now - restingSince > (readers.waiting > 0 ? READERS_MS : LEASE_MS);
  };
  let rested = await scheduler.run(atRest, troubleEnds + REST_MS);
  if (plan.afterwardsMs > 0) {
    const until = scheduler.now() + plan.afterwardsMs;
    await scheduler.run(() => scheduler.now() >= until, until);
    rested = await scheduler.run(atRest, until + REST_MS);
  }
  if (played) await playing;
  readers.close();
  if (rested) return;
  const message = `no rest after ${REST_MS} ms of calm (${played ? "the fleet is busy" : "clients wait"})`;
  recorder.note({ kind: "defect", at: scheduler.now(), by: "scheduler", message });
}

function verdictOf(seed: Options["seed"], facts: readonly Fact[], { scheduler, tally }: Setting): Verdict {
  const decided = answersTo(facts).filter(({ wish, answer }) => wish.do === "decide" && answer.is === "yes");
  return {
    seed,
    violations: check(facts, { leaseMs: LEASE_MS }),
    facts,
    events: scheduler.events,
    took: scheduler.now() - EPOCH,
    crashes: facts.filter((fact) => fact.kind === "crashed").length,
    runs: new Set(facts.flatMap((fact) => (fact.kind === "run" ? [fact.run.runId] : []))).size,
    decisions: decided.length,
    faults: tally.counts,
  };
}
