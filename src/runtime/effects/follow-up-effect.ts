/**
 * What must follow an operator's word on an effect (I11): it is audited, and the parked run is resumed in the name of who
 * spoke. Done by the API at once, or by any worker that finds the entry due; however often it is done, one run goes on.
 */
import { namedUuid, runId as asRunId } from "../../core/ids.ts";
import type { RunId, ThreadId } from "../../core/ids.ts";
import type { Principal } from "../../core/principal.ts";
import { isEnded } from "../../core/run.ts";
import type { EffectEntry, ParkedEffect } from "../../core/effect.ts";
import type { Settlement } from "../../core/effect-settlement.ts";
import type { EffectRef } from "../../storage/effects.ts";
import type { Deps } from "../deps.ts";
import { settlementEntry } from "../audit/audit-effect.ts";
import { asRefusal } from "../accept/accept-answer.ts";
import { retryRun } from "../operators/retry.ts";
import type { RetryWith } from "../operators/retry.ts";

/** Which run carries a parked one on, or why none does. */
type WentOn = { readonly runId: RunId } | { readonly reason: string };

/**
 * Completes what follows, if it is still due. Returns the entry as it is then.
 * @throws HoldpointError `unavailable`, `graph_unavailable` where this process cannot tell; it stays due
 */
export async function followUpEffect(host: RetryWith, ref: EffectRef): Promise<EffectEntry | undefined> {
  const { deps } = host;
  for (;;) {
    const stored = await deps.effects.get(ref.tenant, ref.root, ref.token);
    if (!stored?.value.followUp) return stored?.value;
    const { followUp, ...entry } = stored.value;
    const { proposal, settlement } = entry;
    const isProposed = proposal !== undefined;
    // An effect is found parked a moment before its run is.
    if (followUp.parked && !(await hasStopped(deps, entry, followUp.parked))) return stored.value;
    const word = proposal ?? settlement;
    if (word) await audited(deps, entry, word, followUp.pool);
    const went =
      isProposed || !settlement || !followUp.parked
        ? undefined
        : await carryOn(host, entry, followUp.parked, settlement);
    const said = went && settlement ? { settlement: { ...settlement, ...outcomeOf(went) } } : {};
    const written = await deps.effects.put({ ...entry, ...said }, { version: stored.version });
    if (written.won) return written.stored.value;
  }
}

/** It stays findable in the table, so failing here costs latency and never what follows. */
export async function followUpEffectSoon(host: RetryWith, ref: EffectRef): Promise<EffectEntry | undefined> {
  try {
    return await followUpEffect(host, ref);
  } catch (error) {
    host.deps.log.warn(
      { effect: `${ref.root}.${ref.token}`, err: error },
      "what follows the settling of an effect is left to a worker",
    );
    return undefined;
  }
}

async function audited(deps: Deps, entry: EffectEntry, word: Settlement, pool: string): Promise<void> {
  await deps.audit.record(settlementEntry(entry, word), pool);
  const { root, token, name } = entry;
  const action = entry.proposal ? "effect.proposed" : "effect.settled";
  deps.log.info(
    { effect: `${root}.${token}`, name, verdict: word.verdict, by: word.by, action },
    "an operator spoke on an effect",
  );
}

async function hasStopped(deps: Deps, { tenant }: EffectEntry, { threadId, runId }: ParkedEffect): Promise<boolean> {
  const run = await deps.runs.get({ tenant, threadId }, runId);
  return run === undefined || isEnded(run.value.status);
}

async function carryOn(
  host: RetryWith,
  { tenant }: EffectEntry,
  { runId, threadId }: ParkedEffect,
  { id, by, origin, reason }: Settlement,
): Promise<WentOn> {
  const principal: Principal = {
    tenant,
    subject: by,
    roles: ["operator"],
    groups: [],
    ...(origin === undefined ? {} : { origin }),
  };
  try {
    const named = goingOn(id, threadId);
    const run = await retryRun(host, { principal, verb: { runId, reason }, as: "resume", named });
    return { runId: run.runId };
  } catch (error) {
    const { code, message } = asRefusal(error);
    return { reason: code === "not_found" ? "its thread was deleted" : message };
  }
}

/** The id of the run that goes on because of a settlement. */
const goingOn = (id: string, threadId: ThreadId): RunId => asRunId(namedUuid(`${threadId} ${id}`, GOING_ON));
const GOING_ON = "5d9b1a42-7f0e-5f43-8f3a-3f6f4e1f6b7c";

const outcomeOf = (went: WentOn): Pick<Settlement, "continuation" | "notContinued"> =>
  "runId" in went ? { continuation: went.runId } : { notContinued: went.reason };
