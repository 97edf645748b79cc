/** What a hold says when it is raised: what its interrupt asks, of whom, and until when. */
import { callbackHoldId } from "../../core/callback-token.ts";
import { NO_DIGEST, makeHoldId, plainDigest } from "../../core/hold.ts";
import type { Hold } from "../../core/hold.ts";
import { reviewTimesOf, timesOf } from "../../core/hold-times.ts";
import type { HoldTimes } from "../../core/hold-times.ts";
import { runId } from "../../core/ids.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import { middlewareActions } from "../../core/middleware-value.ts";
import { reviewRequestOf } from "../../core/review-value.ts";
import type { Run } from "../../core/run.ts";
import { waitOf } from "../../core/wait-value.ts";
import type { WaitingInterrupt } from "../../langgraph/drive.ts";
import { activeTraceparent } from "../../telemetry/spans.ts";
import type { Deps } from "../deps.ts";

interface DraftWith {
  readonly run: Run;
  readonly fence: number;
  readonly root: string;
  readonly startedBy: string;
  readonly interrupt: WaitingInterrupt;
}

/** The hold that an interrupt comes to; undefined for one that no task raised. */
export function draftHold(deps: Deps, { run, fence, root, startedBy, interrupt }: DraftWith): Hold | undefined {
  const { id: interruptId, value, raisedBy, node } = interrupt;
  if (!raisedBy) return undefined;
  const { tenant, threadId, generation } = run;
  const now = deps.table.now();
  const traceparent = activeTraceparent();
  const at = { tenant, threadId, generation, interruptId, now };
  return {
    tenant,
    threadId,
    ...(raisedBy.taskId === "" ? breakpointAt(value, at) : askedBy(value, at)),
    generation,
    fence,
    runId: run.runId,
    root: runId(root),
    graphId: run.graphId,
    assistantId: run.assistantId,
    pool: run.pool,
    startedBy,
    node,
    interruptId,
    raisedBy,
    value,
    state: "pending",
    ...(traceparent === undefined ? {} : { traceparent }),
    followUpDue: false,
    raisedAt: now,
    updatedAt: now,
  };
}

interface AskedAt extends Pick<Hold, "tenant" | "threadId" | "generation" | "interruptId"> {
  readonly now: number;
}

/** No task asks at a breakpoint: its value says where it is, whatever that looks like. */
function breakpointAt(value: Json, at: AskedAt): Pick<Hold, "holdId" | "origin" | "digest"> {
  const digest = plainDigest(value);
  return { holdId: makeHoldId({ ...at, digest }), origin: "breakpoint", digest };
}

/** What the interrupt's value makes of the hold. */
function askedBy(
  value: Json,
  at: AskedAt,
): Pick<Hold, "holdId" | "origin" | "digest" | "request" | "times" | "resultSchema"> {
  const wait = waitOf(value);
  switch (wait?.kind) {
    case "timer": {
      const times = { settlesAt: wait.dueAt };
      return { holdId: makeHoldId({ ...at, digest: NO_DIGEST }), origin: "timer", digest: NO_DIGEST, times };
    }
    case "callback":
      return {
        holdId: callbackHoldId(at, wait.key),
        origin: "callback",
        digest: NO_DIGEST,
        times: { settlesAt: at.now + wait.timeoutMs },
        ...(wait.schema === undefined ? {} : { resultSchema: wait.schema }),
      };
    case undefined: {
      const review = reviewRequestOf(value);
      const digest = review?.digest ?? plainDigest(value);
      const holdId = makeHoldId({ ...at, digest });
      if (!review) return { holdId, origin: middlewareActions(value) ? "middleware" : "interrupt", digest };
      return { holdId, origin: "review", digest, request: review.request, ...reviewTimes(value, at.now) };
    }
  }
}

function reviewTimes(value: Json, now: number): { readonly times?: HoldTimes } {
  const times = timesOf(reviewTimesOf(value as JsonObject), now); // a review's value is an object
  return times === undefined ? {} : { times };
}
