/** The use cases as the API sees them. Each takes the principal first; another tenant's object is `not_found`. */
import type { ErrorInfo, HoldpointError } from "../core/errors.ts";
import type { RunId, ThreadId } from "../core/ids.ts";
import type { Json, JsonObject } from "../core/json.ts";
import type { Principal } from "../core/principal.ts";
import type { CheckpointSelector, Run, RunPayload, RunSettings, StopAction } from "../core/run.ts";
import type { Thread, ThreadTtl } from "../core/thread.ts";
import type { WaitingFor } from "../core/waiting-for.ts";
import type { CallbackUseCases } from "./decisions/callback.ts";
import type { ShownState } from "../langgraph/views.ts";
import type { AuditUseCases } from "./audit/audit-log.ts";
import type { OperatorUseCases } from "./operators/use-cases.ts";
import type { AssistantRecord } from "../storage/assistants.ts";
import type { EffectUseCases } from "./effects/effects.ts";
import type { PolicyUseCases } from "./policies/use-cases.ts";
import type { LinkUseCases } from "./reviews/links.ts";
import type { ReviewUseCases } from "./reviews/use-cases.ts";
import type { ScheduleUseCases } from "./schedules/use-cases.ts";
import type { WebhookUseCases } from "./webhooks/use-cases.ts";

export interface AcceptRequest {
  /** Undefined: a stateless run, on a fresh thread. */
  readonly threadId: ThreadId | undefined;
  readonly ifNotExists: "reject" | "create";
  /** An assistant's id, or a graph id for its default assistant. */
  readonly assistantId: string;
  readonly payload: RunPayload;
  readonly settings: RunSettings;
  /** Do not begin before this long from now. */
  readonly afterMs?: number;
  /** What becomes of reviews that wait on the thread: `cancel` wins each as cancelled; otherwise the run is refused. */
  readonly onPending?: "cancel";
  /** With the strategy `rollback`: also over effects that happened. */
  readonly force?: boolean;
  readonly idempotency?: { readonly key: string; readonly bodyHash: string };
  readonly replay?: Replay;
  /** Ids that follow from what asks for the run: however often it is asked for, it is this one. */
  readonly named?: { readonly runId: RunId; readonly threadId: ThreadId };
}

/** The run is another attempt at one that has ended: of its root, and on behalf of who started that. */
export interface Replay {
  readonly of: Run;
  /** Why the thread, as its header is now, does not take it: asked before every attempt to append it there. */
  readonly obstacle: (thread: Thread, run: Run) => Promise<HoldpointError | undefined>;
}

/** What a run came to: what `wait` and `join` answer. */
export type RunResult =
  | { readonly kind: "values"; readonly run: Run; readonly values: Json }
  | { readonly kind: "interrupted"; readonly run: Run; readonly interrupts: readonly Json[]; readonly values: Json }
  | { readonly kind: "failed"; readonly run: Run; readonly error: ErrorInfo };

/** A frame as a reader gets it: references filled in. */
export interface ReadFrame {
  readonly number: number;
  readonly event: string;
  readonly data: Json;
}

/** What `follow` yields: frames in their order, then the end, read from the run item. */
export type Followed =
  | { readonly kind: "frame"; readonly frame: ReadFrame }
  | { readonly kind: "end"; readonly run: Run };

export interface FollowRequest {
  readonly threadId: ThreadId;
  readonly runId: RunId;
  /** Number of the last frame the reader has; -1 for everything; undefined for what comes from now on. */
  readonly after: number | undefined;
  readonly signal: AbortSignal;
}

