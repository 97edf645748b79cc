/** What one simulated process is made of: dependencies of its own (I7), nothing in common with others but the table. */
import { isHoldpointError } from "../../src/core/errors.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { createDeps } from "../../src/runtime/create.ts";
import type { Deps, Log } from "../../src/runtime/deps.ts";
import type { Blobs } from "../../src/storage/blobs.ts";
import type { Table } from "../../src/storage/table.ts";
import type { Recorder } from "./recorder.ts";
import type { Scheduler, SimProcess } from "./scheduler.ts";
import type { Stage } from "./stage.ts";

export interface ProcessDepsOptions {
  readonly table: Table;
  readonly blobs: Blobs;
  readonly stage: Stage;
  readonly scheduler: Pick<Scheduler, "now">;
  readonly recorder: Recorder;
  readonly leaseMs: number;
  /** Partitions of the `due` index; 2 unless given. */
  readonly shards?: number;
  /** Changes what a process is given, for negative controls. */
  readonly adapt?: (deps: Deps) => Deps;
  readonly trace?: (line: string) => void;
}

export function processDeps(process: SimProcess, options: ProcessDepsOptions): Deps {
  const graph = options.stage.graphOf(process);
  const deps = createDeps({
    table: options.table,
    blobs: options.blobs,
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
      leaseMs: options.leaseMs,
      concurrency: 4,
      pool: "default",
      shards: options.shards ?? 2,
      limits: { ...DEFAULT_LIMITS, steps: 50 },
      owner: process.name,
    },
  });
  return options.adapt?.(deps) ?? deps;
}

/** Logs count only where they report a failure that is none of those that a table may cause. */
function logOf(process: SimProcess, { recorder, scheduler, trace }: ProcessDepsOptions): Log {
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
