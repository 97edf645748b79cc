/**
 * Callbacks: another system answers a hold with the token that it was given. The answer is won by the one conditional
 * write that decisions and time-outs use too (I4), and the hold stays due until it is carried on (I11). It is recognised
 * by what it says, so that a repeat is answered as the first one was.
 */
import { canonicalJson } from "../../core/json.ts";
import type { Json } from "../../core/json.ts";
import { HoldpointError } from "../../core/errors.ts";
import { continuationId, decided, keyedDecisionId } from "../../core/hold.ts";
import type { Hold } from "../../core/hold.ts";
import { sha256 } from "../../core/ids.ts";
import type { TenantId } from "../../core/ids.ts";
import { schemaProblems } from "../../core/json-schema.ts";
import type { CallbackTarget } from "../../core/callback-token.ts";
import type { Arrival } from "../../core/callback-shape.ts";
import type { Principal } from "../../core/principal.ts";
import { outcomeValue } from "../../core/wait-value.ts";
import type { WaitOutcome } from "../../core/wait-value.ts";
import type { Stored } from "../../storage/records.ts";
import type { Deps } from "../deps.ts";
import { inItsTime } from "./expiry.ts";
import { followUpSoon } from "./follow-up.ts";
import { opennessOf } from "./open.ts";
import { assertGenuine } from "./sns-messages.ts";

export interface CallbackUseCases {
  /** The tenant whose callback a token releases. @throws HoldpointError `not_found` for a token that was never given out */
  tenantOf(token: string): Promise<TenantId>;
  /**
   * @throws HoldpointError `not_found`; `invalid` for what does not fit its schema; `conflict` for another answer than the
   *   one that was given; `gone` for one that came too late, or whose thread was deleted; `unavailable` while the run that
   *   asks has not stopped yet
   */
  arrive(token: string, arrival: Arrival): Promise<CallbackReceipt>;
  /** See `sns-messages.ts`. */
  assertGenuine(body: Json | undefined): Promise<void>;
  /** Timers and callbacks that wait, in the order in which they were raised. */
  list(principal: Principal, page: WaitPage): Promise<{ readonly items: readonly Hold[]; readonly next?: string }>;
}

export interface WaitPage {
  readonly limit: number;
  readonly after?: string;
}

export interface CallbackReceipt {
  /** `accepted`: it is the answer. `kept`: an operator must confirm the topic. `ignored`: it said nothing. */
  readonly state: "accepted" | "kept" | "ignored";
  /** Table time. */
  readonly at: number;
}

/** How long an answer waits for the run that asked to have stopped. */
const STOPPED_SOON_MS = 1000;
const POLL_MS = 50;
const BY_CALLBACK = "holdpoint:callback";

export function createCallbacks(deps: Deps): CallbackUseCases {
  const targetOf = async (token: string): Promise<CallbackTarget> => {
    const target = await deps.callbacks.open(token);
    if (target) return target;
    throw new HoldpointError("not_found", "there is no such callback");
  };
  return {
    tenantOf: async (token) => (await targetOf(token)).tenant,
    assertGenuine: (body) => assertGenuine(deps, body),
    async arrive(token, arrival) {
      const target = await targetOf(token);
      switch (arrival.kind) {
        case "unsubscribed":
          return { state: "ignored", at: deps.table.now() };
        case "subscription":
          return subscribed(deps, target, arrival);
        case "arrived":
        case "failed":
          return answered(deps, target, arrival);
      }
    },
    async list({ tenant }, { limit, after }) {
      const at = { kind: "waits", open: true, limit, ...(after === undefined ? {} : { after }) } as const;
      const rows = await deps.holds.rows(tenant, at);
      const last = rows.length < limit ? undefined : rows.at(-1);
      const items = await deps.holds.ofRows(rows, true);
      return { items, ...(last === undefined ? {} : { next: last.sort }) };
    },
  };
}

