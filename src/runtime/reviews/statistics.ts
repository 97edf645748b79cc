/**
 * What lets rubber-stamping show: for each reviewer how many answers, how fast, how many of them approvals, edits and
 * rejections. A figure to ask about, no verdict.
 */
import type { Hold, HoldAnswer, Vote } from "../../core/hold.ts";
import type { Principal } from "../../core/principal.ts";
import type { Deps } from "../deps.ts";

export interface ReviewStatistics {
  /** Reviews that were looked at: the newest that are done. */
  readonly reviews: number;
  /** There are more within the time that was asked for. */
  readonly truncated: boolean;
  readonly reviewers: readonly ReviewerStatistics[];
}

/** Times in milliseconds from when the review was raised until this person answered it. */
export interface ReviewerStatistics {
  readonly reviewer: string;
  readonly answers: number;
  readonly approved: number;
  readonly edited: number;
  readonly rejected: number;
  readonly responded: number;
  readonly approvalRate: number;
  readonly medianMs: number;
  readonly fastestMs: number;
  /** Answers within five seconds: hardly anything can be read in that time. */
  readonly withinFiveSeconds: number;
}

const MAX_REVIEWS = 2_000;
const PAGE = 100;
const HARDLY_READ_MS = 5_000;

/** Of the reviews that were raised since then. */
export async function reviewStatistics(
  deps: Pick<Deps, "holds">,
  { tenant }: Principal,
  since: number,
): Promise<ReviewStatistics> {
  const holds: Hold[] = [];
  let after: string | undefined;
  for (let seen = 0; ;) {
    const range = { open: false, descending: true, since, limit: PAGE };
    const rows = await deps.holds.rows(tenant, { ...range, ...(after === undefined ? {} : { after }) });
    holds.push(...(await deps.holds.ofRows(rows, false)));
    seen += rows.length;
    after = rows.at(-1)?.sort;
    const isEnd = rows.length < PAGE;
    if (isEnd || seen >= MAX_REVIEWS) return { ...statisticsOf(holds), truncated: !isEnd };
  }
}

/** Pure: the figures of these holds, by reviewer, most answers first. */
export function statisticsOf(holds: readonly Hold[]): Omit<ReviewStatistics, "truncated"> {
  const byReviewer = Map.groupBy(holds.flatMap(answersOf), ({ by }) => by);
  const reviewers = [...byReviewer].map(([reviewer, answers]) => reviewerOf(reviewer, answers));
  return { reviews: holds.length, reviewers: reviewers.toSorted((a, b) => b.answers - a.answers) };
}

interface Answered {
  readonly by: string;
  readonly ms: number;
  readonly types: readonly HoldAnswer["type"][];
}

function answersOf({ votes = [], decision, raisedAt }: Hold): readonly Answered[] {
  // That its time had come is nobody's answer.
  const all: readonly Vote[] = decision && decision.cause === undefined ? [...votes, decision] : votes;
  return all.map(({ by, at, answer }) => ({ by, ms: at - raisedAt, types: typesOf(answer) }));
}

const typesOf = (answer: HoldAnswer): readonly HoldAnswer["type"][] =>
  answer.type === "decisions" ? answer.decisions.map(({ type }) => type) : [answer.type];

function reviewerOf(reviewer: string, answered: readonly Answered[]): ReviewerStatistics {
  const times = answered.map(({ ms }) => ms).toSorted((a, b) => a - b);
  const types = answered.flatMap((each) => each.types);
  const count = (type: HoldAnswer["type"]): number => types.filter((each) => each === type).length;
  const approved = count("approve");
  const judged = approved + count("edit") + count("reject");
  return {
    reviewer,
    answers: answered.length,
    approved,
    edited: count("edit"),
    rejected: count("reject"),
    responded: count("response") + count("value"),
    approvalRate: judged === 0 ? 0 : approved / judged,
    medianMs: times[Math.floor((times.length - 1) / 2)] ?? 0,
    fastestMs: times[0] ?? 0,
    withinFiveSeconds: times.filter((ms) => ms < HARDLY_READ_MS).length,
  };
}
