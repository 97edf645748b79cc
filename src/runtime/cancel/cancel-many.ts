import { isHoldpointError } from "../../core/errors.ts";
import type { Principal } from "../../core/principal.ts";
import type { Run } from "../../core/run.ts";
import { isBusy } from "../../core/thread.ts";
import type { Thread } from "../../core/thread.ts";
import { threadNotFound } from "../accept/accept-answer.ts";
import { threadOfRun } from "../accept/accept.ts";
import { cancelRun } from "./cancel.ts";
import type { FollowDeps } from "../events/follow.ts";
import type { CancelMany, UnfinishedStatus } from "../runtime.ts";

/** Threads that are looked through at once. */
const PAGE = 100;

/**
 * Cancels the named runs; or every unfinished one of a thread, or of the tenant's busy threads, that is in this state.
 * Of the latter, those that have ended meanwhile or cannot be cancelled yet are passed over.
 * @throws HoldpointError `not_found` for a thread or a named run, `conflict` for a named run that cannot be cancelled;
 *   by then every other named run has been
 */
export async function cancelMany(host: FollowDeps, principal: Principal, many: CancelMany): Promise<void> {
  const { which, threadId, ...how } = many;
  if (which.kind === "named") {
    const attempts = await Promise.allSettled(
      which.runIds.map(async (runId) => {
        const of = threadId ?? (await threadOfRun(host.deps, principal, runId));
        await cancelRun(host, principal, { ...how, threadId: of, runId, wait: false });
      }),
    );
    const failed = attempts.find((attempt) => attempt.status === "rejected");
    const reason: unknown = failed?.reason;
    if (failed) throw reason;
    return;
  }
  for await (const thread of threadsOf(host, principal, threadId)) {
    for (const run of await unfinished(host, thread, which.status)) {
      const { threadId: of, runId } = run;
      await cancelRun(host, principal, { ...how, threadId: of, runId, wait: false, onlyUnfinished: true }).catch(
        unlessPassedOver,
      );
    }
  }
}

async function* threadsOf(
  { deps }: FollowDeps,
  { tenant }: Principal,
  threadId: CancelMany["threadId"],
): AsyncIterable<Thread> {
  if (threadId !== undefined) {
    const found = await deps.threads.get({ tenant, threadId });
    if (!found || found.value.deleted) throw threadNotFound({ threadId });
    yield found.value;
    return;
  }
  let after: string | undefined;
  do {
    const page = await deps.threads.list(tenant, { limit: PAGE, ...(after === undefined ? {} : { after }) });
    yield* page.items.filter(isBusy);
    after = page.next;
  } while (after !== undefined);
}

const STATES: Readonly<Record<UnfinishedStatus, readonly Run["status"][]>> = {
  pending: ["pending", "waiting"],
  running: ["running"],
  all: ["pending", "waiting", "running"],
};

/** The last to begin first, so that none begins because the one before it was cancelled. */
async function unfinished({ deps }: FollowDeps, thread: Thread, status: UnfinishedStatus): Promise<readonly Run[]> {
  const runs = await deps.runs.list(thread, thread.generation);
  return runs
    .filter((run) => STATES[status].includes(run.status))
    .toSorted((a, b) => Number(a.status === "running") - Number(b.status === "running") || b.createdAt - a.createdAt);
}

function unlessPassedOver(error: unknown): void {
  if (!isHoldpointError(error, "conflict") && !isHoldpointError(error, "not_found")) throw error;
}
