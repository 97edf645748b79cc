/**
 * One call of a model by its name: which targets, in which order, how often, for how long, and what it came to. Another
 * target is asked only while nothing of an answer has reached anybody, and never after the request itself was refused.
 */
import type { Clock } from "../core/clock.ts";
import { HoldpointError, isHoldpointError } from "../core/errors.ts";
import type { Catalogue, Target } from "./catalogue.ts";
import type { ChatClient, ChatPiece, ChatRequest, TokenCounts } from "./chat.ts";
import { modelFailure, reasonOf, ruleOf, withUsage } from "./failure.ts";
import type { ModelUsage } from "./model.ts";
import type { Policies } from "./policies.ts";
import { sumCost, sumOf, usdOf } from "./prices.ts";
import type { Cost, Used } from "./prices.ts";
import { holds, needsOf } from "./prompt-size.ts";
import { unlessAborted, withinSilence } from "./silence.ts";
import { TurnReader } from "./turn.ts";
import type { Turn } from "./turn.ts";

/** What one call came to, for the record: no content. */
export interface ModelCall {
  readonly tenant: string;
  /** The name that was asked for. */
  readonly name: string;
  /** `served`, the reason of the failure, or `stopped` when nobody waited for it any more. */
  readonly outcome: string;
  /** The target that served it, or was asked last. */
  readonly target?: string;
  /** The model behind it, as its service calls it. */
  readonly model?: string;
  /** Whose that is, as OpenTelemetry's conventions name providers. */
  readonly provider?: string;
  /** Requests that were sent, over all targets. */
  readonly attempts: number;
  /** Targets that were passed over before, and why. */
  readonly fallbacks: readonly { readonly target: string; readonly reason: string }[];
  readonly streamed: boolean;
  readonly ms: number;
  /** Milliseconds until the first piece of a streamed answer. */
  readonly firstMs?: number;
  readonly stopReason?: string;
  /** Of all its attempts: also of those that came to nothing but told what they had used. */
  readonly tokens?: TokenCounts;
  /** Of these tokens. A catalogue has one currency. */
  readonly cost?: Cost;
}

export interface RouterDeps {
  readonly catalogue: Catalogue;
  readonly policies: Policies;
  readonly clock: Clock;
  /** Opens the client of a target, when it is first needed. */
  readonly open: (target: Target) => Promise<ChatClient>;
  readonly record: (call: ModelCall) => void;
}

export interface Asked {
  readonly tenant: string;
  readonly name: string;
  readonly request: ChatRequest;
  /** Aborts when nobody waits for the answer any more. */
  readonly signal: AbortSignal | undefined;
  /** Where a streamed answer goes, piece by piece; the answer is not streamed without it. */
  readonly show?: (piece: ChatPiece) => void;
}

/** A turn that counts, with all that was said in it, and the record of its call. */
export interface Served {
  readonly turn: Turn;
  readonly said: readonly ChatPiece[];
  readonly call: ModelCall;
}

export interface Router {
  /** @throws HoldpointError `not_found` for a name that is not in the catalogue; else as `modelFailure` makes them */
  call(asked: Asked): Promise<Served>;
  has(name: string): boolean;
  /** The models that a name stands for, for people. */
  describe(name: string, tenant: string): string;
}

/** What has become of a call so far. */
interface Progress {
  attempts: number;
  fallbacks: { target: string; reason: string }[];
  target: Target | undefined;
  firstMs: number | undefined;
  used: Used[];
}

export function createRouter(deps: RouterDeps): Router {
  const { catalogue, clock } = deps;
  const clients = new Map<string, Promise<ChatClient>>();
  const clientOf = (target: Target): Promise<ChatClient> => {
    const known = clients.get(target.name);
    if (known) return known;
    const opening = deps.open(target);
    clients.set(target.name, opening);
    opening.catch(() => clients.delete(target.name));
    return opening;
  };
  const targetsOf = (name: string, tenant: string): readonly Target[] => {
    const targets = catalogue.targetsOf(name, tenant);
    if (targets === undefined) throw new HoldpointError("not_found", `the catalogue has no model called ${name}`);
    return targets;
  };
  return {
    has: (name) => catalogue.names.includes(name),
    describe: (name, tenant) => targetsOf(name, tenant).map(shownModel).join(", else "),
    async call(asked) {
      const targets = targetsOf(asked.name, asked.tenant);
      const startedAt = clock.monotonic();
      const progress: Progress = { attempts: 0, fallbacks: [], target: undefined, firstMs: undefined, used: [] };
      const conclude = (outcome: string, turn?: Turn): ModelCall => {
        const call = recordOf({ asked, progress, outcome, ms: clock.monotonic() - startedAt, turn, at: clock.wall() });
        deps.record(call);
        return call;
      };
      try {
        const { turn, said } = await within(deps, asked, (signal) =>
          deps.policies.admit(asked.tenant, signal, () =>
            firstServed({ deps, clientOf, asked, targets, progress, signal, startedAt }),
          ),
        );
        return { turn, said, call: conclude("served", turn) };
      } catch (error) {
        const call = conclude(reasonOf(error) ?? (asked.signal?.aborted ? "stopped" : "error"));
        throw withUsage(error, usageOf(call));
      }
    },
  };
}

