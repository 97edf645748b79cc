/** Reviews: what waits for people, and what they do about it. */
import { HoldpointError, isHoldpointError } from "../../core/errors.ts";
import { deskVersion, worked } from "../../core/hold-desk.ts";
import type { Hold } from "../../core/hold.ts";
import { holdId as asHoldId, isUuid, threadId as asThreadId } from "../../core/ids.ts";
import type { Principal } from "../../core/principal.ts";
import type { Stored } from "../../storage/records.ts";
import { assertForPeople } from "../decisions/answers.ts";
import { assertDecidable, assertOpen, assertUndecided, decide } from "../decisions/decide.ts";
import type { DecideRequest } from "../decisions/decide.ts";
import { followUpSoon } from "../decisions/follow-up.ts";
import type { Deps } from "../deps.ts";
import { countReviews, listReviews } from "./list.ts";
import { reviewStatistics } from "./statistics.ts";
import type { Decided, DecideMany, ReviewUseCases, WorkRequest } from "./use-cases.ts";
import { watchReviews } from "./watch.ts";

export function createReviews(deps: Deps): ReviewUseCases {
  return {
    list: (principal, page) => listReviews(deps, principal, page),
    count: (principal, filter) => countReviews(deps, principal, filter),
    get: async (principal, reviewId) => (await find(deps, principal, reviewId)).value,
    decide: (principal, reviewId, request) => decideOne(deps, principal, reviewId, request),
    decideMany: (principal, request) => decideMany(deps, principal, request),
    work: (principal, reviewId, request) => work(deps, principal, reviewId, request),
    watch: (principal, filter, signal) => watchReviews(deps, principal, { filter, signal }),
    statistics: (principal, since) => reviewStatistics(deps, principal, since),
  };
}

export async function find(deps: Deps, principal: Principal, reviewId: string): Promise<Stored<Hold>> {
  const [thread = "", hold = ""] = reviewId.split(".");
  const ref = { tenant: principal.tenant, threadId: asThreadId(thread) };
  const found = isUuid(thread) && hold ? await deps.holds.get(ref, asHoldId(hold)) : undefined;
  const header = found && (await deps.threads.get(ref));
  if (!found || !header || header.value.deleted || header.value.generation !== found.value.generation)
    throw new HoldpointError("not_found", `Review ${reviewId} not found`);
  return found;
}

export async function decideOne(
  deps: Deps,
  principal: Principal,
  reviewId: string,
  request: DecideRequest,
): Promise<Hold> {
  const hold = await decide(deps, principal, await find(deps, principal, reviewId), request);
  if (!hold.followUpDue) return hold;
  const now = await followUpSoon(deps, hold);
  // It may have come back meanwhile, and somebody else have decided it: nobody is answered with another's decision.
  return now && now.decision?.id === hold.decision?.id ? now : hold;
}

/** One after the other: of a thread with several, the first starts the continuation that carries all of them on. */
async function decideMany(
  deps: Deps,
  principal: Principal,
  { reviews, dryRun, ...same }: DecideMany,
): Promise<readonly Decided[]> {
  const decided: Decided[] = [];
  for (const { id, ...one } of reviews) {
    const request = { ...same, ...one };
    try {
      const found = dryRun ? await find(deps, principal, id) : undefined;
      if (found) await assertDecidable(deps, principal, found, request);
      decided.push({ id, hold: found?.value ?? (await decideOne(deps, principal, id, request)) });
    } catch (error) {
      if (!isHoldpointError(error)) throw error;
      decided.push({ id, error });
    }
  }
  return decided;
}

async function work(deps: Deps, principal: Principal, reviewId: string, request: WorkRequest): Promise<Hold> {
  let current: Stored<Hold> | undefined = await find(deps, principal, reviewId);
  while (current) {
    const hold: Hold = current.value;
    assertForPeople(hold);
    assertUndecided(hold);
    const version = deskVersion(hold);
    if (request.ifMatch !== undefined && request.ifMatch !== version) {
      throw new HoldpointError("precondition_failed", "somebody has worked on the review since; read it again", {
        detail: { version },
      });
    }
    const next = worked(hold, principal, request.work, deps.table.now());
    const newer = await assertOpen(deps, hold);
    if (newer) {
      current = newer;
      continue;
    }
    const written = await deps.holds.put(next, { version: current.version });
    if (written.won) return written.stored.value;
    current = written.current;
  }
  throw new HoldpointError("not_found", "the review was removed");
}
