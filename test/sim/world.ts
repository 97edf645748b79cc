/**
 * A small fleet in one Node process: API processes and workers on one table, each with dependencies of its own (I7),
 * nothing in common but that table. A process that dies is replaced after a while by one that remembers nothing.
 */
import { isHoldpointError } from "../../src/core/errors.ts";
import { createDeps, createRuntime } from "../../src/runtime/create.ts";
import type { Deps, Log } from "../../src/runtime/deps.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { createWorker } from "../../src/runtime/worker/worker.ts";
import type { Worker } from "../../src/runtime/worker/worker.ts";
import type { Table } from "../../src/storage/table.ts";
import type { Chaos } from "./chaos.ts";
import { createMemoryBlobs } from "./memory-blobs.ts";
import type { Recorder } from "./recorder.ts";
import type { Scheduler, SimProcess } from "./scheduler.ts";
import { createSimTable } from "./sim-table.ts";
import type { SimTable } from "./sim-table.ts";
import type { Stage } from "./stage.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";

/** One protection taken away, to show that the checker would see it missing. */
export type Control = "none" | "forget-write-ids";

export interface WorldOptions {
  readonly scheduler: Scheduler;
  readonly chaos: Chaos;
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
  /** True when no index row asks a worker to do anything, and no process is frozen. */
  idle(): boolean;
}

const SHARDS = 2;

export function createWorld(options: WorldOptions): World {
  const { scheduler, chaos, recorder, leaseMs } = options;
  const due = new Set<string>();
  const blobs = createMemoryBlobs();
  const apis: Api[] = [];
  const workers: { readonly process: SimProcess; readonly worker: Worker }[] = [];
  const processes: SimProcess[] = [];

  const table = createSimTable({
    scheduler,
    chaos,
    onChange(change) {
      recorder.onChange(change);
      const { key, after } = change;
      const name = `${key.pk} ${key.sk}`;
      if (after?.index?.due && !key.sk.startsWith("R#")) due.add(name);
      else due.delete(name);
    },
    onCrash(process) {
      recorder.note({ kind: "crashed", at: scheduler.now(), by: process.name });
      const role = process.name.startsWith("api") ? startApi : startWorker;
      scheduler.after(scheduler.random.exponential(leaseMs / 2), role);
    },
    onDelay: (process, kind, ms) => recorder.note({ kind, at: scheduler.now(), by: process.name, ms }),
    ...(options.control === "forget-write-ids" ? { forgetWriteIds: true } : {}),
    ...(options.trace ? { trace: (line) => options.trace?.(`${scheduler.now()} ${line}`) } : {}),
  });

  const depsOf = (process: SimProcess): Deps => {
    const handle: Table = table.handle(process, { local: options.local });
    const graph = options.stage.graphOf(process);
    const deps = createDeps({
      table: handle,
      blobs,
      graphs: {
        get: (id) => (id === graph.graphId ? graph : undefined),
        failure: () => undefined,
        list: () => [graph],
        failures: () => [],
      },
      clock: process.clock,
      ids: process.ids,
      log: logOf(process, options),
      settings: {
        leaseMs,
        concurrency: 4,
        pool: "default",
        shards: SHARDS,
        limits: { ...DEFAULT_LIMITS, steps: 50 },
        owner: process.name,
      },
    });
    return options.adapt?.(deps) ?? deps;
  };

  const newProcess = (role: string): SimProcess => {
    const process = scheduler.process(`${role}${processes.length + 1}`, {
      skewMs: scheduler.random.pick([0, 0, 600_000, -600_000, 1234]),
    });
    processes.push(process);
    return process;
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
      isKnownDead: () => chaos.rash(),
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
          recorder.note({ kind: "drained", at: scheduler.now(), by: process.name });
          startWorker();
        });
    },
    idle: () => due.size === 0 && processes.every(({ alive, frozenUntil }) => !alive || frozenUntil <= scheduler.now()),
  };
}

/** Logs count only where they report a failure that is none of those that a table may cause. */
function logOf(process: SimProcess, { recorder, scheduler, trace }: WorldOptions): Log {
  const line = (level: string, fields: Readonly<Record<string, unknown>>, message: string): void => {
    trace?.(`${scheduler.now()} ${process.name} ${level}: ${message} ${describe(fields)}`);
    const error = fields["err"];
    const expected =
      isHoldpointError(error, "unavailable") || isHoldpointError(error, "lost") || isHoldpointError(error, "conflict");
    if (error === undefined || expected) return;
    const text = error instanceof Error ? (error.stack ?? error.message) : JSON.stringify(error);
    recorder.note({ kind: "defect", at: scheduler.now(), by: process.name, message: `${message}: ${text}` });
  };
  return {
    debug: (fields, message) => line("debug", fields, message),
    info: (fields, message) => line("info", fields, message),
    warn: (fields, message) => line("warn", fields, message),
    error: (fields, message) => line("error", fields, message),
  };
}

function describe(fields: Readonly<Record<string, unknown>>): string {
  return Object.entries(fields)
    .map(([name, value]) => `${name}=${value instanceof Error ? value.message : String(value)}`)
    .join(" ");
}
