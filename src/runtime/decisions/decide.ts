/**
 * Decisions. A decision is won by one conditional write on the hold (I4), which stays findable in the `due` index
 * until the thread's header has a continuation in its queue (I11). It is recognised by its own id: a reviewer whose
 * decision stands is never told that it lost.
 */
import { z } from "zod";
import { HoldpointError } from "../../core/errors.ts";
import { continuationId, decided, keyedDecisionId, namesHold } from "../../core/hold.ts";
import type { Decision, Hold, HoldAnswer } from "../../core/hold.ts";
import { decisionId, holdId as asHoldId, isUuid, threadId as asThreadId } from "../../core/ids.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import type { Principal } from "../../core/principal.ts";
import { parseAnswer } from "../../core/review-value.ts";
import type { Run } from "../../core/run.ts";
import type { Stored } from "../../storage/records.ts";
import type { Deps } from "../deps.ts";
import { followUpSoon } from "./follow-up.ts";
import type { DecideRequest, ReviewUseCases } from "../runtime.ts";
import { tellOfDecision } from "../webhooks/announce.ts";

/** How long a decision waits for the run that raised its hold to have ended as `held`. */
const HELD_SOON_MS = 1000;
const HELD_POLL_MS = 50;

export function createReviews(deps: Deps): ReviewUseCases {
  const find = async (principal: Principal, reviewId: string): Promise<Stored<Hold>> => {
    const [thread = "", hold = ""] = reviewId.split(".");
    const ref = { tenant: principal.tenant, threadId: asThreadId(thread) };
    const found = isUuid(thread) && hold ? await deps.holds.get(ref, asHoldId(hold)) : undefined;
    const header = found && (await deps.threads.get(ref));
    if (!found || !header || header.value.deleted || header.value.generation !== found.value.generation) {
      throw new HoldpointError("not_found", `Review ${reviewId} not found`);
    }
    return found;
  };
  return {
    async list(principal, { state, limit, after }) {
      const page = await deps.holds.list(principal.tenant, state === "open", {
        limit,
        descending: state === "done",
        ...(after === undefined ? {} : { after }),
      });
      return { items: page.items, ...(page.next === undefined ? {} : { next: page.next }) };
    },
    get: async (principal, reviewId) => (await find(principal, reviewId)).value,
    async decide(principal, reviewId, request) {
      const hold = await decide(deps, principal, await find(principal, reviewId), request);
      const now = await followUpSoon(deps, hold);
      // It may have come back meanwhile, and somebody else have decided it: nobody is answered with another's decision.
      return now && now.decision?.id === hold.decision?.id ? now : hold;
    },
  };
}

async function decide(deps: Deps, principal: Principal, first: Stored<Hold>, request: DecideRequest): Promise<Hold> {
  const id =
    request.idempotencyKey === undefined
      ? decisionId(deps.ids.uuid())
      : keyedDecisionId(first.value.holdId, principal.subject, request.idempotencyKey);
  let current: Stored<Hold> | undefined = first;
  while (current) {
    const hold: Hold = current.value;
    if (hold.decision?.id === id) return repeated(hold, request.answer);
    assertUndecided(hold);
    assertMayDecide(principal, hold);
    if (request.digest !== hold.digest) {
      throw new HoldpointError("precondition_failed", "the review has changed since it was shown; read it again", {
        detail: { digest: hold.digest },
      });
    }
    assertAnswerFits(hold, request.answer);
    const newer = await assertOpen(deps, hold);
    if (newer) {
      current = newer;
      continue;
    }
    const decision: Decision = {
      id,
      by: principal.subject,
      at: deps.table.now(),
      ...(request.comment === undefined ? {} : { comment: request.comment }),
      answer: request.answer,
      continuation: continuationId(hold.holdId, id),
    };
    const written = await deps.holds.put(decided(hold, decision), { version: current.version });
    if (written.won) return written.stored.value;
    current = written.current;
  }
  throw new HoldpointError("not_found", "the review was removed");
}

/** The same key with the same answer is the same decision; with another answer it is a mistake. */
function repeated(hold: Hold, answer: HoldAnswer): Hold {
  if (JSON.stringify(hold.decision?.answer) === JSON.stringify(answer)) return hold;
  throw new HoldpointError("invalid", "this Idempotency-Key was used for another decision");
}

function assertUndecided(hold: Hold): void {
  switch (hold.state) {
    case "pending":
      return;
    case "decided":
    case "applied": {
      const { by, at, answer } = hold.decision ?? { by: "unknown", at: hold.updatedAt, answer: { type: "value" } };
      throw new HoldpointError(
        "conflict",
        `already decided: ${answer.type} by ${by} at ${new Date(at).toISOString()}`,
        {
          detail: { decided_by: by, decided_at: new Date(at).toISOString(), decision: answer.type },
        },
      );
    }
    case "superseded":
    case "cancelled":
      throw new HoldpointError("gone", `the review is ${hold.state}: ${hold.reason ?? "no reason recorded"}`, {
        detail: { state: hold.state, reason: hold.reason ?? null },
      });
  }
}

function assertMayDecide(principal: Principal, hold: Hold): void {
  const groups = hold.request?.groups ?? [];
  if (groups.length === 0 || groups.some((group) => principal.groups.includes(group))) return;
  throw new HoldpointError("forbidden", `only members of ${groups.join(", ")} may decide this review`);
}

