/**
 * Whether passages answer a question, and with which of their statements: by the share of the question's subject that
 * they cover. A subject that none of the passages mentions weighs most, because it is the rarest of all; so a question
 * that merely shares a common word with the documents is not taken to be answered by them.
 */
import type { GroundingPassage } from "./model.ts";
import { statementsOf } from "./statements.ts";
import type { Statement } from "./statements.ts";
import { stemsOf, subjectsOf } from "./words.ts";

export interface Evidence {
  /** Best first; at least one. */
  readonly statements: readonly Statement[];
  /** Share, by weight, of the question's subject that the best statement covers with what stands above it. */
  readonly coverage: number;
}

/** Less than this is not an answer. */
const LEAST_COVERAGE = 0.5;
/** Nor is anything when so much of the question, by weight, occurs in no passage at all. */
const MOST_UNHEARD_OF = 0.4;
/** Nor is one word in common, when the question has more than one. */
const LEAST_SUBJECTS = 2;
/** Beside the best, only statements that come near it. */
const NEAR_BEST = 0.8;
const MOST_STATEMENTS = 3;
/** A word in a heading counts for less than the same word in the statement itself. */
const CONTEXT_SHARE = 0.5;

const WANTS_NUMBER = /\b(how (long|many|much|soon|old|often|big|heavy)|when|until|costs?|price|fees?)\b/i;
const NUMBER = /\d|\b(one|two|three|four|five|six|seven|eight|nine|ten|twelve|once|twice)\b/i;

interface Scored {
  readonly statement: Statement;
  readonly score: number;
  readonly coverage: number;
  /** How many of the question's subjects are covered. */
  readonly subjects: number;
}

/** What the passages say in answer to the question; undefined when it is not enough to be one. */
export function findEvidence(question: string, passages: readonly GroundingPassage[]): Evidence | undefined {
  const subjects = subjectsOf(question);
  if (subjects.size === 0 || passages.length === 0) return undefined;
  const weights = weigh(subjects, passages);
  if (weights.unheardOf > MOST_UNHEARD_OF) return undefined;
  const asked = { weights, words: stemsOf(question), wantsNumber: WANTS_NUMBER.test(question) };
  const enough = passages
    .flatMap((passage, rank) => statementsOf(passage).map((statement) => judge(statement, asked, rank)))
    .filter((each) => each.coverage >= LEAST_COVERAGE && each.subjects >= Math.min(LEAST_SUBJECTS, subjects.size))
    .toSorted((a, b) => b.score - a.score);
  const best = enough[0];
  if (best === undefined) return undefined;
  const near = enough.filter(({ score }) => score >= best.score * NEAR_BEST).slice(0, MOST_STATEMENTS);
  return { statements: near.map(({ statement }) => statement), coverage: best.coverage };
}

interface Weights {
  readonly of: ReadonlyMap<string, number>;
  readonly total: number;
  /** Share of the total that no passage mentions. */
  readonly unheardOf: number;
}

function weigh(subjects: ReadonlySet<string>, passages: readonly GroundingPassage[]): Weights {
  const held = passages.map(({ title, section, text }) => stemsOf(`${title} ${section} ${text}`));
  const weights = new Map<string, number>();
  let total = 0;
  let unheardOf = 0;
  for (const subject of subjects) {
    const mentions = held.filter((stems) => stems.has(subject)).length;
    const weight = Math.log(1 + passages.length / (mentions + 1));
    weights.set(subject, weight);
    total += weight;
    if (mentions === 0) unheardOf += weight;
  }
  return { of: weights, total, unheardOf: unheardOf / total };
}

interface Asked {
  readonly weights: Weights;
  /** All of the question's words, those without a subject included. */
  readonly words: ReadonlySet<string>;
  readonly wantsNumber: boolean;
}

/** `rank` is the place of the passage in what retrieval returned, from 0. */
function judge(statement: Statement, { weights, words, wantsNumber }: Asked, rank: number): Scored {
  const own = stemsOf(statement.words);
  const above = stemsOf(statement.context);
  let covered = 0;
  let score = 0;
  let subjects = 0;
  for (const [subject, weight] of weights.of) {
    if (own.has(subject)) score += weight;
    else if (above.has(subject)) score += weight * CONTEXT_SHARE;
    else continue;
    covered += weight;
    subjects += 1;
  }
  const factors = [
    wantsNumber && NUMBER.test(statement.words) ? 1.25 : 1,
    // A sentence about a special case, or about the page itself, is seldom the answer to a plain question.
    /^(if|this page)\b/i.test(statement.words) ? 0.8 : 1,
    // Of two that say the same, the one that says less besides.
    1 + 0.4 * (subjects / Math.max(own.size, 1)),
    // A heading may ask the very question.
    1 + 0.5 * likeness(stemsOf(statement.heading), words) ** 2,
    1 / (1 + rank * 0.04),
  ];
  return { statement, subjects, coverage: covered / weights.total, score: factors.reduce((a, b) => a * b, score) };
}

/** Share of the heading's words that the question has; 0 of a heading that is a mere keyword. */
function likeness(heading: ReadonlySet<string>, question: ReadonlySet<string>): number {
  if (heading.size < 3) return 0;
  return [...heading].filter((word) => question.has(word)).length / heading.size;
}
