/**
 * An update of a thread's state by the API is a claim like any other (I2): one header write takes an idle thread with
 * the next fence, then the barrier and the update's record land, then the lease is given up. If the API dies in
 * between, a worker takes the header over, finds no run, and releases.
 */
import { FencedSaver } from "../../checkpoint/saver.ts";
import { saverParts } from "../saver-parts.ts";
import { HoldpointError, isHoldpointError } from "../../core/errors.ts";
import type { ThreadId } from "../../core/ids.ts";
import type { JsonObject } from "../../core/json.ts";
import type { Principal } from "../../core/principal.ts";
import { isBusy } from "../../core/thread.ts";
import type { Thread } from "../../core/thread.ts";
import { applyUpdate } from "../../langgraph/views.ts";
import type { Stored } from "../../storage/records.ts";
import { threadNotFound } from "../accept/accept-answer.ts";
import type { Deps } from "../deps.ts";
import { cancelPlainHolds } from "../decisions/follow-up.ts";
import { Lease } from "../delivery/lease.ts";
import type { StateUpdate } from "../runtime.ts";
import { repairHeader } from "./repair.ts";
import { assertCheckpoint } from "../state-reader.ts";

/** How long an update waits for the lease of a run that has just ended to be given up. */
const LEASE_SOON_MS = 1000;
const LEASE_POLL_MS = 20;

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
  const until = deps.clock.monotonic() + LEASE_SOON_MS;
  do {
    let header = await deps.threads.get(ref);
    if (!header || header.value.deleted) throw threadNotFound(ref);
    header = (await repairHeader(deps, header)) ?? header;
    assertIdle(header.value);
    await assertCheckpoint(deps, header.value, update.checkpoint);
    const lease = header.value.lease ? undefined : await Lease.claim(deps, header, { purpose: "update" });
    if (lease) return underLease(deps, { lease, header, principal, update });
    await deps.clock.sleep(LEASE_POLL_MS);
  } while (deps.clock.monotonic() < until);
  throw new HoldpointError("conflict", "Thread is busy");
}

function assertIdle(thread: Thread): void {
  if (isBusy(thread)) throw new HoldpointError("conflict", "Thread is busy");
  if (thread.waiting && thread.waiting.reviews > 0) {
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
    const decided = await cancelPlainHolds(
      deps,
      { tenant, threadId, generation, fence: held.fence },
      { by: principal.subject, reason: "the state was updated" },
    );
    if (decided)
      throw new HoldpointError(
        "conflict",
        "an answer to an interrupt of this thread is being carried on; update it afterwards",
      );
    const graph = await graphOf(deps, header.value);
    return await applyUpdate({ graph, saver, store: deps.stores(tenant), threadId, ...update });
  } catch (error) {
    if (isHoldpointError(error, "lost"))
      throw new HoldpointError("unavailable", "another holder took the thread; repeat the update");
    throw error;
  } finally {
    if (!saver.lost) await held.release();
  }
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
