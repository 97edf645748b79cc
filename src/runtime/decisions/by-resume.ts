/**
 * `command.resume`: the SDK's way to answer what waits. Each decision is won on its hold as any other is (I4), with the run
 * that came with the answer as its continuation. Where the policy of a review asks who decides, it is decided as a review.
 */
import { HoldpointError } from "../../core/errors.ts";
import { hasPolicy, isClaimedByOthers } from "../../core/hold-desk.ts";
import { decided, isWait, namesHold } from "../../core/hold.ts";
import type { Decision, Hold, HoldAnswer } from "../../core/hold.ts";
import { decisionId } from "../../core/ids.ts";
import type { RunId } from "../../core/ids.ts";
import type { Json } from "../../core/json.ts";
import type { Principal } from "../../core/principal.ts";
import type { Run } from "../../core/run.ts";
import type { ThreadRef } from "../../storage/keys.ts";
import type { Stored } from "../../storage/records.ts";
import { auditTooLate } from "../audit/audit-hold.ts";
import type { Deps } from "../deps.ts";
import { tellOfDecision } from "../webhooks/announce.ts";
import { answerInReply } from "./answers.ts";
import { whyDecided } from "./decide.ts";
import { inItsTime } from "./expiry.ts";

/**
 * Decides what waits on the thread with the run itself as the continuation. A map of interrupt ids
 * decides those; any other value decides the one that waits. Returns why not, if nothing could be decided, or one of
 * those that it names is decided already: then none is.
 */
export async function decideByResume(
  deps: Deps,
  principal: Principal,
  run: Run,
  resume: Json,
): Promise<HoldpointError | undefined> {
  const found = await Promise.all((await openHolds(deps, run)).map((stored) => inItsTime(deps, stored)));
  const open = found.filter((stored) => stored !== undefined);
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
  const answered = open.filter(({ value }) => byId === undefined || value.interruptId in byId);
  // What an earlier attempt has won starts this run, and then it cannot be refused any more.
  const won = open.filter(({ value }) => isOf(run, value)).length;
  const late = won > 0 ? undefined : answered.find(({ value }) => value.state !== "pending");
  const tooLate = late && whyDecided(late.value);
  if (tooLate) return tooLate;
  const replies = answered.flatMap((stored) => {
    const reply = byId ? byId[stored.value.interruptId] : resume;
    return reply === undefined || stored.value.state !== "pending"
      ? []
      : [{ stored, answer: answerInReply(stored.value, reply) }];
  });
  // All of them before the first is decided, for the same reason.
  const refusal = replies
    .map(({ stored }) => mayResume(principal, stored.value, deps.table.now()))
    .find((reason) => reason !== undefined);
  if (refusal) return refusal;
  const lost = await decideEach(deps, replies, { principal, run });
  if (won + replies.length > lost.length) {
    // Somebody else was first between the look at these and the write. The run goes on with what it won.
    await Promise.all(lost.map((hold) => auditTooLate(deps, hold, { principal, run })));
    return undefined;
  }
  const [first] = lost;
  if (first) return whyLost(deps, principal, first);
  const header = await deps.threads.get(run);
  const breakpoint = open.length === 0 && (header?.value.waiting?.plain ?? 0) > 0;
  return breakpoint ? undefined : nothingWaits();
}

const nothingWaits = (): HoldpointError =>
  new HoldpointError("conflict", "no interrupt of this thread waits for an answer");

interface Reply {
  readonly stored: Stored<Hold>;
  readonly answer: HoldAnswer;
}

/** Decides one after the other. Returns those that others have decided, or claimed, before it came to them. */
async function decideEach(
  deps: Deps,
  replies: readonly Reply[],
  by: Pick<DecideWith, "principal" | "run">,
): Promise<readonly Hold[]> {
  const lost: Hold[] = [];
  for (const { stored, answer } of replies)
    if (!(await decideWith(deps, stored, { ...by, answer }))) lost.push(stored.value);
  return lost;
}

async function whyLost(deps: Deps, principal: Principal, lost: Hold): Promise<HoldpointError> {
  const now = (await deps.holds.get(lost, lost.holdId))?.value;
  return (now && (whyDecided(now) ?? mayResume(principal, now, deps.table.now()))) ?? nothingWaits();
}

/** What waits on a thread for people, and what was decided with this run as its continuation. */
export async function openHolds(
  deps: Deps,
  run: ThreadRef & { readonly runId?: RunId },
): Promise<readonly Stored<Hold>[]> {
  const header = await deps.threads.get(run);
  const held = header?.value.waiting && (await deps.runs.get(run, header.value.waiting.runId));
  if (!held) return [];
  const holds = await deps.holds.getMany(run, held.value.end?.holds ?? []);
  const ofPeople = holds.filter(({ value }) => !isWait(value));
  return ofPeople.filter(({ value }) => namesHold(held.value, value) || isOf(run, value));
}

const isOf = ({ runId }: { readonly runId?: RunId }, { decision }: Hold): boolean =>
  decision !== undefined && decision.continuation === runId;

/** LangGraph's interrupt ids are 128-bit hashes: whatever is keyed by such is a map of answers, and nothing else is. */
const INTERRUPT_ID = /^[0-9a-f]{32}$/;

function asInterruptMap(resume: Json): Readonly<Record<string, Json>> | undefined {
  if (typeof resume !== "object" || resume === null || Array.isArray(resume)) return undefined;
  const map = resume as Readonly<Record<string, Json>>;
  const keys = Object.keys(map);
  return keys.length > 0 && keys.every((key) => INTERRUPT_ID.test(key)) ? map : undefined;
}

/** A review with a policy of its own is decided as a review, where the policy can be enforced. */
export function mayResume(principal: Principal, hold: Hold, now: number): HoldpointError | undefined {
  const review = `${hold.threadId}.${hold.holdId}`;
  if (hasPolicy(hold)) {
    return new HoldpointError("forbidden", `decide this under /v1/reviews/${review}`, {
      detail: { review, subject: principal.subject },
    });
  }
  if (!isClaimedByOthers(principal.subject, hold, now)) return undefined;
  return new HoldpointError("conflict", `${hold.claim?.by} has claimed review ${review}`, { detail: { review } });
}

interface DecideWith {
  readonly principal: Principal;
  readonly run: Run;
  readonly answer: HoldAnswer;
}

/** Whether the hold is decided now with the run as its continuation. */
export async function decideWith(
  deps: Deps,
  first: Stored<Hold>,
  { principal, run, answer }: DecideWith,
): Promise<boolean> {
  const { subject: by, origin } = principal;
  let current: Stored<Hold> | undefined = first;
  while (current && current.value.state === "pending") {
    // It may have been claimed since it was looked at.
    if (isClaimedByOthers(by, current.value, deps.table.now())) return false;
    const decision: Decision = {
      id: decisionId(run.runId),
      by,
      at: deps.table.now(),
      answer,
      ...(origin === undefined ? {} : { origin }),
      continuation: run.runId,
    };
    const written = await deps.holds.put(decided(current.value, decision), { version: current.version });
    if (written.won) {
      const { graphId, raisedAt } = written.stored.value;
      deps.telemetry.metrics.holdDecided({ graph: graphId, ageMs: decision.at - raisedAt });
      await tellOfDecision(deps, written.stored.value);
      return true;
    }
    current = written.current;
  }
  return current?.value.decision?.continuation === run.runId;
}