export interface RunUseCases {
  accept(principal: Principal, request: AcceptRequest): Promise<Run>;
  get(principal: Principal, threadId: ThreadId, runId: RunId): Promise<Run>;
  payload(run: Run): Promise<RunPayload>;
  /** Why a run has not begun; undefined once it has. */
  waitingFor(run: Run): Promise<WaitingFor | undefined>;
  /** The thread of a stateless run. */
  threadOf(principal: Principal, runId: RunId): Promise<ThreadId>;
  list(principal: Principal, threadId: ThreadId): Promise<readonly Run[]>;
  /** Resolves when the cancel is durable; with `wait`, when the run has ended. */
  cancel(principal: Principal, cancel: CancelRun): Promise<Run>;
  /** Resolves when every cancel is durable. */
  cancelMany(principal: Principal, cancel: CancelMany): Promise<void>;
  /** Resolves when the run has ended. Rejects with the signal's reason when it aborts. */
  wait(principal: Principal, threadId: ThreadId, runId: RunId, signal: AbortSignal): Promise<RunResult>;
  follow(principal: Principal, request: FollowRequest): AsyncIterable<Followed>;
}

export interface CancelRun {
  readonly threadId: ThreadId;
  readonly runId: RunId;
  readonly wait: boolean;
  /** `interrupt` unless given: its steps are kept. */
  readonly action?: StopAction;
  /** Roll back although an effect happened. */
  readonly force?: boolean;
  /** It ends as parked: see `CancelRequest`. */
  readonly parks?: true;
  /** Meant is what the run does: one that has ended as held keeps its questions. */
  readonly onlyUnfinished?: boolean;
  readonly reason?: string;
  readonly signal: AbortSignal;
}

/** States of runs that have not ended, as clients name them. */
export type UnfinishedStatus = "pending" | "running" | "all";

export interface CancelMany extends Pick<CancelRun, "action" | "force" | "reason" | "signal"> {
  /** Without one: wherever the runs are, and of those that are not named, the tenant's busy threads. */
  readonly threadId?: ThreadId;
  readonly which:
    | { readonly kind: "named"; readonly runIds: readonly RunId[] }
    | { readonly kind: "status"; readonly status: UnfinishedStatus };
}

/** An assistant as clients see it: also the default one of a graph, which is computed and never stored. */
export type Assistant = Omit<AssistantRecord, "tenant">;

export interface AssistantUseCases {
  create(principal: Principal, assistant: NewAssistant): Promise<Assistant>;
  /** By id, or by graph id for the default assistant. */
  get(principal: Principal, assistantId: string): Promise<Assistant>;
  search(
    principal: Principal,
    search: AssistantSearch,
  ): Promise<{ readonly items: readonly Assistant[]; readonly total: number }>;
}

export interface NewAssistant {
  readonly graphId: string;
  readonly assistantId?: string;
  readonly name?: string;
  readonly description?: string;
  readonly config?: JsonObject;
  readonly context?: JsonObject;
  readonly metadata?: JsonObject;
  readonly ifExists: "raise" | "do_nothing";
}

export interface AssistantSearch {
  readonly graphId?: string;
  readonly name?: string;
  readonly metadata?: JsonObject;
  readonly limit: number;
  readonly offset: number;
  readonly sortBy: "assistant_id" | "graph_id" | "name" | "created_at" | "updated_at";
  readonly sortOrder: "asc" | "desc";
}

/** A thread with what its header only refers to. */
export interface ThreadView {
  readonly thread: Thread;
  readonly metadata: JsonObject;
  readonly values: Json | null;
  /** Task id → the interrupts it raised, as LangGraph shows them. */
  readonly interrupts: Readonly<Record<string, readonly Json[]>>;
  /** Of a search: why everything but the header is left out. */
  readonly unreadable?: ErrorInfo;
}

