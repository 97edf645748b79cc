/** What the savers did in one workload, as a table. */
import { shown } from "../support/figures.ts";
import { textTable } from "../support/stats.ts";
import { LOOKED_AT } from "./trial.ts";
import type { MeanTurn, Result } from "./trial.ts";

interface Row {
  readonly what: string;
  readonly unit: string;
  readonly isTime?: true;
  /** NaN where nobody counted. */
  readonly value: (result: Result) => number;
}

interface Quantity extends Pick<Row, "what" | "unit" | "isTime"> {
  readonly of: (turn: MeanTurn) => number;
}

const QUANTITIES: readonly Quantity[] = [
  { what: "write units", unit: "", of: ({ writeUnits }) => writeUnits },
  { what: "read units", unit: "", of: ({ readUnits }) => readUnits },
  { what: "requests", unit: "", of: ({ requests }) => requests },
  { what: "kept", unit: "MB", of: ({ bytes }) => bytes / 1e6 },
  { what: "a turn", unit: "ms", of: ({ ms }) => ms, isTime: true },
];

const ENDS: readonly Row[] = [
  { what: "round trips of a cold read", unit: "", value: ({ end }) => end?.coldReadTrips ?? Number.NaN },
  {
    what: "bytes kept, of the last state's",
    unit: "x",
    value: ({ end }) => (end === undefined ? Number.NaN : end.bytes / end.stateBytes),
  },
];

const rowOf = ({ what, of, ...more }: Quantity, turn: number): Row => ({
  ...more,
  what: `${what}, turn ${turn}`,
  value({ turns }) {
    const mean = turns.find((each) => each.turn === turn);
    return mean === undefined ? Number.NaN : of(mean);
  },
});

/** The savers in columns; in brackets, how many times the value of ours on the like of its storage it is. */
export function tableOf(workload: string, results: readonly Result[]): string {
  const isReached = (turn: number): boolean => results.some(({ turns }) => turns.some((mean) => mean.turn === turn));
  const reached = LOOKED_AT.filter(isReached);
  const rows = [...QUANTITIES.flatMap((quantity) => reached.map((turn) => rowOf(quantity, turn))), ...ENDS];
  const body = rows.map((row) => [row.what, ...results.map((result) => cell(row, result, results))]);
  const left = results.flatMap(({ entrant, left: why }) => (why === undefined ? [] : [`${entrant.name} ${why}`]));
  return [textTable([[workload, ...results.map(({ entrant }) => entrant.name)], ...body]), ...left].join("\n");
}

function cell({ value, unit, isTime }: Row, result: Result, results: readonly Result[]): string {
  const { beside } = result.entrant;
  const ours = results.find(({ entrant }) => entrant.name === beside?.name);
  const isCompared = ours !== undefined && (isTime !== true || beside?.inTime === true);
  const ratio = isCompared ? value(result) / value(ours) : Number.NaN;
  return `${shown(value(result), unit)}${Number.isNaN(ratio) ? "" : ` (${shown(ratio, "x")})`}`;
}