async function answered(
  deps: Deps,
  target: CallbackTarget,
  outcome: Extract<WaitOutcome, { readonly kind: "arrived" | "failed" }>,
): Promise<CallbackReceipt> {
  const bodyDigest = sha256(canonicalJson(outcome));
  const until = deps.clock.monotonic() + STOPPED_SOON_MS;
  for (;;) {
    const stored = await raised(deps, target, until);
    const { state, kept } = stored.value;
    const before = state === "pending" && !kept ? undefined : overBefore(stored.value, bodyDigest);
    if (before) return before;
    if ((await inItsTime(deps, stored)) !== stored) continue;
    if (outcome.kind === "arrived") assertFits(stored.value, outcome.result);
    const open = await opennessOf(deps, stored.value);
    if (open.kind === "over") throw new HoldpointError("gone", `nobody waits for this callback: ${open.why}`);
    if (open.kind === "early") {
      await later(deps, until);
      continue;
    }
    const id = keyedDecisionId(target.holdId, BY_CALLBACK, bodyDigest);
    const at = deps.table.now();
    const decision = {
      id,
      by: BY_CALLBACK,
      at,
      bodyDigest,
      answer: { type: "value", value: outcomeValue(outcome) },
      continuation: continuationId(target.holdId, id),
    } as const;
    const written = await deps.holds.put(decided(stored.value, decision), { version: stored.version });
    if (!written.won) continue;
    await followUpSoon(deps, written.stored.value);
    return { state: "accepted", at };
  }
}

/** The hold, once it is there: an answer may come before the run that asked for it has stopped. */
async function raised(deps: Deps, target: CallbackTarget, until: number): Promise<Stored<Hold>> {
  for (;;) {
    const header = await deps.threads.get(target);
    if (!header || header.value.deleted || header.value.generation !== target.generation)
      throw new HoldpointError("gone", "nobody waits for this callback: its thread was deleted");
    // Read after the header, which says that a run has stopped only once its holds are there.
    const stored = await deps.holds.get(target, target.holdId);
    if (stored) return stored;
    const { active, queue, lastEnd } = header.value;
    // A run that failed may be tried again, and then asks for the same callback.
    if (!active && queue.length === 0 && lastEnd !== "error")
      throw new HoldpointError("gone", "nobody waits for this callback: the run that asked for it ended before it did");
    await later(deps, until);
  }
}

async function later({ clock }: Deps, until: number): Promise<void> {
  if (clock.monotonic() >= until)
    throw new HoldpointError("unavailable", "the run that asks for this callback has not stopped yet", {
      retryAfterMs: 1000,
    });
  await clock.sleep(POLL_MS);
}

/** The answer to one that comes after the callback is over; only a repeat of what was accepted is accepted. */
function overBefore({ state, kept, decision = kept, reason }: Hold, bodyDigest: string): CallbackReceipt {
  const at = decision === undefined ? undefined : new Date(decision.at).toISOString();
  if (decision?.bodyDigest === bodyDigest) return { state: "accepted", at: decision.at };
  if (decision?.cause === "time") throw givenUp(decision.at);
  if (decision)
    throw new HoldpointError("conflict", `the callback was answered otherwise at ${at}`, {
      detail: { answered_at: at },
    });
  throw new HoldpointError("gone", `nobody waits for this callback: it is ${state}: ${reason ?? "no reason recorded"}`);
}

function givenUp(ms: number): HoldpointError {
  const at = new Date(ms).toISOString();
  return new HoldpointError("gone", `the callback was given up at ${at}`, { detail: { timed_out_at: at } });
}

function assertFits({ resultSchema }: Hold, result: Json): void {
  if (resultSchema === undefined) return;
  const errors = schemaProblems(resultSchema, result);
  if (errors.length === 0) return;
  const told = errors.map(({ pointer, message }) => `${pointer === "" ? "" : `${pointer}: `}${message}`).join("; ");
  throw new HoldpointError("invalid", `what arrived does not fit its schema: ${told}`, { detail: { errors } });
}

/** Stored as a fact, and told to operators: whether the topic may send here is theirs to say. */
async function subscribed(
  deps: Deps,
  target: CallbackTarget,
  { topicArn, subscribeUrl }: Extract<Arrival, { readonly kind: "subscription" }>,
): Promise<CallbackReceipt> {
  const at = deps.table.now();
  await raised(deps, target, deps.clock.monotonic() + STOPPED_SOON_MS);
  const stored = await deps.holds.update(target, target.holdId, (hold) =>
    hold.state === "pending" ? { ...hold, subscription: { topicArn, subscribeUrl, at } } : undefined,
  );
  if (stored?.value.state !== "pending") throw new HoldpointError("gone", "nobody waits for this callback any more");
  const what = { thread: target.threadId, hold: target.holdId, topic: topicArn };
  deps.log.warn(what, "a topic asks to be confirmed for a callback");
  return { state: "kept", at };
}
