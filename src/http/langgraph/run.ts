/** Runs that exist: reading, joining, streaming and cancelling them. */
import { z } from "zod";
import { HoldpointError } from "../../core/errors.ts";
import { runId, threadId } from "../../core/ids.ts";
import { wireStatus, WIRE_RUN_STATUSES } from "../../core/wire-status.ts";
import { allows } from "../../core/principal.ts";
import type { Run } from "../../core/run.ts";
import type { CancelMany } from "../../runtime/runtime.ts";
import {
  MAX_LIMIT,
  optional,
  parse,
  present,
  queryFlag,
  queryLimit,
  queryList,
  queryOffset,
  selected,
  uuid,
} from "../parse.ts";
import { whenGone } from "../reader.ts";
import type { Call, Routes } from "../route.ts";
import { isForced, lastEventId } from "./headers.ts";
import { runObject } from "./objects.ts";
import { runIdOf, threadIdOf } from "./paths.ts";
import { answerOutcome, answerStream, joinBody } from "./run-answers.ts";
import type { RunRoutes } from "./run-answers.ts";
import { streamModesOf } from "./run-body.ts";

const listQuery = z.object({
  limit: queryLimit(10),
  offset: queryOffset,
  status: z.enum(WIRE_RUN_STATUSES).optional(),
  select: queryList,
});
const joinQuery = z.object({ cancel_on_disconnect: queryFlag });
const streamQuery = z.object({ cancel_on_disconnect: queryFlag, stream_mode: queryList });
const action = z.enum(["interrupt", "rollback"]).optional();
const cancelQuery = z.object({ wait: queryFlag, action, reason: z.string().max(512).optional() });
const cancelManyQuery = z.object({ action });
const cancelManyBody = z
  .object({
    thread_id: optional(uuid),
    run_ids: optional(z.array(uuid).min(1).max(MAX_LIMIT)),
    status: optional(z.enum(["pending", "running", "all"])),
  })
  .refine(
    ({ run_ids, status }) => run_ids === undefined || status === undefined,
    "run_ids and status exclude each other",
  );

export function addExistingRunRoutes(routes: Routes, host: RunRoutes): void {
  const { runs } = host;
  const find = ({ principal, request }: Call): Promise<Run> =>
    runs.get(principal, threadIdOf(request), runIdOf(request));

  routes.get("/threads/:thread_id/runs", "runs:read", async ({ principal, request, response }) => {
    const threadId = threadIdOf(request);
    const { limit, offset, status, select } = parse(listQuery, request.query, "query");
    const all = await runs.list(principal, threadId);
    const page = all
      .filter((run) => status === undefined || wireStatus(run.status) === status)
      .slice(offset, offset + limit);
    const objects = await Promise.all(page.map(async (run) => runObject(run, await runs.payload(run))));
    response.json(objects.map((object) => selected(select, object)));
  });

  routes.get("/threads/:thread_id/runs/:run_id", "runs:read", async (call) => {
    const run = await find(call);
    const [payload, waits] = await Promise.all([runs.payload(run), runs.waitingFor(run)]);
    call.response.json(runObject(run, payload, { waits }));
  });

  routes.get("/threads/:thread_id/runs/:run_id/join", "runs:read", async (call) => {
    const run = await find(call);
    const { cancel_on_disconnect: cancelWhenGone } = parse(joinQuery, call.request.query, "query");
    requireCancel(call, cancelWhenGone);
    call.waits();
    await answerOutcome(host, call, { run, cancelWhenGone }, joinBody);
  });

  const joinStream = async (call: Call, run: Run): Promise<void> => {
    const { cancel_on_disconnect: cancelWhenGone, stream_mode: asked } = parse(
      streamQuery,
      call.request.query,
      "query",
    );
    requireCancel(call, cancelWhenGone);
    const modes = streamModesOf(asked);
    const after = lastEventId(call.request);
    const withEnd = run.settings.streamResumable || after !== undefined;
    call.response.setHeader("content-location", `/threads/${run.threadId}/runs/${run.runId}`);
    call.waits();
    await answerStream(host, call, { run, cancelWhenGone, after, modes, withEnd });
  };
  routes.get("/threads/:thread_id/runs/:run_id/stream", "runs:read", async (call) =>
    joinStream(call, await find(call)),
  );

  routes.get("/runs/:run_id/stream", "runs:read", async (call) => {
    const runId = runIdOf(call.request);
    const threadId = await runs.threadOf(call.principal, runId);
    await joinStream(call, await runs.get(call.principal, threadId, runId));
  });

  routes.post("/threads/:thread_id/runs/:run_id/cancel", "runs:write", async (call) => {
    const threadId = threadIdOf(call.request);
    const runId = runIdOf(call.request);
    const { wait, action, reason } = parse(cancelQuery, call.request.query, "query");
    const signal = AbortSignal.any([whenGone(call.response), host.closing]);
    if (wait) call.waits();
    const how = { force: isForced(call.request), signal, ...present({ action, reason }) };
    await runs.cancel(call.principal, { threadId, runId, wait, ...how });
    call.response.status(wait ? 204 : 202).end();
  });

  routes.post("/runs/cancel", "runs:write", async ({ principal, request, body, response }) => {
    const { thread_id, run_ids, status } = parse(cancelManyBody, body, "body");
    const { action } = parse(cancelManyQuery, request.query, "query");
    const which = status === undefined ? named(run_ids) : { kind: "status" as const, status };
    const how = { which, force: isForced(request), signal: host.closing, ...present({ action }) };
    await runs.cancelMany(principal, thread_id === undefined ? how : { ...how, threadId: threadId(thread_id) });
    response.status(204).end();
  });
}

function named(ids: readonly string[] | undefined): CancelMany["which"] {
  if (ids === undefined) throw new HoldpointError("invalid", "body: name run_ids, or a status");
  return { kind: "named", runIds: ids.map((id) => runId(id)) };
}

/** A read that cancels when its reader goes needs the right to cancel. */
function requireCancel({ principal }: Call, cancelWhenGone: boolean): void {
  if (cancelWhenGone && !allows(principal, "runs:write")) {
    throw new HoldpointError("forbidden", "Not authorized", { detail: { needs: "runs:write" } });
  }
}
