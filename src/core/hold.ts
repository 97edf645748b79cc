/**
 * Holds: points at which a run waits for a decision. A decision is won by one conditional write on the hold (I4),
 * bound to the digest of what was shown.
 */
import { HoldpointError } from "./errors.ts";
import type { HoldDesk } from "./hold-desk.ts";
import { decisionId, holdId, namedUuid, runId, sha256 } from "./ids.ts";
import type { DecisionId, HoldId, RunId, TenantId, ThreadId } from "./ids.ts";
import { timesAgain } from "./hold-times.ts";
import type { HoldTimes } from "./hold-times.ts";
import { canonicalJson } from "./json.ts";
import type { Json, JsonObject } from "./json.ts";
import { middlewareReply } from "./middleware-value.ts";
import type { Origin } from "./principal.ts";
import type { Run } from "./run.ts";

/** What `review()` shows to a person, and what its digest covers. */
export interface ReviewRequest {
  /** Number of this review within one execution of its node. */
  readonly number: number;
  readonly title: string;
  readonly description?: string;
  readonly action: string;
  readonly args: JsonObject;
  readonly argsSchema?: JsonObject;
  readonly risk?: "low" | "medium" | "high";
  /** Who may decide; empty means every reviewer of the tenant. */
  readonly groups?: readonly string[];
  /** How many people must give the same answer; one when it is left out. A rejection needs no second one. */
  readonly quorum?: number;
  /** Whoever started the run may not decide. */
  readonly fourEyes?: boolean;
  /** For finding it. */
  readonly tags?: readonly string[];
}

/** Digest of what was shown: never of times, groups or quorum. */
export function reviewDigest(request: ReviewRequest): string {
  const { number, title, description, action, args, argsSchema, risk } = request;
  return sha256(
    canonicalJson({
      number,
      title,
      description: description ?? null,
      action,
      args,
      argsSchema: argsSchema ?? null,
      risk: risk ?? null,
    }),
  );
}

/** Digest of a plain interrupt: of its whole value. */
export function plainDigest(value: unknown): string {
  return sha256(canonicalJson(value));
}

/** The task that raised an interrupt, and how many answers it had then: decides whether the interrupt still waits. */
export interface RaisedBy {
  readonly id: string;
  readonly ns: string;
  readonly checkpointId: string;
  readonly taskId: string;
  readonly ordinal: number;
}

/** What a reviewer answers. */
export type Answer =
  | { readonly type: "approve" }
  | { readonly type: "edit"; readonly args: JsonObject }
  | { readonly type: "reject"; readonly message?: string }
  | { readonly type: "response"; readonly message: string };

/**
 * For a review: a typed answer. For a plain interrupt: the value that `interrupt()` returns. For tool calls that LangChain's
 * middleware asks about: one answer for each of them.
 */
export type HoldAnswer =
  | Answer
  | { readonly type: "value"; readonly value: Json }
  | { readonly type: "decisions"; readonly decisions: readonly Answer[] };

/** How the interrupt was raised, and so the one form of answer that its code accepts. */
export type HoldOrigin = "review" | "interrupt" | "middleware" | "breakpoint" | "timer" | "callback";

/** What one person said of a review that needs several. */
export interface Vote {
  readonly id: DecisionId;
  readonly by: string;
  readonly at: number;
  readonly comment?: string;
  readonly answer: HoldAnswer;
  /** Where it came from, for the record. */
  readonly origin?: Origin;
  /** Who made the link with which it was given. */
  readonly linkBy?: string;
}

export interface Decision extends Vote {
  /** Nobody gave the answer: the hold's time had come, or a policy approves what it asks. */
  readonly cause?: "time" | "policy";
  /** Digest of the body that a callback arrived with, by which a repeat is recognised. */
  readonly bodyDigest?: string;
  /** The run that carries it on, unless another continuation is queued already. */
  readonly continuation: RunId;
}

export type HoldState = "pending" | "decided" | "applied" | "superseded" | "cancelled";

/** What a topic of Amazon SNS said when it was subscribed. Nothing here ever fetches the address. */
export interface Subscription {
  readonly topicArn: string;
  readonly subscribeUrl: string;
  readonly at: number;
}

