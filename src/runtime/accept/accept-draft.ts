/** From a request to the run item that is to be written: ids, version, and everything that never changes afterwards. */
import { runId as asRunId, threadId as asThreadId } from "../../core/ids.ts";
import type { RunId, ThreadId } from "../../core/ids.ts";
import type { Principal } from "../../core/principal.ts";
import { LOOKED_AT_AFTER_MS, pendingRun } from "../../core/run.ts";
import type { Run } from "../../core/run.ts";
import type { Thread } from "../../core/thread.ts";
import type { RegisteredGraph } from "../../langgraph/registry.ts";
import type { Stored } from "../../storage/records.ts";
import type { Deps } from "../deps.ts";
import { claimKey } from "./idempotency.ts";
import type { AcceptRequest, Assistant } from "../runtime.ts";

/** How long an accept may take at most: far less than until a run item that no header names is removed. */
export const REQUEST_DEADLINE_MS = 60_000;

/** What a request is accepted as. */
export interface Ids {
  readonly runId: RunId;
  readonly threadId: ThreadId;
  /** An earlier attempt under the same idempotency key drew them. */
  readonly repeated: boolean;
}

/** The ids of a request: fresh ones, or those of an earlier attempt under its idempotency key. */
export async function identify(deps: Deps, principal: Principal, request: AcceptRequest): Promise<Ids> {
  if (request.named) return { ...request.named, repeated: true };
  const fresh = { runId: deps.ids.uuid(), threadId: request.threadId ?? deps.ids.uuid() };
  const key =
    request.idempotency && (await claimKey(deps, principal.tenant, { ...request.idempotency, result: fresh }));
  const { runId, threadId } = { ...fresh, ...key?.result };
  return { runId: asRunId(runId), threadId: asThreadId(threadId), repeated: key?.repeated ?? false };
}

export interface DraftFrom {
  readonly principal: Principal;
  readonly request: AcceptRequest;
  readonly assistant: Assistant;
  readonly graph: RegisteredGraph;
  readonly ids: Ids;
  readonly generation: number;
  readonly graphVersion: string;
  /** Whether the run answers what waits on its thread. */
  readonly answers: boolean;
}

/** What answers a run of a pinned graph goes on in that run's version. */
export async function versionOf(
  deps: Deps,
  graph: RegisteredGraph,
  answers: boolean,
  header: Stored<Thread> | undefined,
): Promise<string> {
  if (!graph.pinned || !answers || !header?.value.waiting) return graph.version;
  const held = await deps.runs.get(header.value, header.value.waiting.runId);
  return held?.value.graphVersion ?? graph.version;
}

/** The run item as it is to be written. */
export function draftRun(
  deps: Deps,
  { principal, request, assistant, graph, ids, generation, graphVersion, answers }: DraftFrom,
): Run {
  const now = deps.table.now();
  const of = request.replay?.of;
  return pendingRun({
    tenant: principal.tenant,
    threadId: ids.threadId,
    runId: ids.runId,
    kind: answers ? "continuation" : "input",
    generation,
    root: of?.root ?? ids.runId,
    ...(of === undefined ? {} : { replayOf: of.runId }),
    assistantId: assistant.assistantId,
    graphId: assistant.graphId,
    graphVersion: (graph.pinned ? of?.graphVersion : undefined) ?? graphVersion,
    pool: graph.pool,
    priority: graph.priority,
    // Who may not decide what the failed run asks may not decide it now.
    startedBy: of?.startedBy ?? principal.subject,
    stateless: of?.stateless ?? request.threadId === undefined,
    settings: request.settings,
    payload: request.payload,
    ...(request.afterMs === undefined
      ? { followUpAt: now + LOOKED_AT_AFTER_MS }
      : {
          followUpAt: now + request.afterMs,
          startAt: now + request.afterMs,
          ...(request.force === true ? { force: true } : {}),
        }),
    createdAt: now,
  });
}
