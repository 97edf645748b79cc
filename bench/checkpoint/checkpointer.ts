/**
 * Checkpoint savers side by side on what agents keep. All take the same turns, one after the other within each turn, so
 * that whatever else the machine does falls on all alike. A saver that fails, or that keeps more than it may, leaves.
 */
import { report } from "../support/figures.ts";
import type { Figure } from "../support/figures.ts";
import { readOptions } from "../support/options.ts";
import { createProgress } from "../support/progress.ts";
import { machine } from "../server/main.ts";
import type { Entrant } from "./contender.ts";
import { figuresOf } from "./checkpointer-figures.ts";
import { tableOf } from "./checkpointer-tables.ts";
import { memorySaver, oursCounted, oursOnSqlite } from "./ours.ts";
import { dynamoSaver, sqliteSaver } from "./peers.ts";
import { openTrial } from "./trial.ts";
import type { Result, Trial } from "./trial.ts";
import { WORKLOADS } from "./workloads.ts";
import type { Workload } from "./workloads.ts";

const SAVERS: Readonly<Record<string, Entrant>> = {
  counted: oursCounted,
  sqlite: oursOnSqlite,
  memory: memorySaver,
  "langgraph-sqlite": sqliteSaver,
  dynamodb: dynamoSaver,
};

const LINE = {
  name: "checkpointer",
  about:
    "Write and read units, requests, bytes and time of a turn, of our checkpoint saver and of others, early and late in a thread. Units are exact, times are those of this machine.",
  options: {
    turns: { fallback: 100, says: "turns of each workload; looked at are 10, 100, 400 and 2,000 of them" },
    only: { fallback: "all", says: `${WORKLOADS.map(({ name }) => name).join(", ")}, or all` },
    savers: { fallback: "all", says: `a list of ${Object.keys(SAVERS).join(", ")}, or all` },
    "most-mb": { fallback: 512, says: "megabytes a saver may keep in a workload; above it leaves the comparison" },
  },
} as const;

/** Prints a table for each workload, and the figures. */
export async function main(argv: readonly string[]): Promise<number> {
  const values = readOptions(LINE, argv);
  if (values === undefined) return 0;
  const workloads = chosen("only", values.only, Object.fromEntries(WORKLOADS.map((each) => [each.name, each])));
  const savers = chosen("savers", values.savers, SAVERS);
  const figures: Figure[] = [];
  for (const workload of workloads) {
    const results = await run(workload, savers, { turns: values.turns, mostBytes: values["most-mb"] * 1e6 });
    console.log(`\n${tableOf(workload.name, results)}\n`);
    figures.push(...figuresOf(workload.name, results));
  }
  console.log(`${machine()}\n`);
  return report(figures);
}

/** @throws Error when a name is none of them */
function chosen<T>(option: string, names: string, all: Readonly<Record<string, T>>): readonly T[] {
  if (names === "all") return Object.values(all);
  return names.split(",").map((name) => {
    const one = Object.hasOwn(all, name) ? all[name] : undefined;
    if (one === undefined) throw new Error(`--${option} is one of ${Object.keys(all).join(", ")}, not '${name}'`);
    return one;
  });
}

async function run(
  workload: Workload,
  savers: readonly Entrant[],
  { turns, mostBytes }: { readonly turns: number; readonly mostBytes: number },
): Promise<readonly Result[]> {
  await using stack = new AsyncDisposableStack();
  const trials: Trial[] = [];
  for (const saver of savers) trials.push(stack.use(await openTrial(workload, saver, mostBytes)));
  const progress = createProgress(workload.name, turns);
  for (let turn = 1; turn <= turns; turn += 1) {
    for (const trial of trials) await trial.take(turn);
    progress(turn);
  }
  const results: Result[] = [];
  for (const trial of trials) results.push(await trial.result());
  return results;
}
