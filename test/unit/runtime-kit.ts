/** What the tests of the runtime stand on: dependencies on a table in memory, a clock that only they move, one scripted graph. */
import { runId, systemIds, tenantId, threadId } from "../../src/core/ids.ts";
import type { Principal } from "../../src/core/principal.ts";
import { pendingRun } from "../../src/core/run.ts";
import type { Run } from "../../src/core/run.ts";
import { createRegistry } from "../../src/langgraph/registry.ts";
import type { GraphRegistry, RegisteredGraph } from "../../src/langgraph/registry.ts";
import { createDeps, createRuntime } from "../../src/runtime/create.ts";
import type { Deps, Settings } from "../../src/runtime/deps.ts";
import type { Engine } from "../../src/runtime/engine.ts";
import type { AcceptRequest, Runtime } from "../../src/runtime/runtime.ts";
import { createWorker } from "../../src/runtime/worker/worker.ts";
import type { DataKeys } from "../../src/storage/encryption/data-keys.ts";
import type { Worker } from "../../src/runtime/worker/worker.ts";
import { createMemoryLog } from "../support/http.ts";
import type { LogLine } from "../support/http.ts";
import { createManualClock } from "../support/manual-clock.ts";
import type { ManualClock } from "../support/manual-clock.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { createMemoryTable } from "../support/memory-table.ts";
import type { MemoryTable } from "../support/memory-table.ts";
import { encryptionOn } from "../support/sealers.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { Limits } from "../../src/core/limits.ts";

export const LEASE_MS = 30_000;
export const ALICE: Principal = { tenant: tenantId("acme"), subject: "alice", roles: ["admin"], groups: [] };

export interface Kit {
  readonly clock: ManualClock;
  readonly table: MemoryTable;
  readonly deps: Deps;
  readonly runtime: Runtime;
  readonly lines: readonly LogLine[];
  /** Where what is kept is encrypted. */
  readonly dataKeys: DataKeys | undefined;
  /** A worker whose graph does what the engine says; by default it is done at once. `on`: what is its process's own. */
  worker(engine?: Partial<Engine>, on?: Partial<Deps>): Worker;
}

/** What differs from the defaults. The graph `g` is there in any case. */
export interface Given {
  readonly graphs?: Readonly<Record<string, Partial<RegisteredGraph>>>;
  readonly settings?: Partial<Omit<Settings, "limits">>;
  readonly limits?: Partial<Limits>;
  /** What is kept is encrypted. */
  readonly encrypted?: true;
}

/** `adapt` stands between the product and its table. */
export function createKit(adapt: (table: MemoryTable) => MemoryTable = (table) => table, given: Given = {}): Kit {
  const clock = createManualClock();
  const table = adapt(createMemoryTable({ now: () => clock.wall() }));
  const log = createMemoryLog();
  const encryption = given.encrypted ? encryptionOn(table) : undefined;
  const deps = createDeps({
    table,
    blobs: createMemoryBlobs(),
    ...(encryption ? { sealers: encryption.strict } : {}),
    graphs: registryOf({ g: {}, ...given.graphs }),
    clock,
    ids: systemIds,
    log,
    settings: {
      leaseMs: LEASE_MS,
      concurrency: 4,
      pool: "default",
      shards: 1,
      owner: "test/owner",
      ...given.settings,
      limits: { ...DEFAULT_LIMITS, ...given.limits },
    },
  });
  const runtime = createRuntime(deps);
  return {
    clock,
    table,
    deps,
    runtime,
    lines: log.lines,
    dataKeys: encryption?.dataKeys,
    worker: (engine, on) =>
      createWorker({
        deps: { ...deps, ...on },
        engine: {
          drive: async () => ({ kind: "done" }),
          hasWorkLeft: async () => false,
          missingNodes: async () => [],
          breakpointAtHead: async () => undefined,
          ...engine,
        },
        assistants: runtime.assistants,
        services: () => ({}) as never, // no graph asks for one
        isKnownDead: () => false,
      }),
  };
}

/** Graphs that are registered and never executed. */
export function registryOf(graphs: NonNullable<Given["graphs"]>): GraphRegistry {
  return createRegistry(
    Object.entries(graphs).map(([graphId, own]) => ({
      graphId,
      version: "1",
      pool: "default",
      priority: 5,
      pinned: false,
      limits: {},
      compiled: () => Promise.reject(new Error("these tests execute no graph")),
      ...own,
    })),
  );
}

/** A request for a run with input on this thread; without one, a stateless run. */
export function inputFor(thread: Run["threadId"] | undefined): AcceptRequest {
  return {
    threadId: thread,
    ifNotExists: "create",
    assistantId: "g",
    payload: { input: {} },
    settings: { streamModes: [], streamSubgraphs: false, streamResumable: false, multitaskStrategy: "enqueue" },
  };
}

/** A run that no header names. */
export function looseRun(kit: Kit, fields: Partial<Run> = {}): Run {
  const base = pendingRun({
    tenant: ALICE.tenant,
    threadId: threadId(kit.deps.ids.uuid()),
    runId: runId(kit.deps.ids.uuid()),
    kind: "input",
    generation: 0,
    root: runId(kit.deps.ids.uuid()),
    assistantId: "g",
    graphId: "g",
    pool: "default",
    priority: 5,
    startedBy: ALICE.subject,
    stateless: false,
    settings: inputFor(undefined).settings,
    payload: { input: {} },
    createdAt: kit.table.now(),
  });
  return { ...base, ...fields };
}
