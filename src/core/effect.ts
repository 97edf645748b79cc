/**
 * The effect journal's rules: intent, then result, under a token that survives crash, resume and fork (I5).
 * An intent without a result is never guessed.
 */
import { sha256 } from "./ids.ts";
import type { RunId, TenantId, ThreadId } from "./ids.ts";
import type { EffectFollowUp, Settlement } from "./effect-settlement.ts";
import { canonicalJson } from "./json.ts";
import type { Json } from "./json.ts";

/** What may be done about an intent whose result is unknown. */
export type EffectPolicy = "idempotent" | "queryable" | "unsafe";

/** One level of where an effect stands in a graph: node, visit, index of the Send; or a call within it. */
export type PathPart = readonly (string | number | null)[];

/**
 * Where a running functional task finds, by its namespace, which call of its caller's attempt it is. In `configurable`;
 * LangGraph passes keys that begin with `__` on to whatever runs below, and keeps them out of metadata.
 */
export const CALL_NUMBERS = "__holdpoint_calls";

/** Where a tool's task finds, by its namespace, which call of that tool in the model's message it is. */
export const TOOL_CALLS = "__holdpoint_tool_calls";

export interface EffectIdentity {
  readonly tenant: TenantId;
  readonly root: RunId;
  readonly path: readonly PathPart[];
  readonly name: string;
  /** Number of the call of this name within the attempt. */
  readonly call: number;
}

/** The token: the same for every re-execution of the same call, another for every other call. */
export function effectToken(id: EffectIdentity): string {
  return sha256(canonicalJson([id.tenant, id.root, id.path, id.name, id.call]));
}

export function argsDigest(args: unknown): string {
  return sha256(canonicalJson(args));
}

/** The thread with which a body is removed. */
export interface KeptWith {
  readonly threadId: ThreadId;
  readonly generation: number;
}

/** What became of an effect: a result, or a refusal that is as definite as a result. */
export type EffectOutcome =
  | { readonly kind: "result"; readonly value: Json; readonly body?: string; readonly keptWith?: KeptWith }
  | { readonly kind: "rejected"; readonly message: string };

/** Beyond its deadline a call may still be on its way for so long: until then nobody takes its absence for an answer. */
export const DEADLINE_MARGIN_MS = 5_000;

/** Why a run was parked at an effect. */
export interface ParkedEffect {
  readonly reason: "ambiguous" | "diverged";
  readonly message: string;
  readonly runId: RunId;
  readonly threadId: ThreadId;
  readonly at: number;
  /** Of the arguments with which it was asked for again, where they were others. */
  readonly argsDigest?: string;
}

export interface EffectEntry {
  readonly tenant: TenantId;
  readonly root: RunId;
  readonly token: string;
  readonly name: string;
  readonly policy: EffectPolicy;
  readonly path: readonly PathPart[];
  readonly argsDigest: string;
  /** Digests of other arguments for which its outcome stands as well, because an operator said so. */
  readonly accepted?: readonly string[];
  /** Nobody alone may say what became of it. */
  readonly irreversible?: true;
  /** Fence under which the intent was last written. */
  readonly fence: number;
  readonly runId: RunId;
  /** Absent where an earlier version wrote the intent. */
  readonly threadId?: ThreadId;
  /** How many intents were written, the present one included; absent: one. */
  readonly intents?: number;
  /** Table time after which a call made under this intent is no longer sent. */
  readonly deadline: number;
  readonly outcome?: EffectOutcome;
  /** An operator said that the call of this intent did not happen: the next holder makes it anew. */
  readonly cleared?: true;
  /** A run waits for somebody to say what became of it. */
  readonly parked?: ParkedEffect;
  /** The last word of an operator. */
  readonly settlement?: Settlement;
  /** The word of one operator on an irreversible effect, which another one has to confirm. */
  readonly proposal?: Settlement;
  /** What must still follow an operator's word (I11). */
  readonly followUp?: EffectFollowUp;
  readonly createdAt: number;
  readonly updatedAt: number;
}

export type EffectStep =
  | { readonly do: "intend" }
  | { readonly do: "return"; readonly outcome: EffectOutcome }
  | { readonly do: "call_again" }
  | { readonly do: "look_up" }
  | { readonly do: "diverged" }
  | { readonly do: "ambiguous" }
  | { readonly do: "lost" };

/** What a re-execution must do with what the journal holds. */
export function nextStep(
  entry: EffectEntry | undefined,
  ask: { readonly argsDigest: string; readonly fence: number },
): EffectStep {
  if (!entry) return { do: "intend" };
  const same = entry.argsDigest === ask.argsDigest || entry.accepted?.includes(ask.argsDigest) === true;
  if (same && entry.outcome) return { do: "return", outcome: entry.outcome };
  if (entry.fence > ask.fence) return { do: "lost" };
  if (entry.cleared && !entry.outcome) return { do: "intend" };
  if (!same) return { do: "diverged" };
  switch (entry.policy) {
    case "idempotent":
      return { do: "call_again" };
    case "queryable":
      return { do: "look_up" };
    case "unsafe":
      return { do: "ambiguous" };
  }
}

/** The number of the intent that stands: what an operator's word is about. */
export const intentOf = ({ intents = 1 }: EffectEntry): number => intents;

/** Table time from which "it did not happen" counts, whoever says it. */
export const settlesFrom = ({ deadline }: Pick<EffectEntry, "deadline">): number => deadline + DEADLINE_MARGIN_MS;
