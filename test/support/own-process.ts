/** What a process of its own is, as far as its table can tell: dependencies, use cases and workers under one owner. */
import { systemClock } from "../../src/core/clock.ts";
import { systemIds } from "../../src/core/ids.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { GraphRegistry } from "../../src/langgraph/registry.ts";
import { createDeps, createRuntime } from "../../src/runtime/create.ts";
import type { Deps } from "../../src/runtime/deps.ts";
import { langGraphEngine } from "../../src/runtime/engine.ts";
import { createWorker } from "../../src/runtime/worker/worker.ts";
import type { Table } from "../../src/storage/table.ts";
import { createMemoryLog } from "./http.ts";

export interface OwnProcess {
  readonly table: Table;
  readonly blobs: Deps["blobs"];
  readonly graphs: GraphRegistry;
  readonly owner: string;
}

/** On the machine's clock. `workerWith`: a worker whose dependencies differ in this. */
export function openProcess({ owner, ...given }: OwnProcess) {
  const settings = { leaseMs: 1000, concurrency: 2, pool: "default", shards: 1, owner, limits: DEFAULT_LIMITS };
  const deps = createDeps({ ...given, clock: systemClock, ids: systemIds, log: createMemoryLog(), settings });
  const runtime = createRuntime(deps);
  const { assistants } = runtime;
  const workerWith = (own: Partial<Deps> = {}) => {
    const host = { deps: { ...deps, ...own }, engine: langGraphEngine, assistants, services: () => ({}) as never };
    return createWorker({ ...host, isKnownDead: () => false });
  };
  return { deps, runtime, workerWith };
}
