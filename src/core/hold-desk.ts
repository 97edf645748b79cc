/** What people make of an undecided hold before it is decided: none of it changes what is asked, and so the digest. */
import { HoldpointError } from "./errors.ts";
import type { Hold, HoldAnswer, Vote } from "./hold.ts";
import { sha256 } from "./ids.ts";
import { canonicalJson } from "./json.ts";
import type { Principal } from "./principal.ts";

/** Somebody works on it: until then nobody else decides. */
export interface Claim {
  readonly by: string;
  readonly until: number;
}

/** What somebody said about it. */
export interface Remark {
  readonly by: string;
  readonly at: number;
  readonly text: string;
}

export interface HoldDesk {
  /** Of a review that needs several people, those who have answered so far. */
  readonly votes?: readonly Vote[];
  readonly claim?: Claim;
  /** Who is to look at it; a hint, and no permission. */
  readonly assignee?: string;
  /** Not shown among what is open until then. */
  readonly snoozedUntil?: number;
  readonly comments?: readonly Remark[];
  /** Ids of the links with which somebody has answered: each counts once, also where the answer has come back. */
  readonly usedLinks?: readonly string[];
}

/** What a person may do to a review short of deciding it. Times are of the table. */
export type DeskWork =
  | { readonly kind: "claim"; readonly forMs: number }
  | { readonly kind: "release" }
  /** Undefined: shown again at once. */
  | { readonly kind: "snooze"; readonly until: number | undefined }
  | { readonly kind: "assign"; readonly to: string | undefined }
  | { readonly kind: "comment"; readonly text: string };

/** Comments on one hold. */
export const MAX_COMMENTS = 25;
/** Bytes of a hold to which people may add: beyond them its item has room only for what ends it, however it is encrypted. */
const MAX_DESK_BYTES = 256 * 1024;
/** Characters of one comment, of a decision or beside it. */
export const MAX_COMMENT = 4_000;

/**
 * The hold after somebody worked on it.
 * @throws HoldpointError `forbidden` for who may not decide it, `conflict` while somebody else has claimed it, `limit`
 */
export function worked(hold: Hold, who: Principal, work: DeskWork, now: number): Hold {
  if (work.kind !== "comment") assertMayDecide(who, hold);
  const { claim: _claim, ...unclaimed } = hold;
  const { snoozedUntil: _snoozed, ...shown } = hold;
  const { assignee: _assignee, ...unassigned } = unclaimed;
  switch (work.kind) {
    case "claim":
      assertUnclaimed(who, hold, now);
      return { ...hold, claim: { by: who.subject, until: now + work.forMs }, updatedAt: now };
    case "release":
      assertUnclaimed(who, hold, now);
      return { ...unclaimed, updatedAt: now };
    case "snooze":
      assertUnclaimed(who, hold, now);
      return { ...shown, ...(work.until === undefined ? {} : { snoozedUntil: work.until }), updatedAt: now };
    case "assign":
      assertUnclaimed(who, hold, now);
      return { ...unassigned, ...(work.to === undefined ? {} : { assignee: work.to }), updatedAt: now };
    case "comment": {
      const comments = hold.comments ?? [];
      if (comments.length >= MAX_COMMENTS)
        throw new HoldpointError("too_large", `a review has room for ${MAX_COMMENTS} comments`);
      const remark = { by: who.subject, at: now, text: work.text };
      return withRoom({ ...hold, comments: [...comments, remark], updatedAt: now });
    }
  }
}

/** @throws HoldpointError `too_large` for what would leave no room for a decision, or for its time to end it */
function withRoom(hold: Hold): Hold {
  if (Buffer.byteLength(JSON.stringify(hold)) <= MAX_DESK_BYTES) return hold;
  throw new HoldpointError(
    "too_large",
    "the review has no more room: what it shows, its comments and its votes are too long",
  );
}

/** @throws HoldpointError `forbidden` for who is not in the groups of a review, or has started what it is about */
export function assertMayDecide(who: Principal, { request, startedBy }: Hold): void {
  const groups = request?.groups ?? [];
  if (groups.length > 0 && !groups.some((group) => who.groups.includes(group)))
    throw new HoldpointError("forbidden", `only members of ${groups.join(", ")} may decide this review`);
  if (request?.fourEyes === true && who.subject === startedBy)
    throw new HoldpointError("forbidden", "whoever started the run may not decide this review");
}

export function isClaimedByOthers(subject: string, { claim }: Hold, now: number): boolean {
  return claim !== undefined && claim.by !== subject && claim.until > now;
}

/** @throws HoldpointError `conflict` while somebody else has claimed it */
export function assertUnclaimed(who: Principal, hold: Hold, now: number): void {
  const { claim } = hold;
  if (!claim || !isClaimedByOthers(who.subject, hold, now)) return;
  const until = new Date(claim.until).toISOString();
  throw new HoldpointError("conflict", `${claim.by} has claimed this review until ${until}`, {
    detail: { claimed_by: claim.by, claimed_until: until },
  });
}

/** @throws HoldpointError `forbidden` for who has answered this review already */
export function assertHasNotVoted(who: Principal, { votes = [] }: Hold): void {
  if (votes.some(({ by }) => by === who.subject))
    throw new HoldpointError("forbidden", "you have answered this review already: it needs another person");
}

/** Whether an answer, with those that were given before it, decides. */
export function decides({ request, votes = [] }: Hold, answer: HoldAnswer): boolean {
  if (answer.type === "reject") return true;
  const same = canonicalJson(answer);
  return votes.filter((vote) => canonicalJson(vote.answer) === same).length + 1 >= (request?.quorum ?? 1);
}

/**
 * One more person has answered, and others still must; their claim has done its work.
 * @throws HoldpointError `too_large`
 */
export function voted(hold: Hold, vote: Vote): Hold {
  const { claim: _claim, ...rest } = hold;
  return withRoom({ ...rest, votes: [...(hold.votes ?? []), vote], updatedAt: vote.at });
}

/** True for a hold that only its own surface can decide, because the policy asks who decides. */
export function hasPolicy({ request }: Hold): boolean {
  return (request?.groups?.length ?? 0) > 0 || (request?.quorum ?? 1) > 1 || request?.fourEyes === true;
}

/**
 * Differs when people have made something else of a hold, and not when only its follow-up went on. What `If-Match` is
 * compared with.
 */
export function deskVersion(hold: Hold): string {
  const { holdId, state, digest, votes, claim, assignee, snoozedUntil, comments, decision } = hold;
  const ids = votes?.map(({ id }) => id);
  const seen = { holdId, state, digest, ids, claim, assignee, snoozedUntil, comments: comments?.length };
  const text = JSON.stringify({ ...seen, decision: decision?.id });
  return sha256(text).slice(0, 32);
}

/**
 * The same question was raised again, by who took the run over: whatever people have made of it so far stays, unless it
 * was over before.
 */
export function raisedAgain(draft: Hold, before: Hold): Hold {
  const { raisedAt, votes, claim, assignee, snoozedUntil, comments, usedLinks, returned } = before;
  const kept = before.state === "pending" ? { votes, claim, snoozedUntil } : {};
  const desk = Object.entries({ ...kept, assignee, comments, usedLinks, returned }).filter(
    ([, value]) => value !== undefined,
  );
  return { ...draft, raisedAt, ...Object.fromEntries(desk) };
}
