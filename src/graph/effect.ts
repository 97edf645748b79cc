/**
 * Side effects that re-execution does not repeat (I5). The intent is in the journal before the call, the result after
 * it; both under a token that every re-execution of the same call finds again.
 *
 * - A call is sent only while its intent's deadline, which lies within the lease, has not passed (I2).
 * - An error that is not `EffectRejected` leaves open whether the effect happened. An idempotent effect is then called
 *   again with the same token, a queryable one is looked up; of any other nobody may guess, and the run is parked.
 */
import { argsDigest, effectToken } from "../core/effect.ts";
import type { EffectOutcome, EffectPolicy } from "../core/effect.ts";
import { HoldpointError, errorInfo, isHoldpointError } from "../core/errors.ts";
import { runId } from "../core/ids.ts";
import { isNewerFormat } from "../core/newer-format.ts";
import { notKept } from "../core/effect-result.ts";
import { strictJson } from "../core/plain-json.ts";
import { contextOf, nextCall } from "./context.ts";
import type { EffectAsk, GraphContext, Intent, NodeConfig } from "./context.ts";
import { EffectRejected, assertHeld, lookUp, lost, send } from "./effect-call.ts";
import type { Call, Lookup, Unknown } from "./effect-call.ts";
import { assertKnown } from "./known.ts";
import type { Fields } from "./known.ts";
import { RunStopped, stop } from "./stop.ts";
import { where } from "./where.ts";

/** A call is sent within this time of its intent, or not at all. */
const SEND_WITHIN_MS = 10_000;
/** So many calls are made before an operator is asked; of an idempotent effect in at most this time. */
const TRIES = 3;
const TRY_WITHIN_MS = 2_000;
const BACKOFF_MS = 100;
const SETTLE_TRIES = 5;

export interface EffectSpec<T = never> {
  /** What is done: with the place in the graph and the number of the call, it makes the token. */
  readonly name: string;
  /**
   * What may be done when it is not known whether it happened. `idempotent`: the other side makes the token decisive, so
   * that the same call may be sent again. `queryable`: it can be asked, by `lookup`. `unsafe`: nothing.
   */
  readonly policy: EffectPolicy;
  /** What is done it with. A re-execution that arrives with other arguments parks the run. JSON. */
  readonly args?: unknown;
  /** Of a `queryable` effect: what the call under this token returned, if it happened. */
  readonly lookup?: Lookup<T>;
  /** It cannot be made undone: what became of it is for two operators to say, where nobody knows. */
  readonly irreversible?: boolean;
}

/**
 * Performs a side effect once, however often its node is executed. `call` gets the token, to pass on as an
 * idempotency key, and a signal that aborts when the run is stopped. Its result is kept as JSON; `undefined` as `null`.
 * @throws EffectRejected whenever the effect was refused, also on re-execution
 * @throws HoldpointError `invalid` for arguments that are not JSON, and for a result that is not or is above 32 MB: the
 *   effect has happened then and is not repeated
 */
export async function effect<T>(
  config: NodeConfig,
  spec: EffectSpec<NoInfer<T>>,
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
  const ask: Ask = {
    tenant,
    runId: run.runId,
    threadId: run.threadId,
    root,
    token,
    name: spec.name,
    policy: spec.policy,
    ...(spec.irreversible === true ? { irreversible: true } : {}),
    path,
    argsDigest: argsDigest(spec.args === undefined ? null : strictJson(spec.args)),
  };
  assertAwaited(config);
  const outcome = await shared(context, ask, () => attempt(context, ask, { call, lookup: spec.lookup }));
  if (outcome.kind === "rejected") throw new EffectRejected(outcome.message);
  const reason = notKept(outcome.value);
  if (reason !== undefined) throw new HoldpointError("invalid", `effect ${spec.name} happened, but ${reason}`);
  return outcome.value as T; // what the call returned the first time, as JSON
}

const FIELDS: Fields<EffectSpec> = { name: true, policy: true, args: true, lookup: true, irreversible: true };
const POLICIES: ReadonlySet<unknown> = new Set<EffectPolicy>(["idempotent", "queryable", "unsafe"]);

