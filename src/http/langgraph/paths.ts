import type { Request } from "express";
import { runId, threadId } from "../../core/ids.ts";
import type { RunId, ThreadId } from "../../core/ids.ts";
import { z } from "zod";
import { parse, uuid } from "../parse.ts";

const threadPath = z.object({ thread_id: uuid });
const runPath = z.object({ run_id: uuid });

/** @throws HoldpointError `invalid` for anything but a UUID */
export function threadIdOf(request: Request): ThreadId {
  return threadId(parse(threadPath, request.params, "path").thread_id);
}

/** @throws HoldpointError `invalid` for anything but a UUID */
export function runIdOf(request: Request): RunId {
  return runId(parse(runPath, request.params, "path").run_id);
}
