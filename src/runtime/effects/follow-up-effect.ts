/**
 * What must follow an operator's word on an effect (I11): it is audited, and the parked run goes on. Done by the API at
 * once, or by any worker that finds the entry due; however often it is done, one run goes on.
 */
import type { EffectEntry } from "../../core/effect.ts";
import type { Settlement } from "../../core/effect-settlement.ts";
import type { EffectRef } from "../../storage/effects.ts";
import type { Deps } from "../deps.ts";
import { goOn, goingOn } from "./go-on.ts";
import type { WentOn } from "./go-on.ts";

/** Completes what follows, if it is still due. Returns the entry as it is then. */
export async function followUpEffect(deps: Deps, ref: EffectRef): Promise<EffectEntry | undefined> {
  for (;;) {
    const stored = await deps.effects.get(ref.tenant, ref.root, ref.token);
    if (!stored?.value.followUp) return stored?.value;
    const { followUp, ...entry } = stored.value;
    const { proposal, settlement } = entry;
    const isProposed = proposal !== undefined;
    const word = proposal ?? settlement;
    if (word) await audited(deps, entry, word, isProposed);
    const went =
      isProposed || !settlement || !followUp.parked
        ? undefined
        : await carryOn(deps, entry, followUp.parked, settlement);
    const said = went && settlement ? { settlement: { ...settlement, ...outcomeOf(went) } } : {};
    const written = await deps.effects.put({ ...entry, ...said }, { version: stored.version });
    if (written.won) return written.stored.value;
  }
}

/** It stays findable in the table, so failing here costs latency and never what follows. */
export async function followUpEffectSoon(deps: Deps, ref: EffectRef): Promise<EffectEntry | undefined> {
  try {
    return await followUpEffect(deps, ref);
  } catch (error) {
    deps.log.warn(
      { effect: `${ref.root}.${ref.token}`, err: error },
      "what follows the settling of an effect is left to a worker",
    );
    return undefined;
  }
}

async function audited(
  deps: Deps,
  { tenant, root, token, name }: EffectEntry,
  word: Settlement,
  isProposed: boolean,
): Promise<void> {
  const action = isProposed ? "effect.proposed" : "effect.settled";
  await deps.effectAudit?.({ tenant, id: word.id, action, effect: { root, token, name }, word });
  deps.log.info(
    { effect: `${root}.${token}`, name, verdict: word.verdict, by: word.by, action },
    "an operator spoke on an effect",
  );
}

function carryOn(
  deps: Deps,
  { tenant }: EffectEntry,
  {
    runId,
    threadId,
  }: { readonly runId: EffectEntry["runId"]; readonly threadId: NonNullable<EffectEntry["threadId"]> },
  { id }: Settlement,
): Promise<WentOn> {
  return goOn(deps, { ref: { tenant, threadId }, parked: runId, name: goingOn(id, threadId) });
}

const outcomeOf = (went: WentOn): Pick<Settlement, "continuation" | "notContinued"> =>
  "runId" in went ? { continuation: went.runId } : { notContinued: went.reason };
