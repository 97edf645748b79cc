/**
 * What an accept answers. 200 and 409 are both promises: the first is given only while this attempt owns the run item or
 * the run has begun, the second only after `refused` stands on the run item, so that it is never given for a run that
 * executes.
 */
import { HoldpointError, errorInfo } from "../../core/errors.ts";
import { refused } from "../../core/run.ts";
import type { Run } from "../../core/run.ts";
import type { ThreadRef } from "../../storage/keys.ts";
import type { Deps } from "../deps.ts";

/** A run that is being accepted, as this attempt has put or taken over its item. */
interface Attempt {
  readonly ref: ThreadRef;
  readonly run: Run;
}

/** 409 is answered only after `refused` stands on the run item at this accept number. */
export async function refuse(deps: Deps, { ref, run }: Attempt, reason: HoldpointError): Promise<Run> {
  for (;;) {
    const current = await deps.runs.get(ref, run.runId);
    if (!current) throw reason;
    if (current.value.status !== "pending") return answerFor(current.value);
    if (current.value.acceptNumber !== run.acceptNumber) throw overtaken();
    const written = await deps.runs.put(refused(current.value, errorInfo(reason), deps.table.now()), current.version);
    if (written.won) throw reason;
  }
}

/** 200 is answered only while this attempt still owns the run item, or once the run is past `pending`. */
export async function confirm(deps: Deps, { ref, run }: Attempt): Promise<Run> {
  const current = await deps.runs.get(ref, run.runId);
  if (!current) throw overtaken();
  if (current.value.status !== "pending") return answerFor(current.value);
  if (current.value.acceptNumber !== run.acceptNumber) throw overtaken();
  return current.value;
}

/** What a run that was accepted or refused before is answered with. @throws HoldpointError why it was refused */
export function answerFor(run: Run): Run {
  if (run.status !== "refused") return run;
  const code = REFUSALS.find((known) => known === run.error?.name) ?? "conflict";
  throw new HoldpointError(code, run.error?.message ?? "the run was refused");
}

/** Reasons that stand on the run item, so that a repeat hears the same. Anything else leaves the run to its repeat. */
const REFUSALS = ["conflict", "limit", "invalid", "forbidden", "not_found"] as const;

export function asRefusal(error: unknown): HoldpointError {
  if (error instanceof HoldpointError && REFUSALS.some((code) => code === error.code)) return error;
  throw error;
}

const overtaken = (): HoldpointError =>
  new HoldpointError("unavailable", "another attempt at the same request is under way; repeat it", {
    retryAfterMs: 1000,
  });

export const threadNotFound = (ref: { readonly threadId: string }): HoldpointError =>
  new HoldpointError("not_found", `Thread with ID ${ref.threadId} not found`);
