/**
 * Who is let in. A process that has more to do than it can refuses what may come back later, before it reads a body or
 * the table for it, so that what it did take on, and what lets work end, is done in time.
 */
import { HoldpointError } from "../core/errors.ts";
import type { IdSource, TenantId } from "../core/ids.ts";
import { limitError } from "../core/limits.ts";
import type { Limits } from "../core/limits.ts";
import { createBacklog } from "../runtime/accept/backlog.ts";
import type { Backlog } from "../runtime/accept/backlog.ts";
import type { Deps } from "../runtime/deps.ts";
import { jittered } from "../runtime/accept/retry-after.ts";
import type { TableHealth } from "../runtime/table-health.ts";
import { monitorLoopDelay } from "./loop-delay.ts";
import type { Rank } from "./ranks.ts";

export interface Admission {
  /** Why a request of this rank is not let in now: `unavailable` or `limit`; undefined when it is. */
  refusal(rank: Rank, tenant: TenantId): HoldpointError | undefined;
  /** Counts a request in. */
  enter(rank: Rank, tenant: TenantId): Admitted;
  /** The same for a new run once it is known for which pool it is. @throws HoldpointError `limit` */
  enterPool(tenant: TenantId, pool: string): void;
}

/** A request that is being worked on, until it is disposed. */
export interface Admitted extends Disposable {
  /** From now on it only waits or streams, and does not count. */
  waits(): void;
}

export interface AdmissionOptions {
  readonly limits: Pick<Limits, "requestsInFlight" | "eventLoopDelayMs">;
  readonly backlog: Backlog;
  readonly table: Pick<TableHealth, "isThere">;
  readonly loop: { readonly delayMs: number };
  readonly ids: IdSource;
}

/** Of the requests that may be in flight, how many there may be when another of this rank comes. */
const SHARE: Readonly<Record<Rank, number>> = { new: 0.6, ordinary: 0.8, vital: 1 };
/** Of the bound on the event loop's delay, how many times it is too much for this rank. */
const LATENESS: Readonly<Record<Rank, number>> = { new: 1, ordinary: 3, vital: Infinity };
const WHAT: Readonly<Record<Rank, string>> = {
  new: "new runs are refused",
  ordinary: "all but decisions, resumes and cancels is refused",
  vital: "everything is refused",
};
/** About how long such a load, or an outage, takes to pass. */
const RETRY_MS = 2000;

export function createAdmission({ limits, backlog, table, loop, ids }: AdmissionOptions): Admission {
  let inFlight = 0;
  const crowded = (rank: Rank): HoldpointError | undefined => {
    const most = Math.ceil(limits.requestsInFlight * SHARE[rank]);
    if (inFlight < most) return undefined;
    const what = `${inFlight} requests are being worked on, and from ${most} on ${WHAT[rank]}`;
    return limitError("requestsInFlight", what, limits.requestsInFlight, jittered(RETRY_MS, ids));
  };
  const late = (rank: Rank): HoldpointError | undefined => {
    const delayMs = Math.round(loop.delayMs);
    if (delayMs < limits.eventLoopDelayMs * LATENESS[rank]) return undefined;
    const what = `the process is ${delayMs} ms late, and ${WHAT[rank]}`;
    return limitError("eventLoopDelayMs", what, limits.eventLoopDelayMs, jittered(RETRY_MS, ids));
  };
  return {
    refusal(rank, tenant) {
      if (!table.isThere) {
        return new HoldpointError("unavailable", "the table cannot be reached", {
          retryAfterMs: jittered(RETRY_MS, ids),
        });
      }
      return crowded(rank) ?? late(rank) ?? (rank === "new" ? backlog.refusal(tenant) : undefined);
    },
    enter(rank, tenant) {
      if (rank === "new") backlog.letIn(tenant);
      inFlight++;
      let counts = true;
      const leave = (): void => {
        if (counts) inFlight--;
        counts = false;
      };
      return { waits: leave, [Symbol.dispose]: leave };
    },
    enterPool(tenant, pool) {
      const refusal = backlog.refusal(tenant, pool);
      if (refusal) throw refusal;
      backlog.letIn(tenant, pool);
    },
  };
}

/** Admission to what runs on these dependencies, as this process and its table are now. */
export function measuredAdmission(
  { table, graphs, clock, ids, settings }: Deps,
  health: Pick<TableHealth, "isThere">,
): Admission & Disposable {
  const { shards, limits } = settings;
  const pools = [...new Set(graphs.list().map(({ pool }) => pool))];
  const backlog = createBacklog({ table, clock, ids, pools, shards, limits });
  const loop = monitorLoopDelay(clock);
  const admission = createAdmission({ limits, backlog, table: health, loop, ids });
  return { ...admission, [Symbol.dispose]: () => loop[Symbol.dispose]() };
}

/** Lets everybody in. */
export const openDoors: Admission = {
  refusal: () => undefined,
  enter: () => ({ waits: () => undefined, [Symbol.dispose]: () => undefined }),
  enterPool: () => undefined,
};