export interface Hold extends HoldDesk {
  readonly tenant: TenantId;
  readonly threadId: ThreadId;
  readonly holdId: HoldId;
  readonly generation: number;
  /** Fence of the delivery that raised it: open only while the run item names it under the same fence. */
  readonly fence: number;
  readonly runId: RunId;
  readonly root: RunId;
  readonly graphId: string;
  readonly assistantId: string;
  readonly pool: string;
  readonly startedBy: string;
  readonly node: string;
  readonly origin: HoldOrigin;
  readonly interruptId: string;
  readonly raisedBy: RaisedBy;
  /** The interrupt's value, as LangGraph shows it. */
  readonly value: Json;
  /** Present when `origin` is `review`. */
  readonly request?: ReviewRequest;
  readonly digest: string;
  /** Its graph was registered so that new input does not pass what waits, whoever asked it. */
  readonly strict?: true;
  readonly state: HoldState;
  /** W3C traceparent of the delivery that raised it; absent where nobody records traces. */
  readonly traceparent?: string;
  readonly times?: HoldTimes;
  /** Of a callback: the JSON Schema that what arrives must fit. */
  readonly resultSchema?: JsonObject;
  /** Of a callback: a topic that asks to be confirmed, which only an operator may do. */
  readonly subscription?: Subscription;
  readonly decision?: Decision;
  /**
   * What a callback brought, when the run that was to carry it on did not: nobody is asked again, and time brings it on
   * again later.
   */
  readonly kept?: Decision;
  /** How often a decision has come back, because the run that was to carry it on did not. */
  readonly returned?: number;
  /** The run that carries the decision on, once that is known: another decision's continuation may do so as well. */
  readonly carriedBy?: RunId;
  /**
   * The highest fence that was given the decision to apply, has given the hold back, or has cancelled it for its run: only that one may say what came
   * of it, and a lower one has no say any more.
   */
  readonly handedTo?: number;
  /** Whether its follow-up (the continuation in the header's queue) is still to be done (I11). */
  readonly followUpDue: boolean;
  readonly reason?: string;
  /** Who cancelled it. */
  readonly cancelledBy?: string;
  readonly raisedAt: number;
  readonly updatedAt: number;
}

/** A hold that nobody has decided is open only while this is true of the run that it names. */
export function namesHold(run: Run, hold: Hold): boolean {
  return run.fence === hold.fence && (namedBy(run)?.includes(hold.holdId) ?? false);
}

/** One that is to stop, and was asked in its sleep, waits for nothing any more. */
function namedBy({ status, end, sleep, cancelAsked }: Run): readonly HoldId[] | undefined {
  if (status === "held") return end?.holds;
  const waits = status === "waiting" && sleep?.kind === "hold" && cancelAsked === undefined;
  return waits ? sleep.holds : undefined;
}

/** No person decides it: a time does, or another system. */
export const isWait = ({ origin }: Hold): boolean => origin === "timer" || origin === "callback";

export interface HoldIdentity {
  readonly tenant: TenantId;
  readonly threadId: ThreadId;
  readonly generation: number;
  readonly interruptId: string;
  readonly digest: string;
}

/** Timers and callbacks leave the digest out: the first that was raised stands, whatever its code says later. */
export const NO_DIGEST = "";

/**
 * Plain interrupts, the middleware's included, and breakpoints let new input pass them, unless their graph is strict;
 * everything else that waits is in its way.
 */
export const isInTheWay = ({ origin, strict }: Hold): boolean => strict === true || !LENIENT.has(origin);

const LENIENT: ReadonlySet<HoldOrigin> = new Set(["interrupt", "middleware", "breakpoint"]);

/** What stands for the interrupt that a breakpoint is not: one a stop, named after its value, which says where it is. */
export const breakpointId = (value: Json): string => sha256(canonicalJson(["breakpoint", value])).slice(0, 32);

export function makeHoldId(h: HoldIdentity): HoldId {
  return holdId(sha256(canonicalJson([h.tenant, h.threadId, h.generation, h.interruptId, h.digest])).slice(0, 32));
}

const NAMESPACE = "b6c9c1a0-5f7e-5c39-9d5b-9f3a6f0d2c11";

/** The id of the run that carries a decision on: the same for every party that completes the follow-up. */
export function continuationId(hold: HoldId, decision: string): RunId {
  return runId(namedUuid(canonicalJson([hold, decision]), NAMESPACE));
}

/**
 * A decision's id made from an idempotency key, so that a repeat is recognised as the same decision. `returned`: that of
 * the hold; what is decided under a key once more, after it came back, is another decision.
 */
export function keyedDecisionId(hold: HoldId, by: string, key: string, returned = 0): DecisionId {
  return decisionId(namedUuid(canonicalJson([hold, by, key, ...(returned === 0 ? [] : [returned])]), NAMESPACE));
}

