/** Starting runs, on a thread and without one. */
import type { ThreadId } from "../../core/ids.ts";
import type { Principal } from "../../core/principal.ts";
import type { Run, StreamMode } from "../../core/run.ts";
import { present } from "../parse.ts";
import type { BodyKind, Call, Routes } from "../route.ts";
import { headersForGraphs, idempotencyOf, isForced } from "./headers.ts";
import { runObject } from "./objects.ts";
import { threadIdOf } from "./paths.ts";
import { answerOutcome, answerStream, waitBody } from "./run-answers.ts";
import type { RunRoutes } from "./run-answers.ts";
import { parseRunBody } from "./run-body.ts";
import type { RunRequest } from "./run-body.ts";

const RUN: BodyKind = "run";

/** What a run logs when its request names no modes: values, as references, so that somebody may read along later. */
const DEFAULT_MODES: readonly StreamMode[] = ["values"];
/** A run that is waited for and names no modes is read by nobody else. */
const NO_MODES: readonly StreamMode[] = [];

type ThreadOf = (call: Call) => ThreadId | undefined;

/** Lets a run into the pool of its assistant's graph. @throws HoldpointError `limit` when that has no room */
export type EnterPool = (principal: Principal, assistantId: string) => Promise<void>;

export interface StartRoutes extends RunRoutes {
  readonly enterPool: EnterPool;
}

export function addRunRoutes(routes: Routes, host: StartRoutes): void {
  addStartRoutes(routes, host, { prefix: "/threads/:thread_id", threadOf: ({ request }) => threadIdOf(request) });
  addStartRoutes(routes, host, { prefix: "", threadOf: () => undefined });
}

interface Surface {
  readonly prefix: string;
  readonly threadOf: ThreadOf;
}

function addStartRoutes(routes: Routes, host: StartRoutes, { prefix, threadOf }: Surface): void {
  const start = async (call: Call, defaultModes: readonly StreamMode[]) => {
    const threadId = threadOf(call);
    const request = parseRunBody(call.body, { threadId, defaultModes, headers: headersForGraphs(call.request) });
    const run = await accept(host, call, threadId, request);
    call.response.setHeader("content-location", locationOf(run));
    return { run, request, cancelWhenGone: request.onDisconnect === "cancel" };
  };

  routes.post(
    `${prefix}/runs`,
    "runs:write",
    async (call) => {
      const { run, request } = await start(call, DEFAULT_MODES);
      call.response.json(runObject(run, request.payload));
    },
    RUN,
  );
  routes.post(
    `${prefix}/runs/stream`,
    "runs:write",
    async (call) => {
      const { run, cancelWhenGone } = await start(call, DEFAULT_MODES);
      call.waits();
      const withEnd = run.settings.streamResumable;
      await answerStream(host, call, { run, cancelWhenGone, after: -1, modes: undefined, withEnd });
    },
    RUN,
  );
  routes.post(
    `${prefix}/runs/wait`,
    "runs:write",
    async (call) => {
      const { run, cancelWhenGone } = await start(call, NO_MODES);
      call.waits();
      await answerOutcome(host, call, { run, cancelWhenGone }, waitBody);
    },
    RUN,
  );
}

async function accept(
  { runs, enterPool }: StartRoutes,
  call: Call,
  threadId: ThreadId | undefined,
  request: RunRequest,
): Promise<Run> {
  const { assistantId, payload, settings, ifNotExists, afterMs, onPending } = request;
  const idempotency = idempotencyOf(call);
  if (payload.command?.resume === undefined) await enterPool(call.principal, assistantId);
  return runs.accept(call.principal, {
    threadId,
    assistantId,
    payload,
    settings,
    ifNotExists,
    force: isForced(call.request),
    ...present({ afterMs, onPending, idempotency }),
  });
}

/** Relative to the base address that the client was given, as its SDK expects. */
function locationOf(run: Run): string {
  return run.stateless ? `/runs/${run.runId}` : `/threads/${run.threadId}/runs/${run.runId}`;
}
