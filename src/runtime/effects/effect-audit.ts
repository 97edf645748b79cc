import type { Settlement } from "../../core/effect-settlement.ts";
import type { RunId, TenantId } from "../../core/ids.ts";

/** What an operator said of an effect, for the record. */
export interface EffectAuditRecord {
  readonly tenant: TenantId;
  /** The same however often it is handed over: whoever keeps records knows a repeat by it. */
  readonly id: string;
  /** `proposed`: another person has to confirm it. */
  readonly action: "effect.proposed" | "effect.settled";
  readonly effect: { readonly root: RunId; readonly token: string; readonly name: string };
  readonly word: Settlement;
}

/**
 * Keeps a record. Called after the word stands in the journal and before anything follows it, again and again until it has
 * succeeded once: it must know a repeat by `id`. @throws HoldpointError `unavailable`
 */
export type EffectAudit = (record: EffectAuditRecord) => Promise<void>;
