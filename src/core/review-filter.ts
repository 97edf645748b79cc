/**
 * Which reviews a list is about. Every hold stands in one index, in the order in which it was raised, and its place there
 * ends in *marks*: short hashes of what lists are filtered by, so that most of a long queue is passed over without being
 * read. A mark is only a hint (hashes may meet, the index may be late): what is shown is asked of the hold itself.
 */
import type { Hold, ReviewRequest } from "./hold.ts";
import { sha256 } from "./ids.ts";

export interface ReviewFilter {
  readonly graph?: string;
  readonly node?: string;
  readonly action?: string;
  readonly risk?: NonNullable<ReviewRequest["risk"]>;
  /** Of the groups of whose members one may decide. */
  readonly group?: string;
  readonly tag?: string;
  /** Assigned to, or claimed by. */
  readonly assignee?: string;
  /** Assigned to nobody, and claimed by nobody. */
  readonly unassigned?: boolean;
  /** `without`, unless it is given: what is snoozed is left out. */
  readonly snoozed?: "only" | "with" | "without";
  /** Times of the table, in milliseconds. */
  readonly raisedBefore?: number;
  readonly raisedAfter?: number;
  readonly dueBefore?: number;
}

const KINDS = { graph: "g", node: "n", action: "a", group: "k", tag: "t" } as const;
const HASH = 6;

/** What the place of a hold in the index says of it. */
export function marksOf(hold: Hold): string {
  const { request } = hold;
  return [
    mark(KINDS.graph, hold.graphId),
    mark(KINDS.node, hold.node),
    ...(request ? [mark(KINDS.action, request.action)] : []),
    ...(request?.risk === undefined ? [] : [`r${request.risk}`]),
    ...(request?.groups ?? []).map((group) => mark(KINDS.group, group)),
    ...(request?.tags ?? []).map((tag) => mark(KINDS.tag, tag)),
    ...(hold.assignee === undefined ? [] : [mark("s", hold.assignee)]),
    ...(hold.claim === undefined ? [] : [`${mark("c", hold.claim.by)}${hold.claim.until}`]),
    ...(hold.snoozedUntil === undefined ? [] : [`z${hold.snoozedUntil}`]),
    ...(hold.times?.settlesAt === undefined ? [] : [`d${hold.times.settlesAt}`]),
    // Nothing filters by these: whoever watches a list sees that something was said.
    ...(hold.votes === undefined ? [] : [`v${hold.votes.length}`]),
    ...(hold.comments === undefined ? [] : [`m${hold.comments.length}`]),
  ].join(".");
}

const hashes = new Map<string, string>();
const MAX_HASHES = 10_000;

/** The same few names come again and again; what is kept here is a pure function of its key. */
function mark(kind: string, text: string): string {
  const known = hashes.get(text);
  if (known !== undefined) return kind + known;
  if (hashes.size >= MAX_HASHES) hashes.clear();
  const hash = Buffer.from(sha256(text), "hex").toString("base64url").slice(0, HASH);
  hashes.set(text, hash);
  return kind + hash;
}

/** What a filter asks of marks; false only for what is certainly not meant. Undefined marks: those of an older version. */
export function marksMatch(filter: ReviewFilter, now: number): (marks: string | undefined) => boolean {
  const wanted = Object.entries(KINDS).flatMap(([key, kind]) => {
    const value = filter[key as keyof typeof KINDS]; // its own keys
    return value === undefined ? [] : [mark(kind, value)];
  });
  if (filter.risk !== undefined) wanted.push(`r${filter.risk}`);
  const { assignee, unassigned, snoozed = "without", dueBefore } = filter;
  const by = assignee === undefined ? undefined : mark("", assignee);
  return (marks) => {
    if (marks === undefined) return true;
    const all = `.${marks}.`;
    if (!wanted.every((each) => all.includes(`.${each}.`))) return false;
    const claim = after(all, "c");
    const claimed = claim !== undefined && Number(claim.slice(HASH)) > now ? claim.slice(0, HASH) : undefined;
    const assigned = after(all, "s");
    if (by !== undefined && assigned !== by && claimed !== by) return false;
    if (unassigned === true && (assigned !== undefined || claimed !== undefined)) return false;
    if (dueBefore !== undefined && Number(after(all, "d") ?? Infinity) >= dueBefore) return false;
    return snoozed === "with" || Number(after(all, "z") ?? 0) > now === (snoozed === "only");
  };
}

/** What stands in the one mark of this kind. */
function after(marks: string, kind: string): string | undefined {
  const at = marks.indexOf(`.${kind}`);
  return at < 0 ? undefined : marks.slice(at + 2, marks.indexOf(".", at + 2));
}

/** Whether a hold is meant, asked of the hold itself. */
export function isMeant(filter: ReviewFilter, hold: Hold, now: number): boolean {
  return isAbout(filter, hold) && isAtTime(filter, hold) && isWith(filter, hold, now);
}

const same = <T>(wanted: T | undefined, is: T | undefined): boolean => wanted === undefined || wanted === is;
const among = (wanted: string | undefined, all: readonly string[] = []): boolean =>
  wanted === undefined || all.includes(wanted);

function isAbout(filter: ReviewFilter, { graphId, node, request }: Hold): boolean {
  return (
    same(filter.graph, graphId) &&
    same(filter.node, node) &&
    same(filter.action, request?.action) &&
    same(filter.risk, request?.risk) &&
    among(filter.group, request?.groups) &&
    among(filter.tag, request?.tags)
  );
}

function isAtTime({ raisedBefore, raisedAfter, dueBefore }: ReviewFilter, { raisedAt, times }: Hold): boolean {
  const dueAt = times?.settlesAt;
  return (
    (raisedBefore === undefined || raisedAt < raisedBefore) &&
    (raisedAfter === undefined || raisedAt >= raisedAfter) &&
    (dueBefore === undefined || (dueAt !== undefined && dueAt < dueBefore))
  );
}

function isWith(filter: ReviewFilter, { assignee, claim, snoozedUntil }: Hold, now: number): boolean {
  const claimed = claim !== undefined && claim.until > now ? claim.by : undefined;
  const isSnoozedNow = snoozedUntil !== undefined && snoozedUntil > now;
  return (
    (filter.assignee === undefined || [assignee, claimed].includes(filter.assignee)) &&
    (filter.unassigned !== true || (assignee === undefined && claimed === undefined)) &&
    (filter.snoozed === "with" || isSnoozedNow === (filter.snoozed === "only"))
  );
}
