/** API and worker of the service in this process, on tables that are looked at: for what is counted and not timed. */
import type { Clock } from "../../src/core/clock.ts";
import { systemIds, tenantId } from "../../src/core/ids.ts";
import type { ThreadId } from "../../src/core/ids.ts";
import type { Json } from "../../src/core/json.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { Principal } from "../../src/core/principal.ts";
import type { StreamMode } from "../../src/core/run.ts";
import type { GraphRegistry } from "../../src/langgraph/registry.ts";
import { createDeps, createRuntime } from "../../src/runtime/create.ts";
import type { Deps, Log } from "../../src/runtime/deps.ts";
import { langGraphEngine } from "../../src/runtime/engine.ts";
import type { GraphServices } from "../../src/runtime/delivery/graph-context.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { createWorker } from "../../src/runtime/worker/worker.ts";
import type { Worker } from "../../src/runtime/worker/worker.ts";
import { sealedBlobs } from "../../src/storage/encryption/sealed-blobs.ts";
import { plainSealers } from "../../src/storage/encryption/sealer.ts";
import type { Sealers } from "../../src/storage/encryption/sealer.ts";
import type { Table } from "../../src/storage/table.ts";
import { createMemoryBlobs } from "../../test/support/memory-blobs.ts";
import type { Call } from "../support/counting-table.ts";

export const principal: Principal = { tenant: tenantId("bench"), subject: "bench", roles: ["admin"], groups: [] };

/** Says nothing but errors. */
export const silent: Log = {
  debug() {},
  info() {},
  warn() {},
  error: (fields, message) => console.error(message, fields),
};

export interface ServiceOn {
  readonly table: Table;
  readonly graphs: GraphRegistry;
  readonly clock: Clock;
  /** What encrypts content; nothing unless given. */
  readonly sealers?: Sealers;
}

/** A process that serves requests, without a worker. */
export interface Api {
  readonly deps: Deps;
  readonly runtime: ReturnType<typeof createRuntime>;
}

/** A process in the role `api`: others see what it does only in the table. */
export function openApi({ table, graphs, clock, sealers = plainSealers }: ServiceOn): Api {
  const deps = createDeps({
    table,
    blobs: sealedBlobs(createMemoryBlobs(), sealers),
    sealers,
    graphs,
    clock,
    ids: systemIds,
    log: silent,
    settings: {
      leaseMs: 30_000,
      concurrency: 10,
      pool: "default",
      shards: 1,
      limits: DEFAULT_LIMITS,
      owner: `bench/${systemIds.token(4)}`,
    },
  });
  return { deps, runtime: createRuntime(deps) };
}

/** Starts a worker in the process of this API. */
export function startWorker({ deps, runtime }: Api): Worker {
  const none = (): never => {
    throw new Error("there is nothing of this kind here");
  };
  const services: GraphServices = (tenant) => ({ tenant, settings: {}, models: none, chat: none, retriever: none });
  const { assistants } = runtime;
  const worker = createWorker({ deps, engine: langGraphEngine, assistants, services, isKnownDead: () => false });
  worker.start();
  return worker;
}

export interface Asked {
  readonly threadId: ThreadId;
  readonly graphId: string;
  readonly input: Json;
  readonly streamModes: readonly StreamMode[];
  readonly afterMs?: number;
}

/** Has a run accepted on a thread that is there. */
export function acceptOn(runtime: Runtime, { graphId, input, streamModes, ...asked }: Asked) {
  return runtime.runs.accept(principal, {
    ...asked,
    ifNotExists: "reject",
    assistantId: graphId,
    payload: { input },
    settings: { streamModes, streamSubgraphs: false, streamResumable: true, multitaskStrategy: "enqueue" },
  });
}

export async function newThread(runtime: Runtime): Promise<ThreadId> {
  const { thread } = await runtime.threads.create(principal, { metadata: {}, ifExists: "raise" });
  return thread.threadId;
}

export const unitsOf = (calls: readonly Call[]): number => calls.reduce((sum, { units }) => sum + units, 0);

/** Log records, task writes and segments: what any durable checkpointer has to write. */
export const isOfCheckpointer = ({ keys }: Call): boolean => keys.every((key) => /^[CWS]#/.test(key));

/** Batches of the event log. */
export const isOfEvents = ({ keys }: Call): boolean => keys.every((key) => key.startsWith("E#"));
