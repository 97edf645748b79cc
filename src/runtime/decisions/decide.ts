/**
 * Decisions. A decision is won by one conditional write on the hold (I4), which stays findable in the `due` index
 * until the thread's header has a continuation in its queue (I11). It is recognised by its own id: a reviewer whose
 * decision stands is never told that it lost.
 */
import { HoldpointError } from "../../core/errors.ts";
import {
  assertHasNotVoted,
  assertMayDecide,
  assertUnclaimed,
  decides,
  deskVersion,
  voted,
} from "../../core/hold-desk.ts";
import { isOverdue } from "../../core/hold-time.ts";
import { continuationId, decided, keyedDecisionId, namesHold } from "../../core/hold.ts";
import type { Hold, HoldAnswer, Vote } from "../../core/hold.ts";
import { decisionId } from "../../core/ids.ts";
import type { DecisionId } from "../../core/ids.ts";
import { canonicalJson } from "../../core/json.ts";
import type { Principal } from "../../core/principal.ts";
import type { Stored } from "../../storage/records.ts";
import { auditVote } from "../audit/audit-hold.ts";
import type { Deps } from "../deps.ts";
import { inItsTime } from "./expiry.ts";
import { assertCommented, assertForPeople, fittingAnswer } from "./answers.ts";

export interface DecideRequest {
  /** A typed answer for a review; for a plain `interrupt()`, the value that it returns. */
  readonly answer: HoldAnswer;
  readonly comment?: string;
  /** Digest of what the reviewer was shown. */
  readonly digest: string;
  /** `deskVersion` of the review as the reviewer saw it. */
  readonly ifMatch?: string;
  readonly idempotencyKey?: string;
  /** The link with which it is given. */
  readonly link?: { readonly id: string; readonly issuedBy: string };
}

/** How long a decision waits for the run that raised its hold to have ended as `held`. */
const HELD_SOON_MS = 1000;
const HELD_POLL_MS = 50;

/** Decides, or is one of the votes that a review needs. @throws HoldpointError why it cannot be */
export async function decide(
  deps: Deps,
  principal: Principal,
  first: Stored<Hold>,
  request: DecideRequest,
): Promise<Hold> {
  const fresh = decisionId(deps.ids.uuid());
  let current: Stored<Hold> | undefined = first;
  while (current) {
    const hold: Hold = current.value;
    const id = keyedId(hold, principal, request) ?? fresh;
    const mine = voteOf(hold, id);
    if (mine) return request.link ? hold : repeated(hold, mine.answer, request.answer);
    assertUnused(hold, request);
    const inTime: Stored<Hold> | undefined = await inItsTime(deps, current);
    if (inTime !== current) {
      current = inTime;
      continue;
    }
    const answer = answerTo(hold, { principal, request, now: deps.table.now() });
    const newer = await assertOpen(deps, hold);
    if (newer) {
      current = newer;
      continue;
    }
    const { next, vote } = answered(hold, { id, answer, principal, request, now: deps.table.now() });
    // A decision is recorded with what follows it.
    if (next.state === "pending") await auditVote(deps, hold, vote);
    const written = await deps.holds.put(next, { version: current.version });
    if (written.won) {
      if (next.state !== "pending") countDecided(deps, next);
      return written.stored.value;
    }
    current = written.current;
  }
  throw new HoldpointError("not_found", "the review was removed");
}

const countDecided = ({ telemetry }: Deps, { graphId: graph, updatedAt, raisedAt }: Hold): void =>
  telemetry.metrics.holdDecided({ graph, ageMs: updatedAt - raisedAt });

const voteOf = ({ decision, votes = [] }: Hold, id: DecisionId): Vote | undefined =>
  [decision, ...votes].find((vote) => vote?.id === id);

/** Undefined without an `Idempotency-Key`. */
function keyedId(
  { holdId, returned }: Hold,
  { subject }: Principal,
  { idempotencyKey: key }: DecideRequest,
): DecisionId | undefined {
  return key === undefined ? undefined : keyedDecisionId(holdId, subject, key, returned);
}

interface Answered {
  readonly id: DecisionId;
  readonly answer: HoldAnswer;
  readonly principal: Principal;
  readonly request: DecideRequest;
  readonly now: number;
}

/** The hold with one more answer: decided, unless it needs others. */
function answered(
  hold: Hold,
  { id, answer, principal: { subject, origin }, request: { comment, link }, now }: Answered,
): { readonly next: Hold; readonly vote: Vote } {
  const vote: Vote = {
    id,
    by: subject,
    at: now,
    ...(comment === undefined ? {} : { comment }),
    answer,
    ...(origin === undefined ? {} : { origin }),
    ...(link === undefined ? {} : { linkBy: link.issuedBy }),
  };
  const after = decides(hold, answer)
    ? decided(hold, { ...vote, continuation: continuationId(hold.holdId, id) })
    : voted(hold, vote);
  return { next: link ? { ...after, usedLinks: [...(hold.usedLinks ?? []), link.id] } : after, vote };
}

