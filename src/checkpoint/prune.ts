/** `prune` and `deleteForRuns` in one namespace: a cut, and then the removal of what it hides. */
import { HoldpointError } from "../core/errors.ts";
import type { IndexEntries } from "../storage/table.ts";
import type { Branch } from "./branch.ts";
import { collect } from "./collect.ts";
import type { CollectDeps } from "./collect.ts";
import { ancestors } from "./delta-history.ts";
import { rebased } from "./rebase.ts";
import { isCut } from "./record.ts";
import type { CheckpointRecord, Cut } from "./record.ts";
import type { Loaded, View } from "./view.ts";
import { sealName } from "./writes.ts";

export interface PruneDeps extends CollectDeps {
  /** False: what is hidden is removed by whoever comes to it later. */
  readonly collects: boolean;
  /** The metadata of a checkpoint. */
  metadataOf(branch: Branch, loaded: Loaded): Promise<object>;
  /** Index entries of a cut: those of the first record go with it. */
  readonly index: IndexEntries | undefined;
}

/** A cut that is to be made. */
interface Plan {
  /** What is to stay the latest; undefined where nothing is left. */
  readonly keeps: Loaded | undefined;
  /** `all`: nothing below it counts. */
  readonly cut: Omit<Cut, "done"> | "all";
}

/**
 * Keeps the latest checkpoint, with its task writes, and those that its delta channels are rebuilt from.
 * @throws HoldpointError `conflict` where a run executes from an older checkpoint, or others advance the thread under leases; `lost`
 */
export async function keepLatest(deps: PruneDeps, branch: Branch): Promise<void> {
  await cutAndCollect(deps, branch, async (view) => {
    if (view.latest === undefined) return undefined;
    const { record } = view.latest;
    const loaded = await branch.latest(view);
    if (loaded === undefined) return undefined;
    const floor = Math.min(record.seq, ...(await neededBy(deps, branch, loaded)).map(({ seq }) => seq));
    if (floor < record.seq) await collectLast(deps, branch, view);
    const isPruned = isCut(record) && record.cut.runs.length === 0 && record.cut.floor === floor;
    if (isPruned || record.seq === 1) return undefined;
    return { keeps: loaded, cut: floor === record.seq ? "all" : { floor, runs: [] } };
  });
}

/** Removes every checkpoint of these runs; what goes on from one of them stays whole. @throws as `keepLatest`; also `conflict` where delta channels are rebuilt from one of theirs */
export async function removeRuns(deps: PruneDeps, branch: Branch, runs: ReadonlySet<string>): Promise<void> {
  await cutAndCollect(deps, branch, async (view) => {
    await collectLast(deps, branch, view);
    if (!(await isAnyOf(branch, runs))) return undefined;
    for await (const { record, marks } of branch.walk()) {
      if (record.runId !== undefined && runs.has(record.runId)) continue;
      const isLatest = record.seq === view.latest?.record.seq;
      const keeps = isLatest
        ? await branch.latest(view)
        : await branch.loadRecord(record, await branch.log.chain(record), marks);
      if (keeps !== undefined) assertIndependent(await neededBy(deps, branch, keeps), runs);
      const floor = (await branch.log.cutAt(view.cutSeq))?.cut.floor ?? 1;
      return { keeps, cut: { floor, runs: [...runs] } };
    }
    return { keeps: undefined, cut: "all" };
  });
}

/** A cut that is to leave something below it says nothing of what an earlier one hides: `plan` has that removed before. */
async function cutAndCollect(
  deps: PruneDeps,
  branch: Branch,
  plan: (view: View) => Promise<Plan | undefined>,
): Promise<void> {
  const read = (): Promise<View> => (branch.held ? branch.known() : branch.read());
  await branch.exclusive(async () => {
    for (;;) {
      const view = await read();
      branch.mayAppend(view);
      assertNoTravel(view);
      const planned = await plan(view);
      if (planned === undefined || (await make(deps, branch, view, planned))) return;
    }
  });
  if (deps.collects) await collectLast(deps, branch, await read());
}

/** Removes what the last cut hides. Anyone may. */
export async function collectLast(deps: CollectDeps, { log }: Branch, { cutSeq }: View): Promise<void> {
  const cut = cutSeq === 0 ? undefined : await log.cutAt(cutSeq);
  if (cut !== undefined) await collect(deps, log, cut);
}

/** False when somebody else has appended. */
async function make(deps: PruneDeps, branch: Branch, view: View, { keeps, cut: wanted }: Plan): Promise<boolean> {
  const seq = view.top.seq + 1;
  const cut: Cut = { ...(wanted === "all" ? { floor: seq, runs: [] } : wanted), done: false };
  const placed = { seq, fence: branch.fence, cut, cutSeq: seq };
  if (keeps === undefined) {
    const reset = { ...placed, kind: "reset", targetSeq: 0, sealed: [] } as const;
    return branch.putCut(reset, undefined, deps.index);
  }
  const sealed = keeps.sets.map(sealName);
  const base = await rebased({ at: branch.log.at, cells: deps.cells }, keeps.stored, { ...placed, sealed });
  return branch.putCut({ ...base.record, cut }, base, deps.index);
}

function assertNoTravel({ latest, marks }: View): void {
  const from = marks.at(-1)?.checkpointId;
  if (latest === undefined || from === undefined || from === latest.record.checkpointId) return;
  throw new HoldpointError("conflict", `a run executes from checkpoint ${from}, which is not the latest`);
}

function assertIndependent(needed: readonly CheckpointRecord[], runs: ReadonlySet<string>): void {
  const runId = needed.find((record) => record.runId !== undefined && runs.has(record.runId))?.runId;
  if (runId === undefined) return;
  throw new HoldpointError(
    "conflict",
    `delta channels of the latest checkpoint are rebuilt from those of run ${runId}`,
  );
}

async function isAnyOf(branch: Branch, runs: ReadonlySet<string>): Promise<boolean> {
  for await (const { record } of branch.log.items.stored()) {
    if (record.kind === "checkpoint" && record.runId !== undefined && runs.has(record.runId)) return true;
  }
  return false;
}

/** Ancestors of a checkpoint without which its delta channels cannot be rebuilt, newest first. */
async function neededBy(deps: PruneDeps, branch: Branch, loaded: Loaded): Promise<readonly CheckpointRecord[]> {
  const metadata: Readonly<Record<string, unknown>> = { ...(await deps.metadataOf(branch, loaded)) };
  const counters = metadata[DELTA_COUNTERS];
  const names = Object.keys(isObject(counters) ? counters : {});
  const missing = new Set(names.filter((name) => !loaded.stored.channels.has(name)));
  const needed: CheckpointRecord[] = [];
  if (missing.size === 0) return needed;
  for await (const { stored } of ancestors(branch, loaded.stored.record)) {
    const { body: _, ...record } = stored.record;
    needed.push({ ...record, body: NONE });
    for (const name of missing) if (stored.channels.has(name)) missing.delete(name);
    if (missing.size === 0) break;
  }
  return needed;
}

/** Bodies are not needed, and there may be many. */
const NONE = new Uint8Array();

/** Delta channels, and how often each has changed since a checkpoint held it whole. */
const DELTA_COUNTERS = "counters_since_delta_snapshot";
const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;