export function decided(hold: Hold, decision: Decision): Hold {
  return { ...hold, state: "decided", decision, followUpDue: true, updatedAt: decision.at };
}

/** @throws HoldpointError `lost` when a later holder than that of `fence` has raised the hold, or was given it */
export function assertNotLaterThan(fence: number, hold: Hold): void {
  if (Math.max(hold.fence, hold.handedTo ?? 0) > fence)
    throw new HoldpointError("lost", `another holder has hold ${hold.holdId}`);
}

/** Undefined when there is nothing to hand over. @throws HoldpointError `lost` when a later holder has it */
export function handedTo(hold: Hold, fence: number, run: RunId): Hold | undefined {
  assertNotLaterThan(fence, hold);
  const isNew = hold.handedTo !== fence || hold.carriedBy !== run;
  return hold.state === "decided" && isNew ? { ...hold, handedTo: fence, carriedBy: run } : undefined;
}

/**
 * A decision that its continuation could not carry on is asked for again, of everyone who had a part in it too, and no
 * earlier holder may raise it anew. Who has answered a callback has done so for good.
 */
export function reopened(hold: Hold, reason: string, now: number): Hold {
  const { decision, carriedBy: _carriedBy, votes: _votes, times, ...before } = hold;
  const rest = { ...before, returned: (hold.returned ?? 0) + 1 };
  if (hold.origin === "callback" && decision !== undefined && decision.cause !== "time") {
    const soon = timesAgain({ ...times, settlesAt: now }, now);
    return { ...rest, kept: decision, times: soon, state: "pending", followUpDue: false, reason, updatedAt: now };
  }
  const again = times === undefined ? {} : { times: timesAgain(times, now) };
  return { ...rest, ...again, state: "pending", followUpDue: false, reason, updatedAt: now };
}

export function applied(hold: Hold, now: number): Hold {
  return { ...hold, state: "applied", followUpDue: false, updatedAt: now };
}

/** Why a decision is set aside that was given to something else than is shown now. */
export const ASKED_AGAIN = "asked again with other content";

export function superseded(hold: Hold, reason: string, now: number): Hold {
  return { ...hold, state: "superseded", followUpDue: false, reason, updatedAt: now };
}

/**
 * What a timer or a callback came to, of which its run has not heard before it was over. Whoever asks for the same again,
 * as a retry does, is given it.
 */
export function unheard(hold: Hold, why: string, now: number): Hold {
  return { ...hold, state: "cancelled", followUpDue: false, reason: why, updatedAt: now };
}

/**
 * An undecided hold goes back to the held run that asked for it, when the run that might have asked again did not end as
 * held. It is the word of the holder of fence `by`: an earlier one may not take it from there any more.
 */
export function givenBack(
  hold: Hold,
  to: { readonly runId: RunId; readonly fence: number },
  at: { readonly by: number; readonly now: number },
): Hold {
  return { ...hold, runId: to.runId, fence: to.fence, handedTo: at.by, updatedAt: at.now };
}

/** `followUpDue` keeps a cancelled hold findable until the header's summary is corrected. */
export function cancelledHold(
  hold: Hold,
  by: string,
  reason: string,
  at: { readonly now: number; readonly followUpDue: boolean },
): Hold {
  return {
    ...hold,
    state: "cancelled",
    followUpDue: at.followUpDue,
    reason: `${reason} (${by})`,
    cancelledBy: by,
    updatedAt: at.now,
  };
}

/** `queued`: the continuation that is to carry the decision on, unless one has been given it already. */
export function followedUp(hold: Hold, queued?: RunId): Hold {
  const isGiven = queued === undefined || hold.carriedBy !== undefined;
  return { ...hold, ...(isGiven ? {} : { carriedBy: queued }), followUpDue: false };
}

/** What LangGraph hands back to the code that raised the hold. */
export function resumeValue(hold: Hold): Json {
  const answer = hold.decision?.answer;
  if (!answer) throw new HoldpointError("internal", `hold ${hold.holdId} has no decision`);
  if (answer.type === "value") return answer.value;
  if (answer.type === "decisions") return middlewareReply(hold.value, answer.decisions);
  const by = hold.decision?.by ?? "";
  const comment = hold.decision?.comment;
  return {
    holdpoint: "answer",
    number: hold.request?.number ?? 0,
    digest: hold.digest,
    decidedBy: by,
    ...(comment === undefined ? {} : { comment }),
    ...answer,
  };
}
