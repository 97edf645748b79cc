import { namesHold } from "../../core/hold.ts";
import type { Hold } from "../../core/hold.ts";
import { isEnded } from "../../core/run.ts";
import type { Deps } from "../deps.ts";

/**
 * Whether an undecided hold may be decided: `open` while the run that it names names it under the same fence, `early`
 * while that run has not stopped, and `over` when it never will be, unless it is written anew.
 */
export type Openness = { readonly kind: "open" | "early" } | { readonly kind: "over"; readonly why: string };

/** To be asked of a hold that was read before. */
export async function opennessOf(deps: Deps, hold: Hold): Promise<Openness> {
  const [header, run] = await Promise.all([deps.threads.get(hold), deps.runs.get(hold, hold.runId)]);
  if (!header || header.value.deleted || header.value.generation !== hold.generation)
    return { kind: "over", why: "its thread was deleted" };
  if (!run) return { kind: "over", why: "the run that asked is gone" };
  if (namesHold(run.value, hold)) return { kind: "open" };
  return isEnded(run.value.status) ? { kind: "over", why: `the run that asked is ${run.value.status}` } : EARLY;
}

const EARLY: Openness = { kind: "early" };
