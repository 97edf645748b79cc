/** What the project demands of its saver in each workload. */
import type { Figure } from "../support/figures.ts";
import { oursCounted, oursOnSqlite } from "./ours.ts";
import { LOOKED_AT } from "./trial.ts";
import type { MeanTurn, Result } from "./trial.ts";

/** Write units of a turn of the chat: at turn, bar, aim. */
const CHAT_UNITS = [
  [10, 12, 10],
  [100, 13, 11],
  [400, 15, 12],
  [2000, 18, 15],
] as const;

/** The figures of one workload; those of turns that were not reached are left out. */
export function figuresOf(workload: string, results: readonly Result[]): readonly Figure[] {
  const counted = results.find(({ entrant }) => entrant === oursCounted);
  const timed = results.find(({ entrant }) => entrant === oursOnSqlite);
  const late = counted?.turns.at(-1);
  switch (workload) {
    case "chat":
      return [...chatUnits(counted), ...chatTime(timed), ...chatEnd(counted)];
    case "document":
      // The means at turn 10 hold the first turn, which sets the document and is no edit of it.
      return late === undefined || late.turn === LOOKED_AT[0] ? [] : [documentUnits(late)];
    case "fan-out":
      return late === undefined ? [] : fanOutItems(late);
    default:
      return [];
  }
}

const at = (result: Result | undefined, turn: number): MeanTurn | undefined =>
  result?.turns.find((mean) => mean.turn === turn);

const chatUnits = (counted: Result | undefined): readonly Figure[] =>
  CHAT_UNITS.flatMap(([turn, bar, aim]): readonly Figure[] => {
    const value = at(counted, turn)?.writeUnits;
    if (value === undefined) return [];
    return [{ what: `chat: write units, turn ${turn}`, value, unit: "", bar: { atMost: bar }, aim: { atMost: aim } }];
  });

function chatTime(timed: Result | undefined): readonly Figure[] {
  const value = at(timed, 400)?.ms;
  if (value === undefined) return [];
  const what = "chat: a turn on SQLite, turn 400";
  return [{ what, value, unit: "ms", bar: { atMost: 60 }, aim: { atMost: 25 }, noisy: true }];
}

function chatEnd(counted: Result | undefined): readonly Figure[] {
  if (counted?.end === undefined) return [];
  const { coldReadTrips, bytes, stateBytes } = counted.end;
  return [
    {
      what: "chat: round trips of a cold read",
      value: coldReadTrips,
      unit: "",
      bar: { atMost: 3 },
      aim: { atMost: 2 },
    },
    {
      what: "chat: bytes kept, of the last state's",
      value: bytes / stateBytes,
      unit: "x",
      bar: { atMost: 4 },
      aim: { atMost: 2 },
    },
  ];
}

const documentUnits = ({ turn, writeUnits, checkpoints }: MeanTurn): Figure => ({
  what: `document: write units of a step, turn ${turn}`,
  value: writeUnits / checkpoints,
  unit: "",
  bar: { atMost: 30 },
  aim: { atMost: 10 },
});

const fanOutItems = ({ itemsOfTask, recordsOfStep }: MeanTurn): readonly Figure[] => [
  { what: "fan-out: items of task writes, a task", value: itemsOfTask, unit: "", bar: { atMost: 1 } },
  { what: "fan-out: records, a superstep", value: recordsOfStep, unit: "", bar: { atMost: 1 } },
];
