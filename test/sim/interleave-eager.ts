/**
 * Calls that need not be tried in every order (a persistent set, as partial-order reduction has it): whatever others do
 * before them, they do the same. While a process waits for one of this kind, only its steps are taken.
 *
 * - A thread's log, task writes and events are touched by who holds its lease, and by who reads them before a claim. While a
 *   holder lives, nobody else comes to hold the thread unless it is taken over: then every order counts.
 * - What an accept writes before its header write can be found by nobody, except by a repeat of the same request.
 * - A claim that loses changes nothing, and ends what it began. So one that has been begun may as well be made at once, or not
 *   at all; it is only where claims are `raced` that each of their calls waits for its turn.
 */
import type { Item } from "../../src/storage/table.ts";
import type { Request } from "./interleave-activities.ts";
import type { Local } from "./interleave-process.ts";
import type { TableOp } from "./interleave-table.ts";

export interface Standing {
  readonly header: Item | undefined;
  /** Of the header: the fence given out last. */
  readonly fence: number;
  readonly owner: string | undefined;
  /** Whether a holder may still meet somebody: its lease be taken from it, or its run be asked to stop. */
  readonly mayBeMet: boolean;
  readonly raced: boolean;
  readonly tasks: ReadonlyMap<string, { readonly local: Local; readonly request?: Request; readonly lost?: number }>;
}

/** The process whose steps are the only ones to be taken now, if there is one. */
export function eagerTask(standing: Standing): string | undefined {
  const { header, fence, owner, mayBeMet, raced, tasks } = standing;
  const workers = [...tasks].filter(([name]) => name.startsWith("worker"));
  for (const [name, { local, lost }] of workers) {
    const isClaiming = !raced && fence < fenceOf(name);
    if (lost === undefined && (isClaiming || isLateClaim(local, header))) return name;
  }
  for (const [name, { local, request, lost }] of tasks) {
    const ops = [...local.calls.values()];
    if (ops.length === 0 || lost !== undefined) continue;
    const isRepeated = [...tasks.values()].some((other) => isRepeatOf(other.request, request));
    if (isAccept(request) && !isRepeated && ops.some(isUnseen)) return name;
    const isAlone = owner === name && workers.length === 1 && !mayBeMet;
    if (!request && isAlone && ops.some(isOfHolder)) return name;
  }
  return undefined;
}

/** The fence that a worker's activity claims a thread with. */
export const fenceOf = (worker: string): number => Number.parseInt(worker.slice(worker.indexOf("@") + 1), 10);

const isAccept = (request: Request | undefined): boolean =>
  request?.wish.do === "accept" || request?.wish.do === "resume";

function isRepeatOf(a: Request | undefined, b: Request | undefined): boolean {
  return a !== undefined && b !== undefined && (a.repeats === b.name || b.repeats === a.name);
}

function isLateClaim({ calls }: Local, header: Item | undefined): boolean {
  const [op, another] = calls.values();
  if (another || op?.op !== "put" || op.draft.sk !== "H" || typeof op.when !== "object") return false;
  return calls.has(1) && header?.version !== op.when.version;
}

function isUnseen(op: TableOp): boolean {
  if (op.op !== "put") return false;
  const { pk, sk } = op.draft;
  return pk.includes("#r#") || pk.includes("#i#") || (sk.startsWith("R#") && op.when === "absent");
}

function isOfHolder(op: TableOp): boolean {
  switch (op.op) {
    case "get":
    case "remove":
      return isOfLog(op.key);
    case "put":
      return isOfLog(op.draft);
    case "batchGet":
      return op.keys.every(isOfLog);
    case "query":
      return isOfLog({ pk: op.pk, sk: op.range.prefix ?? op.range.from ?? "" });
    case "queryIndex":
      return false;
  }
}

const isOfLog = ({ pk, sk }: { readonly pk: string; readonly sk: string }): boolean =>
  pk.includes("#e#") || /^[CWSB]#/.test(sk);

/**
 * The calls of one process that were made together, in the order in which they take effect and are answered: first those that
 * nobody else may meet. Whoever meets a process has its own in the same order, so that on each item either may be first.
 */
export function inOrder(calls: ReadonlyMap<number, TableOp>): readonly (readonly [number, TableOp])[] {
  const isPrivate = (op: TableOp): boolean => isOfHolder(op) || isUnseen(op);
  return [...calls].toSorted(([m, a], [n, b]) => Number(isPrivate(b)) - Number(isPrivate(a)) || m - n);
}
