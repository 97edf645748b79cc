/** Reviews as the API sees them. */
import type { DeskWork } from "../../core/hold-desk.ts";
import type { Hold, HoldAnswer } from "../../core/hold.ts";
import type { Principal } from "../../core/principal.ts";
import type { ReviewFilter } from "../../core/review-filter.ts";
import type { HoldpointError } from "../../core/errors.ts";
import type { DecideRequest } from "../decisions/decide.ts";
import type { ReviewStatistics } from "./statistics.ts";

export interface ReviewUseCases {
  list(principal: Principal, page: ReviewPage): Promise<{ readonly items: readonly Hold[]; readonly next?: string }>;
  /** How many there are, as the index says, which may be a moment late. */
  count(principal: Principal, filter: ReviewFilter): Promise<ReviewCounts>;
  /** A review's id is `<thread id>.<hold id>`. */
  get(principal: Principal, reviewId: string): Promise<Hold>;
  decide(principal: Principal, reviewId: string, decision: DecideRequest): Promise<Hold>;
  decideMany(principal: Principal, decisions: DecideMany): Promise<readonly Decided[]>;
  /** Claims, releases, snoozes, assigns or comments. */
  work(principal: Principal, reviewId: string, request: WorkRequest): Promise<Hold>;
  /** What is open, then every change of it, until the signal aborts. */
  watch(principal: Principal, filter: ReviewFilter, signal: AbortSignal): AsyncIterable<ReviewChange>;
  statistics(principal: Principal, since: number): Promise<ReviewStatistics>;
}

export interface ReviewPage {
  readonly state: "open" | "done";
  readonly filter?: ReviewFilter;
  readonly limit: number;
  /** Where the page before this one ended. A page may have fewer than `limit`, even none, and still a next one. */
  readonly after?: string;
}

/** Of what is open and meant. `atLeast`: there are more, and only so many were looked at. */
export interface ReviewCounts {
  readonly open: number;
  readonly assignedToMe: number;
  readonly unassigned: number;
  readonly snoozed: number;
  readonly byRisk: { readonly [risk in "low" | "medium" | "high" | "none"]: number };
  readonly atLeast: boolean;
}

export interface DecideMany {
  readonly reviews: readonly (Pick<DecideRequest, "digest" | "ifMatch"> & { readonly id: string })[];
  readonly answer: HoldAnswer;
  readonly comment?: string;
  readonly idempotencyKey?: string;
  /** Only says what would be refused. */
  readonly dryRun: boolean;
}

/** What became of one review of several. */
export type Decided = { readonly id: string } & ({ readonly hold: Hold } | { readonly error: HoldpointError });

export interface WorkRequest {
  readonly work: DeskWork;
  readonly ifMatch?: string;
}

/** `gone`: it is not among what is open and meant any more. */
export type ReviewChange =
  | { readonly kind: "review"; readonly hold: Hold }
  | { readonly kind: "gone"; readonly id: string }
  /** Everything that is open now was sent. */
  | { readonly kind: "ready"; readonly truncated: boolean };
