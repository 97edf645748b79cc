/**
 * What a turn of a long conversation costs to keep, beside one at its beginning: frames that carry state are references, and
 * run items name what they left, so neither may grow with the thread. Everything is asked for that a reader can ask for.
 */
import type { ThreadId } from "../../src/core/ids.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import type { Worker } from "../../src/runtime/worker/worker.ts";
import { createMemoryTable } from "../../test/support/memory-table.ts";
import { createCountingTable } from "../support/counting-table.ts";
import type { Call } from "../support/counting-table.ts";
import { report } from "../support/figures.ts";
import { readOptions } from "../support/options.ts";
import { createProgress } from "../support/progress.ts";
import { median } from "../support/stats.ts";
import { createVirtualClock } from "../support/virtual-clock.ts";
import { aboutOneKilobyte, conversationGraph } from "./chat.ts";
import {
  acceptOn,
  isOfCheckpointer,
  isOfEvents,
  newThread,
  openApi,
  principal,
  startWorker,
  unitsOf,
} from "./service.ts";

import type { Api } from "./service.ts";

const LINE = {
  name: "turns",
  about:
    "Write units of a turn (three nodes, a message of about a KB each, streamed as values, updates and messages) late in a thread, beside those early in it. On a virtual clock, and so the same on any machine.",
  options: {
    early: { fallback: 10, says: "the early turn; the median of it and the two before and after it" },
    late: { fallback: 2000, says: "the late one, likewise" },
    "round-trip-ms": { fallback: 5, says: "milliseconds that each call of the table takes" },
  },
} as const;

/** Turns on either side of the one that is looked at. */
const AROUND = 2;
const STREAMED = ["values", "updates", "messages-tuple"] as const;

/** Writes of one turn, up to the release of its thread. */
type Turn = readonly Call[];

/** Prints the units of both turns, and how many times more the late one takes. */
export async function main(argv: readonly string[]): Promise<number> {
  const values = readOptions(LINE, argv);
  if (values === undefined) return 0;
  const { early, late } = values;
  const turns = await converse(late + AROUND, values["round-trip-ms"]);
  const at = (turn: number, of: (turn: Turn) => number): number =>
    median(turns.slice(Math.max(0, turn - 1 - AROUND), turn + AROUND).map(of));
  const events = (turn: Turn): number => unitsOf(turn.filter(isOfEvents));
  const runs = (turn: Turn): number => unitsOf(turn.filter(isOfRun));
  const both = (turn: Turn): number => events(turn) + runs(turn);
  const beyond = (turn: Turn): number => unitsOf(turn.filter((call) => !isOfCheckpointer(call)));
  const pair = (what: string, of: (turn: Turn) => number) => [
    { what: `  ${what}, turn ${early}`, value: at(early, of), unit: "" },
    { what: `  ${what}, turn ${late}`, value: at(late, of), unit: "" },
  ];
  return report([
    {
      what: `event and run write units of turn ${late}, beside turn ${early}`,
      value: at(late, both) / at(early, both),
      unit: "x",
      bar: { atMost: 1.5 },
      aim: { atMost: 1.1 },
    },
    ...pair("event log", events),
    ...pair("run items", runs),
    {
      what: "everything but the checkpointer's, likewise",
      value: at(late, beyond) / at(early, beyond),
      unit: "x",
    },
    ...pair("everything but the checkpointer's", beyond),
    { what: "everything, likewise", value: at(late, unitsOf) / at(early, unitsOf), unit: "x" },
    ...pair("everything", unitsOf),
  ]);
}

/** Items of runs, requests that were too long for them, and what finds the thread of a run. */
const isOfRun = ({ keys }: Call): boolean => keys.every((key) => /^(?:R#|I#|M$)/.test(key));

/** One thread, turn after turn. */
async function converse(turns: number, roundTripMs: number): Promise<readonly Turn[]> {
  const clock = createVirtualClock();
  const memory = createMemoryTable({ now: () => clock.wall() });
  const roundTrip = (): Promise<void> => clock.sleep(roundTripMs);
  const table = createCountingTable(memory, { now: () => clock.monotonic(), roundTrip });
  const graphs = createRegistry([registeredGraph("conversation", conversationGraph())]);
  const api = openApi({ table, graphs, clock });
  const worker = startWorker(api);
  const progress = createProgress("turns", turns);
  const seen: Turn[] = [];
  const threadId = await clock.run(newThread(api.runtime));
  for (let turn = 1; turn <= turns; turn += 1) {
    const from = table.calls.length;
    await clock.run(takeTurn({ ...api, worker, threadId }));
    seen.push(table.calls.slice(from).filter(({ units }) => units > 0));
    progress(turn);
  }
  await clock.run(worker[Symbol.asyncDispose]());
  return seen;
}

/** From the request to the release of the thread. */
async function takeTurn(on: Api & { readonly worker: Worker; readonly threadId: ThreadId }): Promise<void> {
  const { runtime, worker, threadId, deps } = on;
  const input = { said: { role: "user", content: aboutOneKilobyte(0) } };
  const asked = { threadId, graphId: "conversation", input, streamModes: STREAMED };
  const { runId } = await acceptOn(runtime, asked);
  const result = await runtime.runs.wait(principal, threadId, runId, new AbortController().signal);
  if (result.kind !== "values") throw new Error(`a turn came to ${result.kind}`);
  while (worker.busy > 0) await deps.clock.sleep(5);
}
