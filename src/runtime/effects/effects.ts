/** The effects of a tenant as operators see them, and what they say of those whose outcome nobody knows. */
import { isUuid, runId as asRunId } from "../../core/ids.ts";
import type { RunId } from "../../core/ids.ts";
import type { EffectEntry, EffectOutcome, KeptWith } from "../../core/effect.ts";
import { settled } from "../../core/effect-settlement.ts";
import type { Verdict } from "../../core/effect-settlement.ts";
import { HoldpointError } from "../../core/errors.ts";
import type { Principal } from "../../core/principal.ts";
import type { EffectList, EffectRef } from "../../storage/effects.ts";
import type { Stored } from "../../storage/records.ts";
import { settlementEntry } from "../audit/audit-effect.ts";
import type { Deps } from "../deps.ts";
import { rootsOf } from "../state-reader.ts";
import type { RetryWith } from "../operators/retry.ts";
import { followUpEffectSoon } from "./follow-up-effect.ts";
import { keepOutcome } from "./keep-outcome.ts";

export interface EffectSearch {
  readonly state: EffectList;
  /** Of the name that its author gave it. */
  readonly tool?: string;
  /** Parked, or settled, at least so long ago. */
  readonly olderThanMs?: number;
  readonly limit: number;
  readonly after?: string;
}

export interface SettleEffect {
  readonly said: Verdict;
  readonly reason: string;
  /** Number of the intent that was shown. */
  readonly intent: number;
  /** Id of the proposal whose place it is to take. */
  readonly replaces?: string;
}

/** An effect's id on the API is `<root>.<token>`. */
export interface EffectUseCases {
  list(
    principal: Principal,
    search: EffectSearch,
  ): Promise<{ readonly items: readonly EffectEntry[]; readonly next?: string }>;
  /** Every effect of the lineage of a run, in whatever state. */
  ofRun(principal: Principal, run: RunId): Promise<readonly EffectEntry[]>;
  /** With its whole result, wherever that is kept. */
  get(principal: Principal, effectId: string): Promise<EffectEntry>;
  /** The word stands when this resolves; on an irreversible effect the first of two is a proposal. */
  settle(principal: Principal, effectId: string, ask: SettleEffect): Promise<EffectEntry>;
}

/** Pages of the index that one request reads at most: what a filter leaves out must not keep it reading for ever. */
const MOST_PAGES = 20;

export function createEffectUseCases(host: RetryWith): EffectUseCases {
  const { deps } = host;
  return {
    list: (principal, search) => list(deps, principal, search),
    ofRun: (principal, run) => ofRun(deps, principal, run),
    async get(principal, effectId) {
      const { value } = await find(deps, principal, effectId);
      const { outcome } = value;
      return outcome ? { ...value, outcome: await deps.effects.whole(value.tenant, outcome) } : value;
    },
    async settle(principal, effectId, ask) {
      const entry = await settle(deps, principal, await find(deps, principal, effectId), ask);
      const now = await followUpEffectSoon(host, entry);
      return now?.settlement?.id === entry.settlement?.id && now?.proposal?.id === entry.proposal?.id
        ? (now ?? entry)
        : entry;
    },
  };
}

async function list(deps: Deps, { tenant }: Principal, { state, tool, olderThanMs, limit, after }: EffectSearch) {
  const until = olderThanMs === undefined ? Infinity : deps.table.now() - olderThanMs;
  const at = (entry: EffectEntry): number => (state === "parked" ? entry.parked?.at : entry.settlement?.at) ?? 0;
  const items: EffectEntry[] = [];
  let next = after;
  for (let pages = 0; pages < MOST_PAGES && items.length < limit; pages++) {
    // Never more than are still wanted: the page ends where the next one begins.
    const page = await deps.effects.list(tenant, state, {
      limit: limit - items.length,
      descending: state === "settled",
      ...(next === undefined ? {} : { after: next }),
    });
    items.push(...page.items.filter((entry) => (tool === undefined || entry.name === tool) && at(entry) <= until));
    ({ next } = page);
    if (next === undefined) return { items };
  }
  return { items, ...(next === undefined ? {} : { next }) };
}

async function ofRun(deps: Deps, { tenant }: Principal, runId: RunId): Promise<readonly EffectEntry[]> {
  const threadId = await deps.runs.threadOf(tenant, runId);
  const run = threadId && (await deps.runs.get({ tenant, threadId }, runId))?.value;
  const header = run && (await deps.threads.get(run));
  if (!run || !header || header.value.deleted || header.value.generation !== run.generation)
    throw new HoldpointError("not_found", `Run ${runId} not found`);
  const entries = await Promise.all([...(await rootsOf(deps, run))].map((root) => deps.effects.ofRoot(tenant, root)));
  return entries.flat().toSorted((a, b) => a.createdAt - b.createdAt);
}

async function find(deps: Deps, { tenant }: Principal, effectId: string): Promise<Stored<EffectEntry>> {
  const [root = "", token = ""] = effectId.split(".");
  const isId = isUuid(root) && /^[0-9a-f]{64}$/.test(token);
  const found = isId ? await deps.effects.get(tenant, asRunId(root.toLowerCase()), token) : undefined;
  if (!found) throw new HoldpointError("not_found", `Effect ${effectId} not found`);
  return found;
}

async function settle(
  deps: Deps,
  { subject, origin }: Principal,
  first: Stored<EffectEntry>,
  { said, ...asked }: SettleEffect,
): Promise<EffectEntry> {
  const { pool, thread } = await placeOf(deps, first.value);
  const outcome = await keptResult(deps, first.value, { said, thread });
  let current: Stored<EffectEntry> | undefined = first;
  while (current) {
    const ask = { ...asked, said, outcome, by: subject, origin, now: deps.table.now(), pool };
    const next = settled(current.value, ask);
    if (next.kind === "stands") return current.value;
    await recordDue(deps, current.value);
    const written = await deps.effects.put(next.entry, { version: current.version });
    if (written.won) return next.entry;
    current = written.current;
  }
  throw new HoldpointError("not_found", "the effect is not in the journal any more");
}

/** Another word takes the place of one whose follow-up, and so its entry in the audit log, may still be to come. */
async function recordDue(deps: Deps, entry: EffectEntry): Promise<void> {
  const word = entry.proposal ?? entry.settlement;
  if (entry.followUp && word) await deps.audit.record(settlementEntry(entry, word), entry.followUp.pool);
}

/** A long result is stored before the word that names it: that of a word which loses is read by nobody. */
async function keptResult(
  deps: Deps,
  { tenant }: EffectRef,
  { said, thread }: { readonly said: Verdict; readonly thread: KeptWith | undefined },
): Promise<EffectOutcome | undefined> {
  if (said.verdict === "not_happened" || said.result === undefined) return undefined;
  return keepOutcome(deps, tenant, { kind: "result", value: said.result }, thread);
}

/** Whose workers complete what follows, and with which thread its result goes; without one that was deleted. */
async function placeOf(
  deps: Deps,
  { tenant, parked, ...asked }: EffectEntry,
): Promise<{ readonly pool: string; readonly thread?: KeptWith }> {
  const { runId, threadId } = parked ?? asked;
  const ref = threadId && { tenant, threadId };
  const run = ref && (await deps.runs.get(ref, runId))?.value;
  if (!run) return { pool: "default" };
  const header = (await deps.threads.get(ref))?.value;
  const isAlive = header && !header.deleted && header.generation === run.generation;
  return { pool: run.pool, ...(isAlive ? { thread: run } : {}) };
}
