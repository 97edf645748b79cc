/** What comes in about reviews: queries, answers, and what people do about them otherwise. */
import type { Request } from "express";
import { z } from "zod";
import { HoldpointError } from "../../core/errors.ts";
import { MAX_COMMENT } from "../../core/hold-desk.ts";
import type { DeskWork } from "../../core/hold-desk.ts";
import type { HoldAnswer } from "../../core/hold.ts";
import type { Principal } from "../../core/principal.ts";
import type { ReviewFilter } from "../../core/review-filter.ts";
import type { DecideRequest } from "../../runtime/decisions/decide.ts";
import type { DecideMany } from "../../runtime/reviews/use-cases.ts";
import { json, jsonObject, name, optional, parse, present, queryFlag } from "../parse.ts";

export const STATES = ["open", "done"] as const;

const time = z.iso
  .datetime({ offset: true })
  .transform((text) => Date.parse(text))
  .optional();
const word = name.optional();
export const filterQuery = z.strictObject({
  graph: word,
  node: word,
  action: word,
  risk: z.enum(["low", "medium", "high"]).optional(),
  group: word,
  tag: word,
  assignee: word,
  mine: queryFlag,
  unassigned: queryFlag,
  snoozed: z.enum(["only", "with", "without"]).optional(),
  raised_before: time,
  raised_after: time,
  due_before: time,
});

/** The filter of a query. `mine` is the caller's own, whoever else is named. */
export function filterOf(query: z.infer<typeof filterQuery>, { subject }: Principal): ReviewFilter {
  const { mine, unassigned, raised_before, raised_after, due_before, graph, node, action, risk, group, tag } = query;
  const times = { raisedBefore: raised_before, raisedAfter: raised_after, dueBefore: due_before };
  const assignee = mine ? subject : query.assignee;
  const { snoozed } = query;
  const filter = { ...times, graph, node, action, risk, group, tag, assignee, snoozed };
  return { ...present(filter), ...(unassigned ? { unassigned } : {}) };
}

const text = z.string().max(10_000);
const comment = z.string().max(MAX_COMMENT);
const approve = z.strictObject({ type: z.literal("approve") });
const edit = z.strictObject({ type: z.literal("edit"), args: jsonObject });
const reject = z.strictObject({ type: z.literal("reject"), message: optional(text) });
const response = z.strictObject({ type: z.literal("response"), message: text });
const single = z.discriminatedUnion("type", [approve, edit, reject, response]);
const MAX_DECISIONS = 100;

/** Strict: who approves with other arguments has meant to edit. */
const answers = <Rest extends z.ZodRawShape>(rest: Rest) =>
  z.discriminatedUnion("type", [
    approve.extend(rest),
    edit.extend(rest),
    reject.extend(rest),
    response.extend(rest),
    z.strictObject({ type: z.literal("value"), value: json, ...rest }),
    z.strictObject({ type: z.literal("decisions"), decisions: z.array(single).min(1).max(MAX_DECISIONS), ...rest }),
  ]);

const digest = z.string().max(256);
const accompanying = { digest: optional(digest), comment: optional(comment) };
const accompaniment = z.object(accompanying);
const answer = answers(accompanying);

/** @throws HoldpointError `invalid`, `precondition_required` */
export function decisionOf(body: unknown): DecideRequest {
  const { digest: shown, comment: said } = parse(accompaniment, body, "body");
  if (shown === undefined) {
    throw new HoldpointError(
      "precondition_required",
      "digest is missing: send the digest of the review that was shown",
    );
  }
  const { digest: _digest, comment: _comment, ...given } = parse(answer, body, "body");
  return { answer: answerOf(given), digest: shown, ...present({ comment: said }) };
}

const bare = answers({});

function answerOf(given: z.infer<typeof bare>): HoldAnswer {
  switch (given.type) {
    case "reject":
      return { type: "reject", ...present({ message: given.message }) };
    case "decisions":
      return { type: "decisions", decisions: given.decisions.map(singleAnswer) };
    case "approve":
    case "edit":
    case "response":
    case "value":
      return given;
  }
}

const singleAnswer = (given: z.infer<typeof single>) =>
  given.type === "reject" ? { type: given.type, ...present({ message: given.message }) } : given;

const MAX_REVIEWS = 100;
const named = z.strictObject({ id: z.string().min(1).max(256), digest, version: optional(z.string().max(256)) });
const list = {
  reviews: z.array(named).min(1).max(MAX_REVIEWS),
  comment: optional(comment),
  dry_run: optional(z.boolean()),
};
const batch = answers(list);

/** One answer to an explicit list of reviews, each with the digest of what was shown. */
export function batchOf(body: unknown): DecideMany {
  const { reviews, comment: said, dry_run, ...given } = parse(batch, body, "body");
  const ids = new Set(reviews.map(({ id }) => id));
  if (ids.size < reviews.length)
    throw new HoldpointError("invalid", "body.reviews: the same review stands there twice");
  return {
    reviews: reviews.map(({ version, ...one }) => ({ ...one, ...present({ ifMatch: version }) })),
    answer: answerOf(given),
    dryRun: dry_run ?? false,
    ...present({ comment: said }),
  };
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DEFAULT_CLAIM_MS = 15 * MINUTE_MS;
const MAX_CLAIM_MS = 8 * HOUR_MS;
const MAX_SNOOZE_MS = 30 * 24 * HOUR_MS;

const claim = z.strictObject({ for_ms: optional(z.int().min(1_000).max(MAX_CLAIM_MS)) });
const snooze = z.strictObject({ until: z.iso.datetime({ offset: true }).nullable() });
const assign = z.strictObject({ assignee: z.string().min(1).max(128).nullable() });
const remark = z.strictObject({ text: comment.min(1) });

/** Each kind of work on a review, by the last part of its path. */
export const WORKS: Readonly<Record<string, (body: unknown, now: number) => DeskWork>> = {
  claim: (body) => ({ kind: "claim", forMs: parse(claim, body ?? {}, "body").for_ms ?? DEFAULT_CLAIM_MS }),
  release: (body) => {
    parse(z.strictObject({}), body ?? {}, "body");
    return { kind: "release" };
  },
  snooze: (body, now) => ({ kind: "snooze", until: snoozeUntil(parse(snooze, body, "body").until, now) }),
  assign: (body) => ({ kind: "assign", to: parse(assign, body, "body").assignee ?? undefined }),
  comments: (body) => ({ kind: "comment", text: parse(remark, body, "body").text }),
};

function snoozeUntil(until: string | null, now: number): number | undefined {
  if (until === null) return undefined;
  const at = Date.parse(until);
  if (at > now && at <= now + MAX_SNOOZE_MS) return at;
  throw new HoldpointError("invalid", "body.until: not within the next 30 days");
}

/** The version of `If-Match`, as `ETag` gave it out; undefined without one, and for any. */
export function ifMatchOf(request: Request): string | undefined {
  const header = request.get("if-match")?.trim();
  if (header === undefined || header === "*") return undefined;
  const tag = /^(?:W\/)?"?([^"\s,]{1,256})"?$/.exec(header)?.[1];
  if (tag === undefined) throw new HoldpointError("invalid", "header.if-match: not one version");
  return tag;
}
