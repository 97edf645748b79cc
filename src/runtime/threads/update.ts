/**
 * An update of a thread's state by the API is a claim like any other (I2): one header write takes an idle thread with
 * the next fence, then the barrier and the update's record land, then the lease is given up. If the API dies in
 * between, a worker takes the header over, finds no run, and releases.
 *
 * What waits on the thread and is not to wait any longer is cancelled on the record between the barrier and the update's
 * own record: under the lease nobody raises or answers anything, and an update that the graph refuses cancels nothing.
 */
import { FencedSaver } from "../../checkpoint/saver.ts";
import { saverParts } from "../saver-parts.ts";
import { HoldpointError, isHoldpointError } from "../../core/errors.ts";
import { isInTheWay } from "../../core/hold.ts";
import type { Hold } from "../../core/hold.ts";
import type { ThreadId } from "../../core/ids.ts";
import type { JsonObject } from "../../core/json.ts";
import type { Principal } from "../../core/principal.ts";
import { isBusy } from "../../core/thread.ts";
import type { Thread } from "../../core/thread.ts";
import { UpdateSaver } from "../../langgraph/update-saver.ts";
import { applyUpdate } from "../../langgraph/views.ts";
import type { Stored } from "../../storage/records.ts";
import { threadNotFound } from "../accept/accept-answer.ts";
import type { Deps } from "../deps.ts";
import { cancelHolds } from "../decisions/cancel-holds.ts";
import { followUp, followUpSoon } from "../decisions/follow-up.ts";
import { Lease } from "../delivery/lease.ts";
import type { StateUpdate } from "../runtime.ts";
import { onceLeaseIsGone, threadBusy } from "./lease-soon.ts";
import { upToDate } from "./repair.ts";
import { assertCheckpoint } from "../state-reader.ts";

/**
 * Writes an update as a checkpoint of its own and returns that checkpoint's selector.
 * @throws HoldpointError `not_found`, `conflict` (busy, or a review waits), `invalid` (the graph refuses it)
 */
export async function updateState(
  deps: Deps,
  principal: Principal,
  threadId: ThreadId,
  update: StateUpdate,
): Promise<JsonObject> {
  const ref = { tenant: principal.tenant, threadId };
  const held = await onceLeaseIsGone(deps, async () => {
    const header = await upToDate(deps, ref);
    if (!header || header.value.deleted) throw threadNotFound(ref);
    assertFree(header.value, update);
    await assertCheckpoint(deps, header.value, update.checkpoint);
    const lease = header.value.lease ? undefined : await Lease.claim(deps, header, { purpose: "update" });
    return lease && { lease, header };
  });
  return underLease(deps, { ...held, principal, update });
}

function assertFree(thread: Thread, { onPending }: StateUpdate): void {
  if (isBusy(thread)) throw threadBusy();
  if (thread.waiting && thread.waiting.reviews > 0 && onPending === undefined) {
    throw new HoldpointError(
      "conflict",
      `Thread ${thread.threadId} waits for a review: decide it under /v1/reviews first`,
    );
  }
}

interface Updating {
  readonly lease: Lease;
  readonly header: Stored<Thread>;
  readonly principal: Principal;
  readonly update: StateUpdate;
}

async function underLease(deps: Deps, { lease, header, principal, update }: Updating): Promise<JsonObject> {
  await using held = lease;
  const { tenant, threadId, generation } = header.value;
  const saver = new FencedSaver({
    ...saverParts(deps, tenant),
    lease: { threadId, generation, fence: held.fence },
  });
  try {
    await saver.preload();
    await saver.barrier();
    const graph = await graphOf(deps, header.value);
    let cancelled: readonly Hold[] = [];
    const updating = new UpdateSaver(saver, async () => {
      cancelled = await cancelPending(deps, { lease, principal, update });
    });
    const { onPending: _, ...what } = update;
    const written = await applyUpdate({ graph, saver: updating, store: deps.stores(tenant), threadId, ...what });
    for (const hold of cancelled) await followUpSoon(deps, hold);
    return written;
  } catch (error) {
    if (isHoldpointError(error, "lost"))
      throw new HoldpointError("unavailable", "another holder took the thread; repeat the update");
    throw error;
  } finally {
    if (!saver.lost) await held.release();
  }
}

/** What waits is won as cancelled: a review only where that is asked for, and no review waits otherwise. */
async function cancelPending(
  deps: Deps,
  { lease, principal, update }: Omit<Updating, "header">,
): Promise<readonly Hold[]> {
  const cancelling = { ...lease.thread, fence: lease.fence, by: principal.subject, reason: "the state was updated" };
  const isMeant = (hold: Hold): boolean => !isInTheWay(hold) || update.onPending === "cancel";
  const { decided, cancelled } = await cancelHolds(deps, cancelling, isMeant);
  if (!decided) return cancelled;
  await followUp(deps, decided, decided.holdId);
  throw new HoldpointError(
    "conflict",
    "an answer to an interrupt of this thread is being carried on; update it afterwards",
  );
}

async function graphOf(deps: Deps, thread: Thread) {
  const graphId = (await deps.threads.metadata(thread))["graph_id"];
  if (typeof graphId !== "string") throw new HoldpointError("invalid", `Thread ${thread.threadId} has no graph ID`);
  const graph = deps.graphs.get(graphId);
  if (graph) return graph;
  throw new HoldpointError(
    "graph_unavailable",
    `Graph ${graphId} is not on this machine: its state cannot be updated here`,
  );
}