/** Answers are validated before LangGraph hears of them: one that the node refuses by throwing poisons its task. */
function assertAnswerFits(hold: Hold, answer: HoldAnswer): void {
  if (hold.origin === "interrupt") {
    if (answer.type === "value") return;
    throw new HoldpointError("invalid", 'a plain interrupt is answered with {"type": "value", "value": …}');
  }
  if (answer.type === "value")
    throw new HoldpointError("invalid", "a review is answered with approve, edit, reject or response");
  const schema = hold.request?.argsSchema;
  if (answer.type !== "edit" || !schema) return;
  const parsed = checkable(schema).safeParse(answer.args);
  if (parsed.success) return;
  const problems = parsed.error.issues.map((issue) => `/${issue.path.join("/")}: ${issue.message}`);
  throw new HoldpointError("invalid", `the edited arguments do not fit their schema: ${problems.join("; ")}`, {
    detail: { problems },
  });
}

/** An edit that cannot be checked is not let through. */
function checkable(schema: JsonObject): z.ZodType {
  try {
    return z.fromJSONSchema(schema);
  } catch (error) {
    throw new HoldpointError(
      "invalid",
      "the argsSchema of this review cannot be checked: approve it as it is, or reject it",
      {
        cause: error,
      },
    );
  }
}

/**
 * A hold is open only while the run that it names is `held` and names it under the same fence. Returns the hold as it is
 * now when it was raised again meanwhile, by who took the run over.
 */
async function assertOpen(deps: Deps, hold: Hold): Promise<Stored<Hold> | undefined> {
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

/**
 * `command.resume`: decides what waits on the thread with the run itself as the continuation. A map of interrupt ids
 * decides those; any other value decides the one that waits. Returns why not, if nothing could be decided.
 */
export async function decideByResume(
  deps: Deps,
  principal: Principal,
  run: Run,
  resume: Json,
): Promise<HoldpointError | undefined> {
  const open = await openHolds(deps, run);
  const byId = asInterruptMap(resume);
  const stale = Object.keys(byId ?? {}).find((id) => !open.some(({ value }) => value.interruptId === id));
  if (stale !== undefined) {
    return new HoldpointError("conflict", `no interrupt ${stale} of this thread waits for an answer`);
  }
  if (open.length > 1 && !byId) {
    return new HoldpointError(
      "conflict",
      `${open.length} interrupts wait: resume with a map from interrupt id to answer`,
    );
  }
  const replies = open.flatMap((stored) => {
    const reply = byId ? byId[stored.value.interruptId] : resume;
    return reply === undefined || stored.value.state !== "pending"
      ? []
      : [{ stored, answer: answerOf(stored.value, reply) }];
  });
  // All of them before the first is decided: a decision starts this run, and then it cannot be refused any more.
  const refusal = replies
    .map(({ stored }) => mayResume(principal, stored.value))
    .find((reason) => reason !== undefined);
  if (refusal) return refusal;
  let mine = open.filter(({ value }) => value.decision?.continuation === run.runId).length;
  for (const { stored, answer } of replies) {
    if (await decideWith(deps, stored, { by: principal.subject, run, answer })) mine++;
  }
  if (mine > 0) return undefined;
  const header = await deps.threads.get(run);
  const breakpoint = open.length === 0 && (header?.value.waiting?.plain ?? 0) > 0;
  return breakpoint ? undefined : new HoldpointError("conflict", "no interrupt of this thread waits for an answer");
}

async function openHolds(deps: Deps, run: Run): Promise<readonly Stored<Hold>[]> {
  const header = await deps.threads.get(run);
  const held = header?.value.waiting && (await deps.runs.get(run, header.value.waiting.runId));
  if (!held) return [];
  const holds = await deps.holds.getMany(run, held.value.end?.holds ?? []);
  return holds.filter(({ value }) => namesHold(held.value, value) || value.decision?.continuation === run.runId);
}

/** LangGraph's interrupt ids are 128-bit hashes: whatever is keyed by such is a map of answers, and nothing else is. */
const INTERRUPT_ID = /^[0-9a-f]{32}$/;

function asInterruptMap(resume: Json): Readonly<Record<string, Json>> | undefined {
  if (typeof resume !== "object" || resume === null || Array.isArray(resume)) return undefined;
  const map = resume as Readonly<Record<string, Json>>;
  const keys = Object.keys(map);
  return keys.length > 0 && keys.every((key) => INTERRUPT_ID.test(key)) ? map : undefined;
}

/** A review with a policy of its own is decided as a review, where the policy can be enforced. */
function mayResume(principal: Principal, hold: Hold): HoldpointError | undefined {
  if ((hold.request?.groups?.length ?? 0) === 0) return undefined;
  return new HoldpointError("forbidden", `decide this under /v1/reviews/${hold.threadId}.${hold.holdId}`, {
    detail: { review: `${hold.threadId}.${hold.holdId}`, subject: principal.subject },
  });
}

/** @throws HoldpointError `invalid` for an answer that the hold does not take */
function answerOf(hold: Hold, reply: Json): HoldAnswer {
  const answer: HoldAnswer =
    hold.origin === "review" ? parseAnswer(reply, hold.request?.action) : { type: "value", value: reply };
  assertAnswerFits(hold, answer);
  return answer;
}

interface DecideWith {
  readonly by: string;
  readonly run: Run;
  readonly answer: HoldAnswer;
}

async function decideWith(deps: Deps, first: Stored<Hold>, { by, run, answer }: DecideWith): Promise<boolean> {
  let current: Stored<Hold> | undefined = first;
  while (current && current.value.state === "pending") {
    const decision: Decision = {
      id: decisionId(run.runId),
      by,
      at: deps.table.now(),
      answer,
      continuation: run.runId,
    };
    const written = await deps.holds.put(decided(current.value, decision), { version: current.version });
    if (written.won) {
      await tellOfDecision(deps, written.stored.value);
      return true;
    }
    current = written.current;
  }
  return current?.value.decision?.continuation === run.runId;
}
