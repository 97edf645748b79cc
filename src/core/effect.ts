/**
 * The effect journal's rules: intent, then result, under a token that survives crash, resume and fork (I5).
 * An intent without a result is never guessed.
 */
import { sha256 } from "./ids.ts";
import type { RunId, TenantId } from "./ids.ts";
import { canonicalJson } from "./json.ts";
import type { Json } from "./json.ts";

/** What may be done about an intent whose result is unknown. */
export type EffectPolicy = "idempotent" | "unsafe";

/** One level of where an effect stands in a graph: node, visit, index of the Send; or a call within it. */
export type PathPart = readonly (string | number | null)[];

/**
 * Where a running functional task finds, by its namespace, which call of its caller's attempt it is. In `configurable`;
 * LangGraph passes keys that begin with `__` on to whatever runs below, and keeps them out of metadata.
 */
export const CALL_NUMBERS = "__holdpoint_calls";

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

/** What became of an effect: a result, or a refusal that is as definite as a result. */
export type EffectOutcome =
  | { readonly kind: "result"; readonly value: Json }
  | { readonly kind: "rejected"; readonly message: string };

export interface EffectEntry {
  readonly tenant: TenantId;
  readonly root: RunId;
  readonly token: string;
  readonly name: string;
  readonly policy: EffectPolicy;
  readonly path: readonly PathPart[];
  readonly argsDigest: string;
  /** Fence under which the intent was last written. */
  readonly fence: number;
  readonly runId: RunId;
  /** Table time after which a call made under this intent is no longer sent. */
  readonly deadline: number;
  readonly outcome?: EffectOutcome;
  readonly createdAt: number;
  readonly updatedAt: number;
}

export type EffectStep =
  | { readonly do: "intend" }
  | { readonly do: "return"; readonly outcome: EffectOutcome }
  | { readonly do: "call_again" }
  | { readonly do: "diverged" }
  | { readonly do: "ambiguous" }
  | { readonly do: "lost" };

/** What a re-execution must do with what the journal holds. */
export function nextStep(
  entry: EffectEntry | undefined,
  ask: { readonly argsDigest: string; readonly fence: number },
): EffectStep {
  if (!entry) return { do: "intend" };
  const same = entry.argsDigest === ask.argsDigest;
  if (same && entry.outcome) return { do: "return", outcome: entry.outcome };
  if (entry.fence > ask.fence) return { do: "lost" };
  if (!same) return { do: "diverged" };
  return entry.policy === "idempotent" ? { do: "call_again" } : { do: "ambiguous" };
}
