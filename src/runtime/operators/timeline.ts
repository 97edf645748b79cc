/** One run from its acceptance to its end, put together from what is kept of it. */
import type { EffectEntry } from "../../core/effect.ts";
import { isWait } from "../../core/hold.ts";
import type { Hold } from "../../core/hold.ts";
import type { RunId } from "../../core/ids.ts";
import type { Principal } from "../../core/principal.ts";
import type { Run } from "../../core/run.ts";
import { waitingFor } from "../../core/waiting-for.ts";
import type { WaitingFor } from "../../core/waiting-for.ts";
import { stepsOf } from "../../langgraph/steps.ts";
import type { Steps } from "../../langgraph/steps.ts";
import { threadOfRun } from "../accept/accept.ts";
import type { Deps } from "../deps.ts";
import { findRun } from "../events/follow.ts";
import { readingSaver, rootsOf } from "../state-reader.ts";

export interface Timeline extends Steps {
  readonly run: Run;
  readonly waits: WaitingFor | undefined;
  readonly times: Times;
  /** What this run asked, and what that came to. */
  readonly holds: readonly TimedHold[];
  /** Of the whole lineage: those of another run were not repeated by this one. */
  readonly effects: readonly EffectEntry[];
  /** Every run of the lineage on this thread, oldest first. */
  readonly lineage: readonly Run[];
}

/** Milliseconds by the table's time; undefined for what has not come to an end. */
export interface Times {
  /** From when it might begin until a worker took it. */
  readonly queueMs: number | undefined;
  /** From then to its end: what people took to answer is not in it, since a run ends at its question. */
  readonly runMs: number | undefined;
  /** What people took to answer this run, one question after another or at once. */
  readonly humanMs: number;
}

export interface TimedHold {
  readonly hold: Hold;
  /** Until it was decided, or until now. */
  readonly waitMs: number;
}

/** @throws HoldpointError `not_found` */
export async function timelineOf(deps: Deps, principal: Principal, runId: RunId): Promise<Timeline> {
  const threadId = await threadOfRun(deps, principal, runId);
  const run = await findRun(deps, principal, threadId, runId);
  const now = deps.table.now();
  const roots = await rootsOf(deps, run);
  const [steps, holds, effects, runs, header] = await Promise.all([
    stepsOf({ saver: readingSaver(deps, run), threadId, runId, checkpointId: run.end?.checkpointId }),
    deps.holds.ofThread(run, run.generation),
    Promise.all([...roots].map((root) => deps.effects.ofRoot(run.tenant, root))),
    deps.runs.list(run, run.generation),
    deps.threads.get(run),
  ]);
  const all = holds.map(({ value }) => value);
  const asked = all.filter((hold) => hold.runId === runId);
  // One that came with the answer has a root of its own.
  const answering = new Set(all.flatMap(({ root, carriedBy }) => (roots.has(root) && carriedBy ? [carriedBy] : [])));
  return {
    ...steps,
    run,
    waits: header && waitingFor(run, header.value, now),
    times: timesOf(run, asked, now),
    holds: asked.map((hold) => ({ hold, waitMs: (answeredAt(hold) ?? now) - hold.raisedAt })),
    effects: effects.flat().toSorted((a, b) => a.createdAt - b.createdAt),
    lineage: runs.filter((one) => roots.has(one.root) || answering.has(one.runId)).toReversed(),
  };
}

function timesOf(run: Run, holds: readonly Hold[], now: number): Times {
  const { startedAt, end, createdAt, startAt } = run;
  return {
    queueMs: startedAt === undefined ? undefined : Math.max(0, startedAt - Math.max(createdAt, startAt ?? 0)),
    runMs: startedAt === undefined || end === undefined ? undefined : Math.max(0, end.at - startedAt),
    humanMs: covered(holds.filter((hold) => !isWait(hold)).map((hold) => [hold.raisedAt, answeredAt(hold) ?? now])),
  };
}

/** While it is pending somebody may still answer it. */
const answeredAt = ({ state, decision, updatedAt }: Hold): number | undefined =>
  state === "pending" ? undefined : (decision?.at ?? updatedAt);

/** Time that is covered by any of these intervals. */
function covered(intervals: readonly (readonly [from: number, to: number])[]): number {
  let [sum, end] = [0, -Infinity];
  for (const [from, to] of intervals.toSorted(([a], [b]) => a - b)) {
    sum += Math.max(0, to - Math.max(from, end));
    end = Math.max(end, to);
  }
  return sum;
}
