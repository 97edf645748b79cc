/** One call of an effect under its intent, and one search for what became of an earlier one. */
import type { EffectOutcome } from "../core/effect.ts";
import { resultNotKept } from "../core/effect-result.ts";
import { HoldpointError, errorInfo } from "../core/errors.ts";
import type { Json } from "../core/json.ts";
import { strictJson } from "../core/plain-json.ts";
import type { GraphContext, Intent } from "./context.ts";
import { inCall } from "./http.ts";
import { RunStopped, stop } from "./stop.ts";

/** A definite refusal: the other side says that nothing happened. It is recorded like a result, and thrown again. */
export class EffectRejected extends HoldpointError {
  constructor(message: string, options: { readonly cause?: unknown } = {}) {
    super("effect_rejected", message, options);
  }
}

/** Undefined for a call that has not arrived. */
export type Lookup<T> = (token: string, signal: AbortSignal) => Promise<{ readonly result: T } | undefined>;

/** What performs an effect. */
export type Call = (token: string, signal: AbortSignal) => Promise<unknown>;

/** It may have happened. `failure` is undefined where it was looked for in time and not found. */
export interface Unknown {
  readonly failure: unknown;
}

export type Sent = { readonly outcome: EffectOutcome } | Unknown;

/** One call under an intent. What it throws is a failure, unless it is a definite refusal or stops the run itself. */
export async function send(context: GraphContext, { ask }: Intent, call: Call): Promise<Sent> {
  assertHeld(context);
  if (context.now() > ask.deadline) return stop(context, lost());
  return answerOf(context, async () =>
    kept(await inCall(ask.token, context.signal, () => call(ask.token, context.signal))),
  );
}

/** What was found of an earlier call. That nothing was, counts only once none can still be on its way. */
export async function lookUp(
  context: GraphContext,
  { intent, until }: { readonly intent: Intent; readonly until: number },
  lookup: Lookup<unknown> | undefined,
): Promise<Sent> {
  if (!lookup) return { failure: new Error("there is no lookup any more") };
  for (;;) {
    assertHeld(context);
    const isDefinite = context.now() > until;
    let found: { readonly result: unknown } | undefined;
    const answer = await answerOf(context, async () => {
      found = await lookup(intent.ask.token, context.signal);
      return kept(found?.result);
    });
    if (found !== undefined || "failure" in answer || answer.outcome.kind === "rejected") return answer;
    if (isDefinite) return { failure: undefined };
    await context.clock.sleep(until - context.now() + 1, context.signal);
  }
}

async function answerOf(context: GraphContext, ask: () => Promise<Json>): Promise<Sent> {
  try {
    return { outcome: { kind: "result", value: await ask() } };
  } catch (error) {
    if (error instanceof RunStopped) throw error;
    if (error instanceof EffectRejected) return { outcome: { kind: "rejected", message: error.message } };
    assertHeld(context);
    return { failure: error };
  }
}

function kept(value: unknown): Json {
  try {
    return strictJson(value);
  } catch (error) {
    return resultNotKept(`its result cannot be kept: ${errorInfo(error).message}`);
  }
}

/** Whether the run may still act, and nobody else may. */
export function assertHeld(context: GraphContext): void {
  if (context.signal.aborted) stop(context, new HoldpointError("unavailable", "the run was stopped"));
  if (context.now() >= context.deadline()) stop(context, lost());
}

export const lost = (): HoldpointError => new HoldpointError("lost", "another holder may have this thread");
