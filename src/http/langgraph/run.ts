/** Runs that exist: reading, joining, streaming and cancelling them. */
import { z } from "zod";
import { HoldpointError } from "../../core/errors.ts";
import { allows } from "../../core/principal.ts";
import type { Run } from "../../core/run.ts";
import { parse, present, queryFlag, queryLimit, queryList, queryOffset, selected } from "../parse.ts";
import { whenGone } from "../reader.ts";
import type { Call, Routes } from "../route.ts";
import { lastEventId } from "./headers.ts";
import { runObject, wireStatus, WIRE_RUN_STATUSES } from "./objects.ts";
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
const cancelQuery = z.object({
  wait: queryFlag,
  action: z.enum(["interrupt", "rollback"]).optional(),
  reason: z.string().max(512).optional(),
});

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
    call.response.json(runObject(run, await runs.payload(run)));
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
    if (action === "rollback")
      throw new HoldpointError("unsupported", "action rollback is not supported yet; use interrupt");
    const signal = AbortSignal.any([whenGone(call.response), host.closing]);
    if (wait) call.waits();
    await runs.cancel(call.principal, { threadId, runId, wait, signal, ...present({ reason }) });
    call.response.status(wait ? 204 : 202).end();
  });
}

/** A read that cancels when its reader goes needs the right to cancel. */
function requireCancel({ principal }: Call, cancelWhenGone: boolean): void {
  if (cancelWhenGone && !allows(principal, "runs:write")) {
    throw new HoldpointError("forbidden", "Not authorized", { detail: { needs: "runs:write" } });
  }
}
