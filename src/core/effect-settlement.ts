/**
 * What operators say of an effect whose outcome nobody knows. A word is about one intent, is won by one conditional write,
 * and of an irreversible effect needs a second person, whose word takes the place of the first only by naming it. What
 * really came of a call always goes before what was said.
 */
import { intentOf, settlesFrom } from "./effect.ts";
import type { EffectEntry, EffectOutcome, ParkedEffect } from "./effect.ts";
import { HoldpointError } from "./errors.ts";
import { namedUuid, sha256 } from "./ids.ts";
import type { RunId } from "./ids.ts";
import { canonicalJson } from "./json.ts";
import type { Json } from "./json.ts";
import type { Origin } from "./principal.ts";

/** What an operator says about one intent. */
export type Verdict = { readonly verdict: "happened"; readonly result?: Json } | { readonly verdict: "not_happened" };

/** A verdict on the record. */
export interface Settlement {
  readonly id: string;
  /** Number of the intent that it is about. */
  readonly intent: number;
  readonly verdict: Verdict["verdict"];
  /** Digest of the result that was given with it. */
  readonly resultDigest?: string;
  readonly by: string;
  readonly origin?: Origin;
  readonly at: number;
  readonly reason: string;
  /** Who said it before, where it takes two. */
  readonly proposedBy?: string;
  /** Id of the proposal whose place it took. */
  readonly replaces?: string;
  /** The run that goes on because of it; absent until then, and where none can. */
  readonly continuation?: RunId;
  /** Why no run goes on. */
  readonly notContinued?: string;
}

/** What must follow a word: it is audited, and where it settles the effect, the parked run goes on. */
export interface EffectFollowUp {
  readonly pool: string;
  readonly at: number;
  /** Whose run goes on; absent while a second person is asked, and where none was parked. */
  readonly parked?: ParkedEffect;
}

export interface SettlementAsk {
  readonly intent: number;
  readonly said: Verdict;
  /** The result as it is to be kept; undefined for none. */
  readonly outcome: EffectOutcome | undefined;
  readonly by: string;
  readonly origin?: Origin | undefined;
  readonly reason: string;
  /** Id of the proposal whose place it is to take. */
  readonly replaces?: string | undefined;
  readonly now: number;
  readonly pool: string;
}

export type Settled =
  /** `entry` is to be written. */
  | { readonly kind: "write"; readonly entry: EffectEntry }
  /** This very word stands already. */
  | { readonly kind: "stands" };

/**
 * The entry with an operator's word on it.
 * @throws HoldpointError `precondition_failed` for another intent than the one that stands, `conflict` where it is settled
 *   otherwise, somebody has proposed otherwise, it has a result, or its call may still be on its way (`retryAfterMs` says
 *   for how long)
 */
export function settled(entry: EffectEntry, ask: SettlementAsk): Settled {
  const word = wordOf(entry, ask);
  const { settlement, proposal } = entry;
  if (settlement?.intent === ask.intent) {
    const isSame = sameWord(settlement, word) && [settlement.by, settlement.proposedBy].includes(ask.by);
    if (isSame) return { kind: "stands" };
    throw alreadySettled(settlement);
  }
  if (intentOf(entry) !== ask.intent) {
    throw new HoldpointError(
      "precondition_failed",
      "the effect was asked for again since it was shown; read it again",
      {
        detail: { intent: intentOf(entry) },
      },
    );
  }
  assertFits(entry, ask);
  const followUp = { pool: ask.pool, at: ask.now };
  const confirmed = proposal && sameWord(proposal, word) ? proposal : undefined;
  if (!confirmed) assertReplaces(proposal, ask);
  if (entry.irreversible) {
    if (!confirmed) {
      const next = proposal ? { ...word, replaces: proposal.id } : word;
      return { kind: "write", entry: { ...entry, proposal: next, followUp, updatedAt: ask.now } };
    }
    if (confirmed.by === ask.by) return { kind: "stands" };
  }
  const { proposal: _proposal, parked, cleared: _cleared, ...rest } = entry;
  const final = confirmed ? { ...word, proposedBy: confirmed.by } : word;
  return {
    kind: "write",
    entry: {
      ...rest,
      ...outcomeOf(entry, ask),
      ...(parked?.argsDigest === undefined || ask.said.verdict === "not_happened"
        ? {}
        : { accepted: [...(entry.accepted ?? []), parked.argsDigest] }),
      settlement: final,
      followUp: { ...followUp, ...(parked === undefined ? {} : { parked }) },
      updatedAt: ask.now,
    },
  };
}

