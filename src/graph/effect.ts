/**
 * Side effects that re-execution does not repeat (I5). The intent is in the journal before the call, the result after
 * it; both under a token that every re-execution of the same call finds again.
 *
 * - A call is sent only while its intent's deadline, which lies within the lease, has not passed (I2).
 * - An error that is not `EffectRejected` leaves open whether the effect happened. An idempotent effect is then called
 *   again with the same token; of any other nobody may guess, and the run is parked.
 */
import { argsDigest, effectToken } from "../core/effect.ts";
import type { EffectOutcome, EffectPolicy } from "../core/effect.ts";
import { HoldpointError, errorInfo, isHoldpointError } from "../core/errors.ts";
import { runId } from "../core/ids.ts";
import { isNewerFormat } from "../core/newer-format.ts";
import { notKept, resultNotKept } from "../core/effect-result.ts";
import type { Json } from "../core/json.ts";
import { strictJson } from "../core/plain-json.ts";
import { contextOf, nextCall } from "./context.ts";
import type { EffectAsk, GraphContext, Intent, NodeConfig } from "./context.ts";
import { RunStopped, stop } from "./stop.ts";
import { where } from "./where.ts";

/** A call is sent within this time of its intent, or not at all. */
const SEND_WITHIN_MS = 10_000;
/** An idempotent effect is tried so often, in at most this time, before an operator is asked. */
const TRIES = 3;
const TRY_WITHIN_MS = 2_000;
const BACKOFF_MS = 100;
const SETTLE_TRIES = 5;

/** A definite refusal: the other side says that nothing happened. It is recorded like a result, and thrown again. */
export class EffectRejected extends HoldpointError {
  constructor(message: string, options: { readonly cause?: unknown } = {}) {
    super("effect_rejected", message, options);
  }
}

export interface EffectSpec {
  /** What is done: with the place in the graph and the number of the call, it makes the token. */
  readonly name: string;
  /** `idempotent`: the other side makes the token decisive, so that the same call may be sent again. */
  readonly policy: EffectPolicy;
  /** What is done it with. A re-execution that arrives with other arguments parks the run. JSON. */
  readonly args?: unknown;
}

/**
 * Performs a side effect once, however often its node is executed. `call` gets the token, to pass on as an
 * idempotency key, and a signal that aborts when the run is stopped. Its result is kept as JSON; `undefined` as `null`.
 * @throws EffectRejected whenever the effect was refused, also on re-execution
 * @throws HoldpointError `invalid` for arguments that are not JSON, and for a result that is not or is above 256 KB: the
 *   effect has happened then and is not repeated
 */