/** What `decide` would refuse is refused, and nothing is written. @throws HoldpointError as `decide` does */
export async function assertDecidable(
  deps: Deps,
  principal: Principal,
  first: Stored<Hold>,
  request: DecideRequest,
): Promise<void> {
  let current: Stored<Hold> | undefined = first;
  while (current) {
    const now = deps.table.now();
    answerTo(current.value, { principal, request, now });
    if (isOverdue(current.value, now)) throw expired(current.value);
    current = await assertOpen(deps, current.value);
  }
}

interface Asked {
  readonly principal: Principal;
  readonly request: DecideRequest;
  readonly now: number;
}

/** The answer as the hold takes it. @throws HoldpointError what the table of answers says */
function answerTo(hold: Hold, { principal, request, now }: Asked): HoldAnswer {
  assertForPeople(hold);
  assertUndecided(hold);
  assertMayDecide(principal, hold);
  assertHasNotVoted(principal, hold);
  if (request.digest !== hold.digest) {
    throw new HoldpointError("precondition_failed", "the review has changed since it was shown; read it again", {
      detail: { digest: hold.digest },
    });
  }
  const version = deskVersion(hold);
  if (request.ifMatch !== undefined && request.ifMatch !== version) {
    throw new HoldpointError("precondition_failed", "somebody has worked on the review since; read it again", {
      detail: { version },
    });
  }
  const answer = fittingAnswer(hold, request.answer);
  assertCommented(hold, answer, request.comment);
  assertUnclaimed(principal, hold, now);
  return answer;
}

/** Its answer may have come back since, because the run that was to carry it on failed: that is for people to see anew. */
function assertUnused({ usedLinks = [] }: Hold, { link }: DecideRequest): void {
  if (link && usedLinks.includes(link.id)) throw usedLink();
}

export const usedLink = (): HoldpointError => new HoldpointError("gone", "this link has been used");

/** The same key with the same answer is the same decision; with another answer it is a mistake. */
function repeated(hold: Hold, given: HoldAnswer, answer: HoldAnswer): Hold {
  if (canonicalJson(given) === canonicalJson(fittingAnswer(hold, answer))) return hold;
  throw new HoldpointError("invalid", "this Idempotency-Key was used for another decision");
}

/** @throws HoldpointError as `whyDecided` says */
export function assertUndecided(hold: Hold): void {
  const why = whyDecided(hold);
  if (why) throw why;
}

/** Why no answer is taken any more: `conflict` with who decided, `gone` with the reason; undefined while one is. */
export function whyDecided(hold: Hold): HoldpointError | undefined {
  switch (hold.state) {
    case "pending":
      return undefined;
    case "decided":
    case "applied": {
      if (hold.decision?.cause === "time") return expired(hold);
      const { by, at, answer } = hold.decision ?? { by: "unknown", at: hold.updatedAt, answer: { type: "value" } };
      return new HoldpointError(
        "conflict",
        `already decided: ${answer.type} by ${by} at ${new Date(at).toISOString()}`,
        {
          detail: { decided_by: by, decided_at: new Date(at).toISOString(), decision: answer.type },
        },
      );
    }
    case "superseded":
    case "cancelled":
      return new HoldpointError("gone", `the review is ${hold.state}: ${hold.reason ?? "no reason recorded"}`, {
        detail: { state: hold.state, reason: hold.reason ?? null },
      });
  }
}

function expired({ decision, times, updatedAt }: Hold): HoldpointError {
  const at = new Date(decision?.at ?? times?.settlesAt ?? updatedAt).toISOString();
  return new HoldpointError("gone", `the review has expired at ${at}: nobody had decided it in time`, {
    detail: { state: "expired", expired_at: at, decision: decision?.answer.type ?? null },
  });
}

/**
 * A hold is open only while the run that it names is `held` and names it under the same fence. Returns the hold as it is
 * now when it was raised again meanwhile, by who took the run over.
 */
export async function assertOpen(deps: Deps, hold: Hold): Promise<Stored<Hold> | undefined> {
  const until = deps.clock.monotonic() + HELD_SOON_MS;
  for (;;) {
    const run = (await deps.runs.get(hold, hold.runId))?.value;
    if (run && namesHold(run, hold)) return undefined;
    if (!run || (run.status !== "running" && run.status !== "pending")) {
      const now = await deps.holds.get(hold, hold.holdId);
      if (now && now.value.fence !== hold.fence) return now;
      throw new HoldpointError("gone", `the run that asked for this review is ${run?.status ?? "gone"}`);
    }
    if (deps.clock.monotonic() >= until) {
      throw new HoldpointError("unavailable", "the run that asks for this review has not stopped yet", {
        retryAfterMs: 1000,
      });
    }
    await deps.clock.sleep(HELD_POLL_MS);
  }
}