/** Graphs are loaded without being type-checked. */
function assertSpec(spec: EffectSpec<unknown>): void {
  assertKnown("effect()", spec, FIELDS);
  const { name, policy, lookup }: { readonly [Field in keyof EffectSpec]?: unknown } = spec;
  if (typeof name !== "string" || name === "")
    throw new HoldpointError("invalid", "effect(): `name` has to be a text that is not empty");
  if (!POLICIES.has(policy))
    throw new HoldpointError("invalid", `effect ${name}: \`policy\` is one of ${[...POLICIES].join(", ")}`);
  if (policy === "queryable" && typeof lookup !== "function")
    throw new HoldpointError("invalid", `effect ${name}: the policy queryable needs a \`lookup\``);
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
    if (underWay.argsDigest === ask.argsDigest) return underWay.outcome;
    await underWay.outcome.catch(() => undefined);
    return perform();
  }
  const outcome = perform();
  context.calls.set(ask.token, { argsDigest: ask.argsDigest, outcome });
  try {
    return await outcome;
  } finally {
    context.calls.delete(ask.token);
  }
}

interface FarSide {
  readonly call: Call;
  readonly lookup: Lookup<unknown> | undefined;
}

async function attempt(context: GraphContext, ask: Ask, { call, lookup }: FarSide): Promise<EffectOutcome> {
  const startedAt = context.clock.monotonic();
  let tried = 0;
  let unhappened: number | undefined;
  for (;;) {
    const begun = await begin(context, ask, unhappened);
    switch (begun.do) {
      case "return":
        return begun.outcome;
      case "lost":
        return stop(context, lost());
      case "diverged":
        await park(context, ask, diverged(ask.name));
        break;
      case "ambiguous":
        await park(context, ask, ambiguous(ask.name, "its result was never recorded"));
        break;
      case "look_up": {
        const found = await lookUp(context, begun, lookup);
        if ("outcome" in found) return settle(context, begun.intent, found.outcome);
        const mayCall = found.failure === undefined && tried < TRIES;
        if (mayCall) unhappened = begun.intent.version;
        else await park(context, ask, ambiguous(ask.name, reasonOf(found), found.failure));
        break;
      }
      case "call": {
        tried += 1;
        const sent = await send(context, begun.intent, call);
        if ("outcome" in sent) return settle(context, begun.intent, sent.outcome);
        const backoff = BACKOFF_MS * 2 ** tried;
        const isLate = context.clock.monotonic() - startedAt + backoff >= TRY_WITHIN_MS;
        const isQueryable = ask.policy === "queryable";
        if (ask.policy === "unsafe" || (!isQueryable && (tried >= TRIES || isLate)))
          await park(context, ask, ambiguous(ask.name, reasonOf(sent), sent.failure));
        else if (!isQueryable) await context.clock.sleep(backoff, context.signal);
      }
    }
  }
}

const reasonOf = ({ failure }: Unknown): string =>
  failure === undefined ? "it was called several times, and is not found" : errorInfo(failure).message;

async function begin(context: GraphContext, ask: Ask, unhappened: number | undefined) {
  assertHeld(context);
  return stoppable(context, () => context.journal.begin(withDeadline(context, ask), unhappened));
}

/** As late as a call may be sent under an intent that is written now: never when another may hold the thread. */
const withDeadline = (context: GraphContext, ask: Ask): EffectAsk => ({
  ...ask,
  deadline: Math.min(context.now() + SEND_WITHIN_MS, context.deadline()),
});

/** Stops the run, once operators can find why; comes back where that is known by now. */
async function park(context: GraphContext, ask: Ask, error: HoldpointError): Promise<void> {
  const reason = error.code === "effect_diverged" ? "diverged" : "ambiguous";
  const why = { reason, message: error.message } as const;
  const parked = await stoppable(context, () => context.journal.park(withDeadline(context, ask), why));
  switch (parked.do) {
    case "again":
      return;
    case "lost":
      return stop(context, lost());
    case "parked":
      return stop(context, error);
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
export async function stoppable<T>(context: GraphContext, act: () => Promise<T>): Promise<T> {
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

const diverged = (name: string): HoldpointError =>
  new HoldpointError(
    "effect_diverged",
    `effect ${name} was asked for again with other arguments than before; it was not performed`,
  );

const ambiguous = (name: string, why: string, cause?: unknown): HoldpointError =>
  new HoldpointError("effect_ambiguous", `whether effect ${name} happened is unknown: ${why}`, { cause });