export interface ThreadUseCases {
  create(principal: Principal, thread: NewThread): Promise<ThreadView>;
  get(principal: Principal, threadId: ThreadId): Promise<ThreadView>;
  /** Merges into the metadata; another time to live counts from now on. */
  patch(
    principal: Principal,
    threadId: ThreadId,
    change: { readonly metadata: JsonObject; readonly ttl?: ThreadTtl },
  ): Promise<ThreadView>;
  remove(principal: Principal, threadId: ThreadId): Promise<void>;
  /** A new thread with everything that this one has come to, but for its runs and what waits there. */
  copy(principal: Principal, threadId: ThreadId): Promise<ThreadView>;
  /** How many of these threads are now deleted, or hold their latest checkpoints only; one that is in use keeps them all. */
  prune(principal: Principal, threadIds: readonly ThreadId[], strategy: ThreadTtl["strategy"]): Promise<number>;
  search(
    principal: Principal,
    search: ThreadSearch,
  ): Promise<{ readonly items: readonly ThreadView[]; readonly total: number }>;
  state(
    principal: Principal,
    threadId: ThreadId,
    at: { readonly checkpoint?: CheckpointSelector; readonly subgraphs: boolean },
  ): Promise<ShownState>;
  updateState(principal: Principal, threadId: ThreadId, update: StateUpdate): Promise<JsonObject>;
  history(principal: Principal, threadId: ThreadId, page: HistoryPage): Promise<readonly ShownState[]>;
}

export interface NewThread {
  readonly threadId?: ThreadId;
  readonly metadata: JsonObject;
  readonly ifExists: "raise" | "do_nothing";
  readonly ttl?: ThreadTtl;
}

export interface ThreadSearch {
  readonly ids?: readonly string[];
  readonly metadata?: JsonObject;
  readonly values?: JsonObject;
  readonly status?: "idle" | "busy" | "interrupted" | "error";
  readonly limit: number;
  readonly offset: number;
  readonly sortBy: "thread_id" | "status" | "created_at" | "updated_at" | "state_updated_at";
  readonly sortOrder: "asc" | "desc";
}

export interface StateUpdate {
  readonly values: Json | undefined;
  readonly asNode?: string;
  readonly checkpoint?: CheckpointSelector;
  /** What becomes of reviews that wait on the thread: `cancel` wins each as cancelled; otherwise the update is refused. */
  readonly onPending?: "cancel";
}

export interface HistoryPage {
  readonly limit: number;
  readonly before?: string;
  readonly metadata?: JsonObject;
  readonly checkpoint?: CheckpointSelector;
}

export interface StoredItem {
  readonly namespace: readonly string[];
  readonly key: string;
  readonly value: JsonObject;
  readonly createdAt: Date;
  readonly updatedAt: Date;
  /** Of a search by meaning. */
  readonly score?: number;
}

export interface StorePut {
  readonly namespace: readonly string[];
  readonly key: string;
  readonly value: JsonObject;
  readonly index?: readonly string[] | false;
  /** Minutes to live; null for ever. */
  readonly ttl?: number | null;
}

export interface StoreSearch {
  readonly prefix: readonly string[];
  readonly filter?: JsonObject;
  readonly query?: string;
  readonly limit: number;
  readonly offset: number;
  readonly refreshTtl?: boolean;
}

export interface NamespaceSearch {
  readonly prefix?: readonly string[];
  readonly suffix?: readonly string[];
  readonly maxDepth?: number;
  readonly limit: number;
  readonly offset: number;
}

/** The tenant's long-term memory, as its graphs have it. A namespace that none can have is `invalid`. */
export interface StoreUseCases {
  put(principal: Principal, item: StorePut): Promise<void>;
  get(
    principal: Principal,
    at: { readonly namespace: readonly string[]; readonly key: string; readonly refreshTtl?: boolean },
  ): Promise<StoredItem | undefined>;
  remove(principal: Principal, at: { readonly namespace: readonly string[]; readonly key: string }): Promise<void>;
  search(principal: Principal, search: StoreSearch): Promise<readonly StoredItem[]>;
  namespaces(principal: Principal, search: NamespaceSearch): Promise<readonly (readonly string[])[]>;
}

export interface Runtime {
  readonly webhooks: WebhookUseCases;
  readonly schedules: ScheduleUseCases;
  readonly store: StoreUseCases;
  readonly runs: RunUseCases;
  readonly threads: ThreadUseCases;
  readonly assistants: AssistantUseCases;
  readonly reviews: ReviewUseCases;
  readonly callbacks: CallbackUseCases;
  readonly links: LinkUseCases;
  readonly effects: EffectUseCases;
  readonly audit: AuditUseCases;
  readonly policies: PolicyUseCases;
  readonly operators: OperatorUseCases;
}
