/**
 * The effect journal on the table (I5): an intent is put before the call, its outcome after it, both conditional on what
 * was there (I2). A first execution finds nothing, so the intent is put before anything is read.
 */
import { nextStep } from "../../core/effect.ts";
import type { EffectEntry, EffectOutcome } from "../../core/effect.ts";
import { resultNotKept } from "../../core/effect-result.ts";
import type { Begun, EffectAsk, Intent, Journal } from "../../graph/context.ts";
import type { Effects } from "../../storage/effects.ts";
import type { Stored } from "../../storage/records.ts";
import type { Table } from "../../storage/table.ts";

/** A result above this is not kept: its item would not fit the table. */
const MAX_RESULT_BYTES = 256 * 1024;

export interface JournalDeps {
  readonly effects: Effects;
  readonly table: Pick<Table, "now">;
  readonly fence: number;
}

export function createJournal({ effects, table, fence }: JournalDeps): Journal {
  const begin = async (ask: EffectAsk): Promise<Begun> => {
    let current: Stored<EffectEntry> | undefined;
    for (;;) {
      if (current) {
        const step = nextStep(current.value, { argsDigest: ask.argsDigest, fence });
        if (step.do !== "call_again" && step.do !== "intend") return step;
      }
      const entry = intended(ask, current?.value.createdAt);
      const written = await effects.put(entry, current ? { version: current.version } : "absent");
      if (written.won)
        return { do: "call", intent: { ask, version: written.stored.version, createdAt: entry.createdAt } };
      current = written.current;
    }
  };

  const intended = (ask: EffectAsk, createdAt: number | undefined): EffectEntry => {
    const now = table.now();
    return { ...ask, fence, createdAt: createdAt ?? now, updatedAt: now };
  };

  const settle = async (
    { ask, version, createdAt }: Intent,
    outcome: EffectOutcome,
  ): Promise<EffectOutcome | "lost"> => {
    const kept = within(outcome);
    let current: Stored<EffectEntry> | undefined = { value: intended(ask, createdAt), version };
    while (current) {
      if (current.value.outcome) return current.value.outcome;
      if (current.value.fence > fence) return "lost";
      const written = await effects.put(
        { ...current.value, outcome: kept, updatedAt: table.now() },
        { version: current.version },
      );
      if (written.won) return kept;
      current = written.current;
    }
    return "lost";
  };

  return { begin, settle };
}

/** A result too long to keep is still a result: that it happened must not be forgotten. */
function within(outcome: EffectOutcome): EffectOutcome {
  if (outcome.kind === "rejected") return outcome;
  const bytes = Buffer.byteLength(JSON.stringify(outcome.value));
  if (bytes <= MAX_RESULT_BYTES) return outcome;
  return {
    kind: "result",
    value: resultNotKept(`its result of ${bytes} bytes is too long to keep: return a reference to it`),
  };
}