export async function effect<T>(
  config: NodeConfig,
  spec: EffectSpec,
  call: (token: string, signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const context = contextOf(config, "effect()");
  assertAwaited(config);
  assertSpec(spec);
  const number = nextCall(config, `effect:${spec.name}`);
  const path = await named(context, config);
  const { tenant, run, whereabouts } = context;
  const root = runId(whereabouts.root() ?? run.root);
  const token = effectToken({ tenant, root, path, name: spec.name, call: number });
  const digest = argsDigest(spec.args === undefined ? null : strictJson(spec.args));
  const ask = { tenant, runId: run.runId, root, token, name: spec.name, policy: spec.policy, path, argsDigest: digest };
  const outcome = await shared(context, ask, () => attempt(context, ask, call));
  if (outcome.kind === "rejected") throw new EffectRejected(outcome.message);
  const reason = notKept(outcome.value);
  if (reason !== undefined) throw new HoldpointError("invalid", `effect ${spec.name} happened, but ${reason}`);
  return outcome.value as T; // what the call returned the first time, as JSON
}

const POLICIES: ReadonlySet<unknown> = new Set<EffectPolicy>(["idempotent", "unsafe"]);

/** Graphs are loaded without being type-checked. */
function assertSpec({ name, policy }: { readonly name: unknown; readonly policy: unknown }): void {
  if (typeof name !== "string" || name === "")
    throw new HoldpointError("invalid", "effect(): `name` has to be a text that is not empty");
  if (!POLICIES.has(policy))
    throw new HoldpointError("invalid", `effect ${name}: \`policy\` is one of ${[...POLICIES].join(", ")}`);
}

/** Naming reads the saver's records, and so fails as the table does. */
function named(context: GraphContext, config: NodeConfig): ReturnType<typeof where> {
  return stoppable(context, () => where(config));
}

type Ask = Omit<EffectAsk, "deadline">;

/** Concurrent calls with one token wait for one result. */
async function shared(context: GraphContext, ask: Ask, perform: () => Promise<EffectOutcome>): Promise<EffectOutcome> {
  const underWay = context.calls.get(ask.token);
  if (underWay !== undefined) {
    return underWay.argsDigest === ask.argsDigest ? underWay.outcome : stop(context, diverged(ask.name));
  }
  const outcome = perform();
  context.calls.set(ask.token, { argsDigest: ask.argsDigest, outcome });
  try {
    return await outcome;
  } finally {
    context.calls.delete(ask.token);
  }
}

type Call = (token: string, signal: AbortSignal) => Promise<unknown>;

async function attempt(context: GraphContext, ask: Ask, call: Call): Promise<EffectOutcome> {
  const startedAt = context.clock.monotonic();
  for (let tried = 1; ; tried++) {
    const begun = await begin(context, ask);
    switch (begun.do) {
      case "return":
        return begun.outcome;
      case "diverged":
        return stop(context, diverged(ask.name));
      case "ambiguous":
        return stop(context, ambiguous(ask.name, "its result was never recorded"));
      case "lost":
        return stop(context, lost());
      case "call":
        break;
    }
    const sent = await send(context, begun.intent, call);
    if ("outcome" in sent) return settle(context, begun.intent, sent.outcome);
    const elapsed = context.clock.monotonic() - startedAt;
    const backoff = BACKOFF_MS * 2 ** tried;
    if (ask.policy !== "idempotent" || tried >= TRIES || elapsed + backoff >= TRY_WITHIN_MS) {
      return stop(context, ambiguous(ask.name, errorInfo(sent.failure).message, sent.failure));
    }
    await context.clock.sleep(backoff, context.signal);
  }
}

async function begin(context: GraphContext, ask: Ask) {
  assertHeld(context);
  const deadline = Math.min(context.now() + SEND_WITHIN_MS, context.deadline());
  return stoppable(context, () => context.journal.begin({ ...ask, deadline }));
}

type Sent = { readonly outcome: EffectOutcome } | { readonly failure: unknown };

/** One call under an intent. What it throws is a failure, unless it is a definite refusal or stops the run itself. */
async function send(context: GraphContext, { ask }: Intent, call: Call): Promise<Sent> {
  assertHeld(context);
  if (context.now() > ask.deadline) return stop(context, lost());
  let value: unknown;
  try {
    value = await call(ask.token, context.signal);
  } catch (error) {
    if (error instanceof RunStopped) throw error;
    if (error instanceof EffectRejected) return { outcome: { kind: "rejected", message: error.message } };
    assertHeld(context);
    return { failure: error };
  }
  return { outcome: { kind: "result", value: kept(value) } };
}

function kept(value: unknown): Json {
  try {
    return strictJson(value);
  } catch (error) {
    return resultNotKept(`its result cannot be kept: ${errorInfo(error).message}`);
  }
}

/** The effect has happened: a table that is away for a moment must not make that unknown. */
async function settle(context: GraphContext, intent: Intent, outcome: EffectOutcome): Promise<EffectOutcome> {
  for (let tried = 1; ; tried++) {
    try {
      const settled = await context.journal.settle(intent, outcome);
      return settled === "lost" ? stop(context, lost()) : settled;
    } catch (error) {
      if (isNewerFormat(error)) return stop(context, error);
      if (!isHoldpointError(error, "unavailable")) throw error;
      if (tried >= SETTLE_TRIES || context.now() >= context.deadline()) return stop(context, error);
    }
    await context.clock.sleep(BACKOFF_MS * 2 ** tried, context.signal);
  }
}

/** The table being away, another holder, or what a later version wrote stops the run; it is no error of the node. */
async function stoppable<T>(context: GraphContext, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (isHoldpointError(error, "unavailable") || isHoldpointError(error, "lost") || isNewerFormat(error))
      return stop(context, error);
    throw error;
  }
}

/** What an attempt still does after it has timed out, or after its superstep has failed, is nobody's wish. */
function assertAwaited({ signal }: NodeConfig): void {
  if (signal?.aborted)
    throw new RunStopped(new HoldpointError("unavailable", "nobody waits for this attempt any more"));
}

function assertHeld(context: GraphContext): void {
  if (context.signal.aborted) stop(context, new HoldpointError("unavailable", "the run was stopped"));
  if (context.now() >= context.deadline()) stop(context, lost());
}

const lost = (): HoldpointError => new HoldpointError("lost", "another holder may have this thread");

const diverged = (name: string): HoldpointError =>
  new HoldpointError(
    "effect_diverged",
    `effect ${name} was asked for again with other arguments than before; it was not performed`,
  );

const ambiguous = (name: string, why: string, cause?: unknown): HoldpointError =>
  new HoldpointError("effect_ambiguous", `whether effect ${name} happened is unknown: ${why}`, { cause });
