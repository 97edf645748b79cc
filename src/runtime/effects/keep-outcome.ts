import type { EffectOutcome, KeptWith } from "../../core/effect.ts";
import type { TenantId } from "../../core/ids.ts";
import type { Deps } from "../deps.ts";

/**
 * The outcome as the journal keeps it. A long result goes with its thread: of one that was deleted before the body stood,
 * whoever removed it has come too early, and so it is removed here. A deletion that begins after this looked finds it.
 */
export async function keepOutcome(
  { effects, threads, blobs }: Pick<Deps, "effects" | "threads" | "blobs">,
  tenant: TenantId,
  outcome: EffectOutcome,
  thread: KeptWith | undefined,
): Promise<EffectOutcome> {
  const kept = await effects.kept(tenant, outcome, thread);
  if (kept.kind === "rejected" || kept.body === undefined || thread === undefined) return kept;
  const ref = { tenant, threadId: thread.threadId };
  // A thread without a header was deleted so long ago that nothing says so any more.
  const current = (await threads.get(ref))?.value.generation ?? thread.generation + 1;
  if (current > thread.generation) await blobs.removeOld(ref, { before: current, unplaced: false });
  return kept;
}
