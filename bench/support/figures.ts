/** What a benchmark found, beside what the project demands of itself. */
import { textTable } from "./stats.ts";

/** A value that is good when it is not above, or not below, a number. */
export type Bound = { readonly atMost: number } | { readonly atLeast: number };

export interface Figure {
  readonly what: string;
  readonly value: number;
  /** `ms`, `x`, …; empty for a count. */
  readonly unit: string;
  /** What must hold. */
  readonly bar?: Bound;
  /** What is worth working for. */
  readonly aim?: Bound;
  /** What else the machine does moves this value by more than bar and aim are apart: a miss is shown, and fails nothing. */
  readonly noisy?: true;
}

/** Prints the figures and answers the exit code of the benchmark: 1 when a bar is missed. */
export function report(figures: readonly Figure[]): number {
  console.log(`\n${figureTable(figures)}\n`);
  if (figures.some(({ noisy }) => noisy === true)) {
    console.log("(noise): decided by what else the machine does; a bar that is missed there fails nothing.\n");
  }
  return figures.some(isMissed) ? 1 : 0;
}

/** Whether it says that the project does less than it demands of itself. A value that is not there does. */
const isMissed = ({ value, bar, noisy }: Figure): boolean => bar !== undefined && noisy !== true && !holds(value, bar);

/** A value with as many digits as it deserves, and its unit. */
export function shown(value: number, unit: string): string {
  if (Number.isNaN(value)) return "-";
  const digits = Number.isInteger(value) || Math.abs(value) >= 100 ? 0 : Math.abs(value) < 10 ? 2 : 1;
  return `${value.toFixed(digits)} ${unit}`.trimEnd();
}

/** One row for each figure: its value, bar and aim, and which of the two it reaches. */
function figureTable(figures: readonly Figure[]): string {
  const rows = figures.map((figure) => [
    figure.what,
    shown(figure.value, figure.unit),
    boundText(figure.bar, figure.unit),
    boundText(figure.aim, figure.unit),
    reached(figure),
  ]);
  return textTable([["", "figure", "bar", "aim", ""], ...rows]);
}

function boundText(bound: Bound | undefined, unit: string): string {
  if (bound === undefined) return "";
  return "atMost" in bound ? `≤ ${shown(bound.atMost, unit)}` : `≥ ${shown(bound.atLeast, unit)}`;
}

const reached = (figure: Figure): string => `${verdict(figure)}${figure.noisy === true ? " (noise)" : ""}`;

function verdict({ value, bar, aim }: Figure): string {
  if (bar === undefined && aim === undefined) return "";
  if (aim !== undefined && holds(value, aim)) return "aim";
  if (bar !== undefined && holds(value, bar)) return aim === undefined ? "ok" : "bar";
  return bar === undefined ? "not yet" : "MISSED";
}

const holds = (value: number, bound: Bound): boolean =>
  "atMost" in bound ? value <= bound.atMost : value >= bound.atLeast;
