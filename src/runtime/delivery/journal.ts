/**
 * The effect journal on the table (I5): an intent is put before the call, its outcome after it, both conditional on what
 * was there (I2). A first execution finds nothing, so the intent is put before anything is read.
 */
import { intentOf, nextStep, settlesFrom } from "../../core/effect.ts";
import type { EffectEntry, EffectOutcome } from "../../core/effect.ts";
import type { Begun, EffectAsk, Intent, Journal, ParkAsk, Parked } from "../../graph/context.ts";
import type { Effects } from "../../storage/effects.ts";
import type { Stored } from "../../storage/records.ts";
import type { Table } from "../../storage/table.ts";

export interface JournalDeps {
  readonly effects: Effects;
  readonly table: Pick<Table, "now">;
  readonly fence: number;
  /** Of the thread as it is now: long results are removed with it. */
  readonly generation: number;
  /** The outcome as the journal keeps it. */
  readonly keep: Effects["kept"];
  /** Puts an outcome on the record. Awaited before it stands: what the journal returns once is never called again. */
  readonly record?: (entry: EffectEntry, outcome: EffectOutcome) => Promise<void>;
}

export function createJournal(deps: JournalDeps): Journal {
  return {
    begin: (ask, unhappened) => begin(deps, ask, unhappened),
    settle: (intent, outcome) => settle(deps, intent, outcome),
    park: (ask, why) => park(deps, ask, why),
  };
}

async function begin(deps: JournalDeps, ask: EffectAsk, unhappened: number | undefined): Promise<Begun> {
  const { effects, fence } = deps;
  let current: Stored<EffectEntry> | undefined;
  for (;;) {
    if (current) {
      const step = nextStep(current.value, { argsDigest: ask.argsDigest, fence });
      switch (step.do) {
        case "return":
          await unpark(deps, current);
          return { do: "return", outcome: await effects.whole(ask.tenant, step.outcome) };
        case "look_up":
          if (current.version === unhappened) break;
          return { do: "look_up", intent: intentIn(ask, current), until: settlesFrom(current.value) };
        case "intend":
        case "call_again":
          break;
        case "diverged":
        case "ambiguous":
        case "lost":
          return step;
      }
    }
    const written = await effects.put(
      intended(deps, ask, current?.value),
      current ? { version: current.version } : "absent",
    );
    if (written.won) return { do: "call", intent: intentIn(ask, written.stored) };
    current = written.current;
  }
}

const intentIn = (ask: EffectAsk, { value, version }: Stored<EffectEntry>): Intent => ({ ask, entry: value, version });

/** What an operator has said of an earlier intent stays on the record; this one is another. */
function intended({ fence, table }: JournalDeps, ask: EffectAsk, before: EffectEntry | undefined): EffectEntry {
  const now = table.now();
  if (!before) return { ...ask, fence, createdAt: now, updatedAt: now };
  const { cleared: _cleared, parked: _parked, proposal: _proposal, ...kept } = before;
  return { ...kept, ...ask, fence, intents: intentOf(before) + 1, updatedAt: now };
}

/** Somebody goes on with what a parked run was told, in whatever way: nobody has to say anything any more. */
async function unpark({ effects, table }: JournalDeps, { value, version }: Stored<EffectEntry>): Promise<void> {
  if (!value.parked) return;
  const { parked: _, ...rest } = value;
  // Another word that comes at the same time takes it off as well.
  await effects.put({ ...rest, updatedAt: table.now() }, { version });
}

/** What came of a call is true whatever was said of it meanwhile, and takes the place of "it did not happen". */
async function settle(
  { effects, table, fence, generation, record, keep }: JournalDeps,
  { ask: { tenant, threadId }, entry, version }: Intent,
  outcome: EffectOutcome,
): Promise<EffectOutcome | "lost"> {
  const kept = await keep(tenant, outcome, { threadId, generation });
  await record?.(entry, kept);
  let current: Stored<EffectEntry> | undefined = { value: entry, version };
  while (current) {
    if (current.value.outcome) return effects.whole(tenant, current.value.outcome);
    if (current.value.fence > fence) return "lost";
    const { cleared: _, ...open } = current.value;
    const written = await effects.put(
      { ...open, fence, outcome: kept, updatedAt: table.now() },
      { version: current.version },
    );
    if (written.won) return "body" in kept ? outcome : kept;
    current = written.current;
  }
  return "lost";
}

/** Makes the effect findable for operators before its run is parked, unless its outcome is known by now. */
async function park({ effects, table, fence }: JournalDeps, ask: EffectAsk, why: ParkAsk): Promise<Parked> {
  const { tenant, root, token, argsDigest, runId, threadId } = ask;
  let current = await effects.get(tenant, root, token);
  while (current) {
    const step = nextStep(current.value, { argsDigest, fence });
    if (step.do === "return" || step.do === "intend") return { do: "again" };
    if (step.do === "lost") return step;
    const entry = current.value;
    const isSettled = entry.settlement?.intent === intentOf(entry);
    const parked = {
      ...why,
      runId,
      threadId,
      at: entry.parked?.at ?? table.now(),
      ...(step.do === "diverged" ? { argsDigest } : {}),
    };
    const next: EffectEntry = {
      ...entry,
      // A word on what was parked before is not one on this.
      ...(isSettled ? { intents: intentOf(entry) + 1 } : {}),
      parked,
      updatedAt: table.now(),
    };
    const written = await effects.put(next, { version: current.version });
    if (written.won) return { do: "parked" };
    current = written.current;
  }
  return { do: "again" };
}
