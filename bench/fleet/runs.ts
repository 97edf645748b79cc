/** Runs of the waiting graph: started in numbers, and looked at until they have ended. */
import { setTimeout as sleep } from "node:timers/promises";
import { systemIds } from "../../src/core/ids.ts";
import { createProgress } from "../support/progress.ts";
import type { Client } from "../server/client.ts";

export interface Waiting {
  readonly steps: number;
  readonly pauseMs: number;
}

/** A run that was accepted, on a thread of its own. */
export interface Accepted {
  readonly threadId: string;
  readonly runId: string;
}

/** One superstep: in which process, and when it began (milliseconds since the epoch). */
export interface Taken {
  readonly pid: number;
  readonly at: number;
}

const POLL_MS = 50;

/** The body of a request for a run of the waiting graph. */
export const waitingBody = ({ steps, pauseMs }: Waiting) => ({
  assistant_id: "waiting",
  input: { steps, pauseMs },
  if_not_exists: "create",
  config: { recursion_limit: steps + 5 },
});

export const newThreadId = (): string => systemIds.uuid();

/** Has one run accepted. @throws on any status above 299 */
export async function acceptRun(client: Client, waiting: Waiting): Promise<Accepted> {
  const threadId = newThreadId();
  const run = (await client.post(`/threads/${threadId}/runs`, waitingBody(waiting))) as { readonly run_id: string };
  return { threadId, runId: run.run_id };
}

/** Works on a number of things with so many at once. */
export async function inLanes(count: number, lanes: number, work: (n: number) => Promise<void>): Promise<void> {
  let next = 0;
  const lane = async (): Promise<void> => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

export interface Ended {
  readonly status: string;
}

/** Looks at runs one after the other until every one has ended. @throws Error when one has not within the time */
export async function untilEnded(
  client: Client,
  runs: readonly Accepted[],
  timeoutMs: number,
  what = "ended",
): Promise<readonly Ended[]> {
  const deadline = performance.now() + timeoutMs;
  const progress = createProgress(what, runs.length);
  const ended: Ended[] = [];
  for (const run of runs) {
    let seen = await look(client, run);
    while (seen.status === "pending" || seen.status === "running") {
      if (performance.now() > deadline) throw new Error(`run ${run.runId} is still ${seen.status}`);
      progress(ended.length);
      await sleep(POLL_MS);
      seen = await look(client, run);
    }
    ended.push(seen);
  }
  return ended;
}

/** The status of a run. */
export async function look(client: Client, { threadId, runId }: Accepted): Promise<Ended> {
  const { status } = (await client.get(`/threads/${threadId}/runs/${runId}`)) as Ended;
  return { status };
}

/** The supersteps that a thread's state holds. */
export async function stepsTaken(client: Client, { threadId }: Accepted): Promise<readonly Taken[]> {
  const state = (await client.get(`/threads/${threadId}/state`)) as {
    readonly values?: { readonly taken?: readonly Taken[] };
  };
  return state.values?.taken ?? [];
}

/** Waits until each of the runs is being executed. */
export async function untilRunning(client: Client, runs: readonly Accepted[], timeoutMs = 30_000): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  for (const run of runs) {
    for (;;) {
      const { status } = await look(client, run);
      if (status === "running") break;
      if (status !== "pending") throw new Error(`run ${run.runId} is ${status}, not running`);
      if (performance.now() > deadline) throw new Error(`run ${run.runId} was not begun in ${timeoutMs} ms`);
      await sleep(POLL_MS);
    }
  }
}
