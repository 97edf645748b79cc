/** What operators do, as the API sees it. Another tenant's run is `not_found`. */
import type { ErrorInfo } from "../../core/errors.ts";
import type { RunId } from "../../core/ids.ts";
import type { Principal } from "../../core/principal.ts";
import type { Run } from "../../core/run.ts";
import type { TimeWindow } from "../../storage/newest-first.ts";
import type { RunClass } from "../../storage/run-rows.ts";
import type { Timeline } from "./timeline.ts";

export interface RunFilter {
  readonly classes?: readonly RunClass[];
  readonly graphId?: string;
  readonly graphVersion?: string;
  readonly errorClass?: string;
  readonly fingerprint?: string;
  readonly node?: string;
}

/** How many runs there are of each class; `atLeast` where there were too many to count them all. */
export interface RunCounts {
  readonly byClass: Readonly<Partial<Record<RunClass, number>>>;
  readonly atLeast: boolean;
}

/** Failures that have class, node and normalised message in common, as far as the page has read. */
export interface ErrorGroup {
  readonly fingerprint: string;
  /** Of the sample; empty when that is gone by now. */
  readonly errorClass: string;
  readonly node: string;
  readonly count: number;
  /** Table times at which the runs were accepted. */
  readonly firstSeen: number;
  readonly lastSeen: number;
  readonly graphs: readonly string[];
  readonly versions: readonly string[];
  /** The newest of them, unless it is gone by now. */
  readonly sample: { readonly run: Run; readonly error: ErrorInfo } | undefined;
}

export interface Verb {
  readonly runId: RunId;
  readonly reason?: string;
  readonly idempotency?: { readonly key: string; readonly bodyHash: string };
}

export interface OperatorUseCases {
  /** Newest first. `next`: where the next page goes on (`before`); there may be one although this one is not full. */
  list(
    principal: Principal,
    page: RunFilter & TimeWindow & { readonly limit: number },
  ): Promise<{ readonly items: readonly Run[]; readonly next?: string }>;
  count(principal: Principal, filter: RunFilter & TimeWindow): Promise<RunCounts>;
  /** Groups of the newest failures, the last seen first. With `next`, older ones are not counted yet. */
  errors(
    principal: Principal,
    page: TimeWindow & { readonly limit: number },
  ): Promise<{ readonly groups: readonly ErrorGroup[]; readonly next?: string }>;
  timeline(principal: Principal, runId: RunId): Promise<Timeline>;
  /** @throws HoldpointError `conflict` with the reason, for a run that cannot be stopped so */
  cancel(principal: Principal, verb: Verb): Promise<Run>;
  /** Stops a run that has not ended, so that it can be resumed. @throws HoldpointError `conflict` */
  park(principal: Principal, verb: Verb): Promise<Run>;
  /**
   * A new run of the same root, which goes on where this one failed; the effects that happened are not repeated.
   * @throws HoldpointError `conflict` with the reason: active, succeeded, overtaken, a node that is gone; `graph_unavailable`
   */
  retry(principal: Principal, verb: Verb): Promise<Run>;
  /** The same of a parked run, and of no other. */
  resume(principal: Principal, verb: Verb): Promise<Run>;
}