/** Gives the call its deadline, and leaves it as soon as that is reached or nobody waits any more. */
async function within<T>(
  { catalogue, clock }: RouterDeps,
  { signal }: Asked,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { deadlineMs } = catalogue.limits;
  const late = new AbortController();
  const over = new AbortController();
  const watch = async (): Promise<void> => {
    await clock.sleep(deadlineMs, over.signal);
    if (!over.signal.aborted) late.abort(modelFailure("deadline", `the model did not answer within ${deadlineMs} ms`));
  };
  void watch(); // it never rejects, and ends with the work
  const both = signal === undefined ? late.signal : AbortSignal.any([signal, late.signal]);
  try {
    return await unlessAborted(both, () => work(both));
  } finally {
    over.abort();
  }
}

interface Trying {
  readonly deps: RouterDeps;
  readonly clientOf: (target: Target) => Promise<ChatClient>;
  readonly asked: Asked;
  readonly targets: readonly Target[];
  readonly progress: Progress;
  readonly signal: AbortSignal;
  readonly startedAt: number;
}

type Answered = Pick<Served, "turn" | "said">;

async function firstServed(trying: Trying): Promise<Answered> {
  const { asked, targets, progress } = trying;
  const needs = needsOf(asked.request);
  let failure: HoldpointError | undefined;
  for (const target of targets) {
    const lacks = holds(target, needs, failure !== undefined);
    if (lacks !== undefined) {
      progress.fallbacks.push({ target: target.name, reason: lacks });
      continue;
    }
    const before = progress.target;
    if (before) progress.fallbacks.push({ target: before.name, reason: reasonOf(failure) ?? "" });
    progress.target = target;
    try {
      return await attemptsAt(target, trying);
    } catch (error) {
      if (progress.firstMs !== undefined || !isHoldpointError(error) || ruleOf(error).fallback !== true) throw error;
      failure = error;
    }
  }
  if (failure !== undefined) throw failure;
  throw modelFailure("unfit", `no target of ${asked.name} takes this request: ${reasons(progress)}`);
}

const reasons = ({ fallbacks }: Progress): string => fallbacks.map((one) => `${one.target}: ${one.reason}`).join("; ");

async function attemptsAt(target: Target, trying: Trying): Promise<Answered> {
  const { deps, asked, progress, signal } = trying;
  const client = await trying.clientOf(target);
  return deps.policies.attempt(placeOf(target), signal, {
    isFinal: () => progress.firstMs !== undefined,
    run: () => {
      progress.attempts += 1;
      let hasSpoken = false;
      const { silenceMs, answerMs } = deps.catalogue.limits;
      const silence = { clock: deps.clock, silenceMs: asked.show ? silenceMs : answerMs, signal };
      return withinSilence(silence, async (own, heard) => {
        const reader = new TurnReader();
        const said: ChatPiece[] = [];
        const take = (piece: ChatPiece): void => {
          hasSpoken = true;
          heard();
          if (!reader.take(piece)) return;
          said.push(piece);
          if (!asked.show || own.aborted) return;
          progress.firstMs ??= deps.clock.monotonic() - trying.startedAt;
          asked.show(piece);
        };
        try {
          if (asked.show) for await (const piece of client.stream(asked.request, own)) take(piece);
          else for (const piece of await client.complete(asked.request, own)) take(piece);
        } finally {
          const { tokens } = reader;
          if (tokens) progress.used.push({ tokens, prices: "prices" in target ? target.prices : [] });
        }
        own.throwIfAborted();
        return { turn: reader.judge(), said };
      }).catch((error: unknown): never => {
        // The call is over; to the breaker, a target that has said nothing until then is one that hangs.
        if (reasonOf(error) !== "deadline" || hasSpoken) throw error;
        throw modelFailure("timeout", "nothing came from the model until the deadline of the call", error);
      });
    },
  });
}

/** What shares a breaker: one model in one region. */
const placeOf = (target: Target): string =>
  target.provider === "bedrock" ? `${target.region ?? ""} ${target.model}` : target.provider;

/** As OpenTelemetry's conventions name them. */
const providerOf = ({ provider }: Target): string => (provider === "bedrock" ? "aws.bedrock" : "holdpoint");

const shownModel = (target: Target): string =>
  target.provider === "bedrock" ? target.model : "offline extractive model";

/** What a call used and cost, as it is told to graphs. */
export function usageOf({ tokens, cost }: ModelCall): ModelUsage | undefined {
  if (tokens === undefined) return undefined;
  const costUsd = usdOf(cost);
  return {
    inputTokens: tokens.input + tokens.cacheRead + tokens.cacheWrite,
    outputTokens: tokens.output,
    ...(costUsd === undefined ? {} : { costUsd }),
  };
}

interface Concluding {
  readonly asked: Asked;
  readonly progress: Progress;
  readonly outcome: string;
  readonly ms: number;
  readonly turn: Turn | undefined;
  readonly at: number;
}

function recordOf({ asked, progress, outcome, ms, turn, at }: Concluding): ModelCall {
  const { target, firstMs, attempts, fallbacks, used } = progress;
  const tokens = sumOf(used);
  const cost = sumCost(used, at);
  return {
    tenant: asked.tenant,
    name: asked.name,
    outcome,
    ...(target && { target: target.name, model: shownModel(target), provider: providerOf(target) }),
    attempts,
    // The attempt that was left may still be on its way to the next target.
    fallbacks: [...fallbacks],
    streamed: asked.show !== undefined,
    ms: Math.round(ms),
    ...(firstMs === undefined ? {} : { firstMs: Math.round(firstMs) }),
    ...(turn && { stopReason: turn.stopReason }),
    ...(tokens && { tokens }),
    ...(cost && { cost }),
  };
}
