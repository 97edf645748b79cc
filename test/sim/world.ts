/**
 * A small fleet in one Node process: API processes and workers on one table, each with dependencies of its own (I7),
 * nothing in common but that table. A process that dies is replaced after a while by one that remembers nothing.
 */
import { createRuntime } from "../../src/runtime/create.ts";
import type { Deps } from "../../src/runtime/deps.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { createWorker } from "../../src/runtime/worker/worker.ts";
import type { Worker } from "../../src/runtime/worker/worker.ts";
import type { Chaos } from "./chaos.ts";
import { createCourier } from "./courier.ts";
import type { Courier } from "./courier.ts";
import type { Tally } from "./faults.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { processDeps } from "./process-deps.ts";
import type { Recorder } from "./recorder.ts";
import type { Scheduler, SimProcess } from "./scheduler.ts";
import { createSimTable } from "./sim-table.ts";
import type { SimTable } from "./sim-table.ts";
import type { Stage } from "./stage.ts";

/** One protection taken away, to show that the checker would see it missing. */
export type Control = "none" | "forget-write-ids";

export interface WorldOptions {
  readonly scheduler: Scheduler;
  readonly chaos: Chaos;
  readonly tally: Tally;
  readonly recorder: Recorder;
  readonly leaseMs: number;
  readonly apis: number;
  readonly workers: number;
  /** Processes can tell cheaply whether the table has changed, as on one file. */
  readonly local: boolean;
  readonly stage: Stage;
  readonly control?: Control;
  /** Changes what a process is given, for negative controls. */
  readonly adapt?: (deps: Deps) => Deps;
  /** How the calls of a process travel; as chaos draws it unless given. */
  readonly courierOf?: (process: SimProcess) => Courier;
  readonly trace?: (line: string) => void;
}

export interface Api {
  readonly process: SimProcess;
  readonly runtime: Runtime;
}

export interface World {
  /** An API process that is alive; undefined while none is. */
  api(): Api | undefined;
  readonly table: SimTable;
  /** Asks one worker to stop, as SIGTERM does; another comes in its place. */
  drain(): void;
  /** True when no index row asks a worker to do anything soon, and no process is frozen. */
  idle(): boolean;
}

const TEN_MINUTES_MS = 600_000;
/** What is due later than this is looked after in minutes: orphans, threads of stateless runs. */
const SOON_MS = 30_000;

/** The table time that a row of the `due` index names; ready rows are due already. */
const dueAt = (sort: string): number => (/^[tl]#/.test(sort) ? Number(sort.slice(2, 15)) : -Infinity);

export function createWorld(options: WorldOptions): World {
  const { scheduler, chaos, tally, recorder, leaseMs, trace } = options;
  const due = new Map<string, number>();
  const blobs = createMemoryBlobs();
  const apis: Api[] = [];
  const workers: { readonly process: SimProcess; readonly worker: Worker }[] = [];
  const processes: SimProcess[] = [];

  const onCrash = (process: SimProcess): void => {
    recorder.note({ kind: "crashed", at: scheduler.now(), by: process.name });
    const role = process.name.startsWith("api") ? startApi : startWorker;
    scheduler.after(scheduler.random.exponential(leaseMs / 2), role);
  };
  const chaotic = (process: SimProcess): Courier =>
    createCourier(
      {
        scheduler,
        chaos,
        tally,
        leaseMs,
        onCrash,
        onDelay: (slow, kind, ms) => recorder.note({ kind, at: scheduler.now(), by: slow.name, ms }),
        ...(trace ? { trace: (line) => trace(`${scheduler.now()} ${line}`) } : {}),
      },
      process,
    );
  const table = createSimTable({
    scheduler,
    chaos,
    tally,
    courierOf: options.courierOf ?? chaotic,
    onChange(change) {
      recorder.onChange(change);
      const { key, after } = change;
      const name = `${key.pk} ${key.sk}`;
      const row = after?.index?.due;
      if (row) due.set(name, dueAt(row.sk));
      else due.delete(name);
    },
    ...(options.control === "forget-write-ids" ? { forgetWriteIds: true } : {}),
  });

  const depsOf = (process: SimProcess): Deps =>
    processDeps(process, { ...options, table: table.handle(process, { local: options.local }), blobs });

  const newProcess = (role: string): SimProcess => {
    const skewMs = scheduler.random.pick([0, 0, TEN_MINUTES_MS, -TEN_MINUTES_MS, 1234]);
    if (skewMs === TEN_MINUTES_MS) tally.count("a wall clock ten minutes ahead");
    if (skewMs === -TEN_MINUTES_MS) tally.count("a wall clock ten minutes behind");
    const process = scheduler.process(`${role}${processes.length + 1}`, { skewMs });
    processes.push(process);
    return process;
  };
  const isKnownDead = (owner: string): boolean => {
    const isRash = chaos.rash();
    const isAlive = processes.some(({ name, alive }) => alive && owner.startsWith(`${name}/`));
    if (isRash && isAlive) tally.count("a live owner taken for dead");
    return isRash;
  };

  function startApi(): void {
    const process = newProcess("api");
    apis.push({ process, runtime: createRuntime(depsOf(process)) });
  }
  function startWorker(): void {
    const process = newProcess("worker");
    const deps = depsOf(process);
    const engine = options.stage.engineOf(deps, process);
    const { assistants } = createRuntime(deps);
    const worker = createWorker({
      deps,
      engine,
      assistants,
      services: () => ({}) as never,
      isKnownDead,
    });
    void process.enter(async () => worker.start());
    recorder.note({ kind: "started", at: scheduler.now(), by: process.name });
    workers.push({ process, worker });
  }

  for (let i = 0; i < options.apis; i++) startApi();
  for (let i = 0; i < options.workers; i++) startWorker();

  return {
    table,
    api() {
      const alive = apis.filter(({ process }) => process.alive);
      return alive.length === 0 ? undefined : scheduler.random.pick(alive);
    },
    drain() {
      const alive = workers.filter(({ process }) => process.alive);
      if (alive.length === 0) return;
      const { process, worker } = scheduler.random.pick(alive);
      void process
        .enter(() => worker.drain())
        .then(() => {
          process.kill();
          tally.count("a worker drained");
          recorder.note({ kind: "drained", at: scheduler.now(), by: process.name });
          startWorker();
        });
    },
    idle() {
      const now = scheduler.now();
      const awake = processes.every(({ alive, frozenUntil }) => !alive || frozenUntil <= now);
      return awake && [...due.values()].every((at) => at > now + SOON_MS);
    },
  };
}
