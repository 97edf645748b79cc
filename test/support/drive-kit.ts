/** One thread on a real saver over a table, driven delivery by delivery as a worker does it. */
import { FencedSaver } from "../../src/checkpoint/saver.ts";
import { createStore } from "../../src/checkpoint/store/store.ts";
import type { TableStore } from "../../src/checkpoint/store/store.ts";
import { systemClock } from "../../src/core/clock.ts";
import type { Clock } from "../../src/core/clock.ts";
import type { EffectEntry } from "../../src/core/effect.ts";
import { HoldpointError } from "../../src/core/errors.ts";
import type { Frame } from "../../src/core/event.ts";
import { runId, tenantId, threadId } from "../../src/core/ids.ts";
import type { Json, JsonObject } from "../../src/core/json.ts";
import { pendingRun } from "../../src/core/run.ts";
import type { Retries, Run, RunPayload, RunSettings } from "../../src/core/run.ts";
import type { GraphContext, Journal, Whereabouts } from "../../src/graph/context.ts";
import { drive } from "../../src/langgraph/drive.ts";
import type { DriveInput, DriveLimits, DriveOutcome } from "../../src/langgraph/drive.ts";
import { registeredGraph } from "../../src/langgraph/registry.ts";
import type { RegisteredGraph } from "../../src/langgraph/registry.ts";
import { valuesAt } from "../../src/langgraph/views.ts";
import { createJournal } from "../../src/runtime/delivery/journal.ts";
import { createEffects } from "../../src/storage/effects.ts";
import type { Effects } from "../../src/storage/effects.ts";
import type { Table } from "../../src/storage/table.ts";
import { createMemoryBlobs } from "./memory-blobs.ts";
import { createMemoryTable } from "./memory-table.ts";
import { noTelemetry } from "../../src/telemetry/open-telemetry.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";

const TENANT = tenantId("t1");
const THREAD = threadId("11111111-1111-4111-8111-111111111111");
const LEASE_MS = 30_000;

/** A clock whose sleeps pass at once and whose time is what was slept. */
export function createInstantClock(): Clock & { advance(ms: number): void } {
  let now = 1_700_000_000_000;
  return {
    wall: () => now,
    monotonic: () => now,
    sleep: async (ms) => {
      now += ms;
    },
    advance: (ms) => {
      now += ms;
    },
  };
}

export interface DeliveryOptions {
  readonly payload?: RunPayload;
  readonly settings?: Partial<RunSettings>;
  /** Decisions by interrupt id. */
  readonly answers?: Readonly<Record<string, Json>>;
  readonly update?: Json;
  readonly goto?: Json;
  /** The run to deliver; a new one unless given. */
  readonly run?: Run;
  /** The process dies before its n-th call of the table, counted from 1. */
  readonly dieAt?: number;
  readonly signal?: AbortSignal;
  readonly drain?: AbortSignal;
  readonly assistant?: { readonly config: JsonObject; readonly context: JsonObject };
  readonly limits?: Partial<DriveLimits>;
  /** Attempts that earlier deliveries made. */
  readonly retries?: Retries;
  /** One whose sleeps pass at once unless given. */
  readonly clock?: Clock;
  /** Only for tests that show what it protects from. */
  readonly journal?: Journal;
  /** Makes what nodes learn of their place in the graph go wrong. */
  readonly whereabouts?: (real: Whereabouts) => Whereabouts;
  readonly deadline?: () => number;
  readonly emit?: (frame: Frame) => void;
  readonly retried?: (node: string) => void;
  readonly newRoot?: string;
}

export interface Delivered {
  readonly outcome: DriveOutcome;
  /** What the delivery threw when its process was made to die. */
  readonly thrown?: unknown;
  readonly frames: readonly Frame[];
  readonly run: Run;
  readonly saver: FencedSaver;
  /** Calls of the table that this delivery made. */
  readonly calls: number;
}

