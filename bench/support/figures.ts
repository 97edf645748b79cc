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
}

/** A value with as many digits as it deserves, and its unit. */
export function shown(value: number, unit: string): string {
  if (Number.isNaN(value)) return "-";
  const digits = Number.isInteger(value) || Math.abs(value) >= 100 ? 0 : Math.abs(value) < 10 ? 2 : 1;
  return `${value.toFixed(digits)} ${unit}`.trimEnd();
}

/** One row for each figure: its value, bar and aim, and which of the two it reaches. */
export function figureTable(figures: readonly Figure[]): string {
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

function reached({ value, bar, aim }: Figure): string {
  if (bar === undefined && aim === undefined) return "";
  if (aim !== undefined && holds(value, aim)) return "aim";
  if (bar !== undefined && holds(value, bar)) return aim === undefined ? "ok" : "bar";
  return bar === undefined ? "not yet" : "MISSED";
}

const holds = (value: number, bound: Bound): boolean =>
  "atMost" in bound ? value <= bound.atMost : value >= bound.atLeast;
