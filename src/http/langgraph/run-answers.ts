/**
 * The three ways in which a run is answered: at once, when it has ended, and frame by frame. All read what is durable,
 * so a client that goes takes nothing with it, unless it asked that its going cancels the run.
 */
import type { Clock } from "../../core/clock.ts";
import { errorInfo } from "../../core/errors.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import { wireStatus } from "../../core/wire-status.ts";
import type { Run, StreamMode } from "../../core/run.ts";
import type { Log } from "../../runtime/deps.ts";
import type { RunResult, RunUseCases } from "../../runtime/runtime.ts";
import type { Metrics } from "../../telemetry/metrics.ts";
import { problemOf } from "../errors.ts";
import { answerSlowly } from "../keep-alive.ts";
import type { HttpLimits } from "../limits.ts";
import { whenGone } from "../reader.ts";
import type { Call } from "../route.ts";
import { openEventStream } from "../sse.ts";
import { traceOf } from "../trace.ts";
import { isObject } from "./objects.ts";

export interface RunRoutes {
  readonly runs: RunUseCases;
  readonly clock: Clock;
  readonly log: Log;
  readonly limits: HttpLimits;
  readonly metrics: Metrics;
  /** Aborts when this process stops serving: readers are let go, and their runs go on elsewhere. */
  readonly closing: AbortSignal;
}

export interface Reading {
  readonly run: Run;
  readonly cancelWhenGone: boolean;
}

export interface Streaming extends Reading {
  /** See `FollowRequest`. */
  readonly after: number | undefined;
  /** Undefined: everything that the run said. */
  readonly modes: readonly StreamMode[] | undefined;
  /** Whether the last frame is `end`: clients of ordinary streams look at the last frame and do not expect it. */
  readonly withEnd: boolean;
}

/** Server-sent events until the run has ended or the reader has gone. */
export async function answerStream(routes: RunRoutes, call: Call, streaming: Streaming): Promise<void> {
  const { runs, clock, limits, closing, log, metrics } = routes;
  const { response, principal } = call;
  const { run, after, modes, withEnd } = streaming;
  const gone = whenGone(response);
  const signal = AbortSignal.any([gone, closing]);
  response.setHeader("location", `/threads/${run.threadId}/runs/${run.runId}/stream`);
  using _open = metrics.streamOpened();
  const stream = openEventStream(response, clock, limits);
  let left = false;
  try {
    const { threadId, runId } = run;
    for await (const item of runs.follow(principal, { threadId, runId, after, signal })) {
      if (item.kind === "frame") {
        const { number, event, data } = item.frame;
        if (isWanted(event, modes) && !(await stream.send({ event, data, id: String(number) }))) break;
      } else if (withEnd) {
        await stream.send({ event: "end", data: { run_id: runId, status: wireStatus(item.run.status) } });
      }
      if (signal.aborted) break;
    }
    left = gone.aborted || response.destroyed;
    stream.end();
  } catch (error) {
    left = gone.aborted;
    if (!signal.aborted)
      log.error({ trace_id: traceOf(response), run_id: run.runId, err: error }, "a stream broke off");
    response.destroy();
  }
  if (left) await cancelLeft(routes, call, streaming);
}

/** Frames that every reader gets, whatever modes it asked for. */
const ALWAYS = new Set(["metadata", "error", "truncated", "end"]);

function isWanted(event: string, modes: readonly StreamMode[] | undefined): boolean {
  const name = event.split("|", 1)[0] ?? event;
  return modes === undefined || ALWAYS.has(name) || modes.some((mode) => mode === modeOf(name));
}

/** The mode that asks for an event of this name. */
function modeOf(name: string): string {
  if (name === "messages") return "messages-tuple";
  return name.startsWith("messages/") ? "messages" : name;
}

/** The outcome as JSON, as soon as there is one. */
export async function answerOutcome(
  routes: RunRoutes,
  call: Call,
  reading: Reading,
  bodyOf: (result: RunResult) => Json,
): Promise<void> {
  const { runs, clock, limits, closing, log } = routes;
  const { response, principal } = call;
  const gone = whenGone(response);
  const signal = AbortSignal.any([gone, closing]);
  const waiting = runs.wait(principal, reading.run.threadId, reading.run.runId, signal);
  try {
    await answerSlowly(response, {
      clock,
      keepAliveMs: limits.keepAliveMs,
      body: waiting.then(bodyOf),
      onLateFailure(error) {
        if (!signal.aborted)
          log.error({ trace_id: traceOf(response), run_id: reading.run.runId, err: error }, "a wait broke off");
        const { code, detail } = problemOf(error);
        return failure({ error: code, message: detail });
      },
    });
  } catch (error) {
    if (!gone.aborted) throw error;
  }
  if (gone.aborted) await cancelLeft(routes, call, reading);
}

/** What `wait` answers: the interrupts alone, when the run ended at some. */
export function waitBody(result: RunResult): Json {
  if (result.kind === "failed") return failedBody(result);
  return result.kind === "interrupted" ? { __interrupt__: result.interrupts } : result.values;
}

/** What `join` answers: the values of the thread, and the interrupts beside them. */
export function joinBody(result: RunResult): Json {
  if (result.kind === "failed") return failedBody(result);
  if (result.kind === "values") return result.values;
  return { ...(isObject(result.values) ? result.values : {}), __interrupt__: result.interrupts };
}

function failedBody(result: Extract<RunResult, { readonly kind: "failed" }>): JsonObject {
  return failure({ error: result.error.name, message: result.error.message });
}

const failure = (error: { readonly error: string; readonly message: string }): JsonObject => ({ __error__: error });

/** Nobody is left to tell: a run that has ended meanwhile, or cannot be cancelled, simply goes its way. */
async function cancelLeft(
  { runs, log, closing }: RunRoutes,
  { principal }: Call,
  { run, cancelWhenGone }: Reading,
): Promise<void> {
  if (!cancelWhenGone || closing.aborted) return;
  const { threadId, runId } = run;
  try {
    const cancel = { threadId, runId, wait: false, onlyUnfinished: true, reason: "the client has gone" };
    await runs.cancel(principal, { ...cancel, signal: closing });
  } catch (error) {
    log.warn({ run_id: runId, ...errorInfo(error) }, "a run whose client has gone could not be cancelled");
  }
}