/** A thread of a graph: `new DrivenThread(builder)`, then deliveries, each under the next fence. */
export class DrivenThread {
  readonly tenant = TENANT;
  readonly threadId = THREAD;
  readonly clock = createInstantClock();
  readonly table: Table;
  readonly graph: RegisteredGraph;
  readonly #blobs = createMemoryBlobs();
  #fence = 0;
  #runs = 0;

  /** `limits`: bounds that the graph has of its own, as its entry says; what holds is for a delivery to say. */
  constructor(
    graph: unknown,
    table: Table = createMemoryTable({ now: () => this.clock.wall() }),
    limits: RegisteredGraph["limits"] = {},
  ) {
    this.table = table;
    this.graph = { ...registeredGraph("g", graph), limits };
  }

  /** A run that has not been delivered. */
  newRun(settings: Partial<RunSettings> = {}): Run {
    const id = runId(`22222222-2222-4222-8222-${String(++this.#runs).padStart(12, "0")}`);
    return pendingRun({
      tenant: TENANT,
      threadId: THREAD,
      runId: id,
      kind: "input",
      generation: 0,
      root: id,
      assistantId: "33333333-3333-5333-8333-333333333333",
      graphId: "g",
      pool: "default",
      priority: 5,
      startedBy: "someone",
      stateless: false,
      settings: {
        streamModes: [],
        streamSubgraphs: false,
        streamResumable: false,
        multitaskStrategy: "enqueue",
        ...settings,
      },
      createdAt: this.table.now(),
    });
  }

  /** New input. */
  invoke(input: Json, options: DeliveryOptions = {}): Promise<Delivered> {
    return this.deliver({ ...options, payload: { input, ...options.payload } });
  }

  /** Decisions, as a new run of the same root. */
  resume(answers: Readonly<Record<string, Json>>, options: DeliveryOptions = {}): Promise<Delivered> {
    return this.deliver({ ...options, answers });
  }

  async deliver(options: DeliveryOptions): Promise<Delivered> {
    const run = options.run ?? this.newRun(options.settings);
    const payload = options.payload ?? {};
    const table = dying(this.table, options.dieAt ?? Infinity);
    const fence = ++this.#fence;
    const isNew = payload.input !== undefined && payload.input !== null;
    const saver = new FencedSaver({
      table: table.table,
      blobs: this.#blobs,
      clock: systemClock,
      tenant: TENANT,
      lease: { threadId: THREAD, generation: 0, fence },
      recordDeadlineMs: 2000,
      ...(isNew ? { newRoot: options.newRoot ?? run.root } : {}),
    });
    const frames: Frame[] = [];
    const base = { run, frames, saver };
    try {
      await saver.preload();
      const input = startOf(saver, run, options);
      if (input.kind !== "input" || !isNew) await saver.barrier();
      const outcome = await drive({
        graph: this.graph,
        saver,
        run,
        payload,
        input,
        limits: { ...DEFAULT_LIMITS, steps: 100, ...options.limits },
        retries: options.retries ?? {},
        assistant: options.assistant ?? { config: {}, context: {} },
        store: this.store,
        telemetry: noTelemetry,
        retried: options.retried ?? (() => undefined),
        context: this.#context(run, saver, { ...options, table: table.table, fence }),
        signal: options.signal ?? new AbortController().signal,
        drain: options.drain ?? new AbortController().signal,
        emit: options.emit ?? ((frame) => frames.push(frame)),
      });
      return { ...base, outcome, calls: table.calls() };
    } catch (error) {
      if (options.dieAt === undefined) throw error;
      return { ...base, outcome: { kind: "aborted" }, thrown: error, calls: table.calls() };
    }
  }

