/**
 * Everything that is bounded, with the name under which an error speaks of it. Defaults and settings are in `config.ts`;
 * a graph may set some of its own in `langgraph.json`.
 */
import { HoldpointError } from "./errors.ts";

/** Bounds on what one run may use. */
export interface RunLimits {
  /** From a run's first delivery until it must have ended, back-offs included. */
  readonly runTimeoutMs: number;
  /** Supersteps of a lineage: continuations and later deliveries share it; new input begins anew. */
  readonly steps: number;
  /** One attempt of one node. */
  readonly nodeTimeoutMs: number;
  /** Serialized bytes of all channels of a namespace. */
  readonly stateBytes: number;
  /** Tasks of one superstep. */
  readonly parallelTasks: number;
  /** Bytes of the frames of one run in the event log; what comes after is dropped, and marked so. */
  readonly eventBytes: number;
}

/** Bounds of a process or a thread. */
export interface Limits extends RunLimits {
  /** Runs that wait in the queue of one thread. */
  readonly queuePerThread: number;
  /** Runs of one tenant that one worker executes at once. */
  readonly tenantConcurrency: number;
  /** How long a run waits for a worker that has its graph in a version that may execute it. */
  readonly graphWaitMs: number;
  /** Threads with work that waits for a worker: of one tenant, and of all. */
  readonly backlogPerTenant: number;
  readonly backlog: number;
  /** Requests that one process works on at once, those that only wait or stream not counted. */
  readonly requestsInFlight: number;
  /** Delay of the event loop from which on new work is refused. */
  readonly eventLoopDelayMs: number;
  /** How long frames stay readable. */
  readonly eventRetentionMs: number;
}

const NAMES = {
  runTimeoutMs: "run time-out",
  steps: "step budget",
  nodeTimeoutMs: "node time-out",
  stateBytes: "state size",
  parallelTasks: "parallel tasks",
  eventBytes: "event log per run",
  queuePerThread: "queue per thread",
  tenantConcurrency: "runs of a tenant per worker",
  graphWaitMs: "wait for a graph",
  backlogPerTenant: "backlog of a tenant",
  backlog: "backlog",
  requestsInFlight: "requests in flight",
  eventLoopDelayMs: "event loop delay",
  eventRetentionMs: "event retention",
} as const satisfies Record<keyof Limits, string>;

/** The variable that sets each limit. */
export const LIMIT_SETTINGS = {
  runTimeoutMs: "HOLDPOINT_RUN_TIMEOUT_MS",
  steps: "HOLDPOINT_MAX_STEPS",
  nodeTimeoutMs: "HOLDPOINT_NODE_TIMEOUT_MS",
  stateBytes: "HOLDPOINT_MAX_STATE_BYTES",
  parallelTasks: "HOLDPOINT_MAX_PARALLEL_TASKS",
  eventBytes: "HOLDPOINT_MAX_EVENT_BYTES",
  queuePerThread: "HOLDPOINT_MAX_QUEUE",
  tenantConcurrency: "HOLDPOINT_TENANT_CONCURRENCY",
  graphWaitMs: "HOLDPOINT_GRAPH_WAIT_MS",
  backlogPerTenant: "HOLDPOINT_MAX_TENANT_BACKLOG",
  backlog: "HOLDPOINT_MAX_BACKLOG",
  requestsInFlight: "HOLDPOINT_MAX_REQUESTS",
  eventLoopDelayMs: "HOLDPOINT_MAX_LOOP_DELAY_MS",
  eventRetentionMs: "HOLDPOINT_EVENT_RETENTION_MS",
} as const satisfies Record<keyof Limits, string>;

/** Runs that wait on one thread: its header has room for no more. */
export const MAX_QUEUE = 100;

export const DEFAULT_LIMITS: Limits = {
  runTimeoutMs: 3_600_000,
  steps: 25,
  nodeTimeoutMs: 600_000,
  stateBytes: 32 * 1024 * 1024,
  parallelTasks: 1000,
  eventBytes: 16 * 1024 * 1024,
  queuePerThread: MAX_QUEUE,
  tenantConcurrency: 1000,
  graphWaitMs: 3_600_000,
  backlogPerTenant: 20_000,
  backlog: 100_000,
  requestsInFlight: 500,
  eventLoopDelayMs: 1000,
  eventRetentionMs: 30 * 24 * 3_600_000,
};

/** What sets a bound of a run where it is not the variable. */
export type SetBy = Readonly<Partial<Record<keyof RunLimits, string>>>;

/** The bounds that a graph has of its own, by where they stand. */
export function setByGraph({
  graphId,
  limits,
}: {
  readonly graphId: string;
  readonly limits: Partial<RunLimits>;
}): SetBy {
  return Object.fromEntries(
    Object.keys(limits).map((limit) => [limit, `graphs.${graphId}.limits.${limit} in langgraph.json`]),
  );
}

/** What is said of a bound that was reached: its name, its value, and the setting that moves it. */
export function limitReached(limit: keyof Limits, what: string, value: number, setBy: SetBy = {}) {
  const setting = { ...LIMIT_SETTINGS, ...setBy }[limit];
  const message = `${what} (limit: ${NAMES[limit]}, ${value}${settingText(setting)}`;
  return { message, limit: NAMES[limit], value, setting };
}

/** The same as an error. */
export function limitError(limit: keyof Limits, what: string, value: number, retryAfterMs?: number): HoldpointError {
  const { message, ...detail } = limitReached(limit, what, value);
  return new HoldpointError("limit", message, { detail, ...(retryAfterMs === undefined ? {} : { retryAfterMs }) });
}

/** How a message about a bound ends. */
const settingText = (setting: string): string => `; setting: ${setting})`;

/** The error of a bound that names the variable, naming what has set it for this run. */
export function attributed(error: HoldpointError, setBy: SetBy): HoldpointError {
  const { code, message, detail = {} } = error;
  const variable = String(detail["setting"]);
  const own = Object.entries(setBy).find(([limit]) => variables.get(limit) === variable)?.[1];
  if (code !== "limit" || own === undefined) return error;
  const told = message.replace(settingText(variable), settingText(own));
  return new HoldpointError(code, told, { detail: { ...detail, setting: own }, cause: error.cause });
}

const variables: ReadonlyMap<string, string> = new Map(Object.entries(LIMIT_SETTINGS));