function wordOf(entry: EffectEntry, { intent, said, by, origin, reason, now }: SettlementAsk): Settlement {
  const resultDigest =
    said.verdict === "happened" && said.result !== undefined ? sha256(canonicalJson(said.result)) : undefined;
  // With what was said last, so that whoever comes back to a word has said another one: each has its entry in the audit log.
  const last = entry.proposal?.id ?? null;
  const name = canonicalJson([entry.root, entry.token, intent, by, said.verdict, resultDigest ?? null, last]);
  return {
    id: namedUuid(name, SETTLEMENTS),
    intent,
    verdict: said.verdict,
    ...(resultDigest === undefined ? {} : { resultDigest }),
    by,
    ...(origin === undefined ? {} : { origin }),
    at: now,
    reason,
  };
}

/** Namespace of the ids of settlements. */
const SETTLEMENTS = "0b6f0c52-64c8-5c6f-9f4c-0d4c8bb2f6a1";

const sameWord = (a: Settlement, b: Settlement): boolean =>
  a.intent === b.intent && a.verdict === b.verdict && a.resultDigest === b.resultDigest;

function alreadySettled({ by, at, verdict }: Settlement): HoldpointError {
  const when = new Date(at).toISOString();
  return new HoldpointError("conflict", `already settled: ${verdict} by ${by} at ${when}`, {
    detail: { settled_by: by, settled_at: when, verdict },
  });
}

/** Another word takes the place of a proposal only where it names it: who did not know of it is told. */
function assertReplaces(proposal: Settlement | undefined, { said, replaces }: SettlementAsk): void {
  if (replaces === proposal?.id) return;
  if (!proposal) throw new HoldpointError("conflict", "replaces: there is no proposal whose place it could take");
  const { id, by, at, verdict, reason } = proposal;
  const when = new Date(at).toISOString();
  const what = verdict === said.verdict ? `${verdict} with another result` : verdict;
  const how = "confirm that in the same words, or name its id in replaces for yours to take its place";
  throw new HoldpointError("conflict", `${by} has proposed ${what} at ${when}: ${how}`, {
    detail: { proposal: { id, by, at: when, outcome: verdict, reason } },
  });
}

function assertFits(entry: EffectEntry, { said, outcome, now }: SettlementAsk): void {
  if (entry.outcome) {
    if (said.verdict === "not_happened" || outcome !== undefined)
      throw new HoldpointError("conflict", "its outcome is known: settle it as happened, without a result");
    if (!entry.parked) throw new HoldpointError("conflict", "its outcome is known, and no run waits for it");
    return;
  }
  if (said.verdict === "happened") {
    if (outcome === undefined)
      throw new HoldpointError("invalid", "result is missing: the node goes on with what its call would have returned");
    return;
  }
  const from = settlesFrom(entry);
  if (now > from) return;
  throw new HoldpointError("conflict", "its call may still be on its way: look again, and then say that it did not", {
    detail: { settles_from: new Date(from).toISOString() },
    retryAfterMs: from - now + 1,
  });
}

function outcomeOf(entry: EffectEntry, { said, outcome }: SettlementAsk) {
  if (entry.outcome) return {};
  return said.verdict === "happened" && outcome !== undefined ? { outcome } : { cleared: true as const };
}