  /** The tenant's long-term memory. */
  get store(): TableStore {
    return createStore({ table: this.table, blobs: this.#blobs, tenant: TENANT });
  }

  /** A saver that only reads. */
  reader(): FencedSaver {
    return new FencedSaver({ table: this.table, blobs: this.#blobs, tenant: TENANT, threadId: THREAD });
  }

  effects(root: Run["root"]): Promise<readonly EffectEntry[]> {
    return this.#effects(this.table).ofRoot(TENANT, root);
  }

  journal(fence: number): Journal {
    return this.#journal(this.table, fence);
  }

  #journal(table: Table, fence: number): Journal {
    const effects = this.#effects(table);
    return createJournal({ effects, table, fence, generation: 0, keep: (...of) => effects.kept(...of) });
  }

  #effects(table: Table): Effects {
    return createEffects({ table, blobs: this.#blobs, shards: 1 });
  }

  #context(
    run: Run,
    saver: FencedSaver,
    of: DeliveryOptions & { readonly table: Table; readonly fence: number },
  ): GraphContext {
    return {
      tenant: TENANT,
      run: { runId: run.runId, root: run.root, threadId: THREAD },
      whereabouts: of.whereabouts?.(saver.whereabouts) ?? saver.whereabouts,
      journal: of.journal ?? this.#journal(of.table, of.fence),
      deadline: of.deadline ?? (() => this.table.now() + LEASE_MS),
      now: () => this.table.now(),
      clock: of.clock ?? this.clock,
      signal: of.signal ?? new AbortController().signal,
      services: {
        tenant: TENANT,
        models: () => {
          throw new HoldpointError("not_found", "no models here");
        },
        chat: () => {
          throw new HoldpointError("not_found", "no models here");
        },
        retriever: () => ({ search: async () => [] }),
        settings: {},
      },
      calls: new Map(),
      callbackToken: async (key) => `token of ${key}`,
    };
  }
}

function startOf(saver: FencedSaver, run: Run, { payload, answers, update, goto }: DeliveryOptions): DriveInput {
  if (answers !== undefined) {
    return {
      kind: "resume",
      answers,
      ...(update === undefined ? {} : { update }),
      ...(goto === undefined ? {} : { goto }),
    };
  }
  const hasBegun = saver.head()?.runId === run.runId;
  const hasInput = payload?.input !== undefined && payload.input !== null;
  return !hasBegun && (hasInput || payload?.command !== undefined)
    ? { kind: "input", payload: payload ?? {} }
    : { kind: "continue" };
}

/** A table that, from its n-th call on, is away for ever: what a process that died looks like from inside. */
function dying(table: Table, dieAt: number): { readonly table: Table; readonly calls: () => number } {
  let calls = 0;
  const gone = new HoldpointError("unavailable", "the process died");
  const counted =
    <A extends unknown[], R>(call: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      if (++calls >= dieAt) throw gone;
      return call(...args);
    };
  return {
    calls: () => calls,
    table: {
      get: counted((...args) => table.get(...args)),
      put: counted((...args) => table.put(...args)),
      remove: counted((...args) => table.remove(...args)),
      query: counted((...args) => table.query(...args)),
      queryIndex: counted((...args) => table.queryIndex(...args)),
      batchGet: counted((...args) => table.batchGet(...args)),
      batchPut: counted((...args) => table.batchPut(...args)),
      add: counted((...args) => table.add(...args)),
      now: () => table.now(),
      [Symbol.asyncDispose]: async () => {},
    },
  };
}

/** The values at the head of a thread. */
export async function valuesOf(thread: DrivenThread): Promise<Json> {
  const saver = thread.reader();
  await saver.preload();
  const checkpointId = saver.head()?.checkpointId ?? "";
  return valuesAt({ graph: thread.graph, saver, threadId: thread.threadId, checkpoint: { checkpointId } });
}

/** The back-off of an outcome. @throws Error for any other */
export function backoffOf(outcome: DriveOutcome) {
  if (outcome.kind !== "backoff") throw new Error(`expected a back-off, got ${JSON.stringify(outcome)}`);
  return outcome;
}

/** The interrupts of an outcome. */
export function interruptsOf(outcome: DriveOutcome) {
  return outcome.kind === "interrupted" ? outcome.interrupts : [];
}
