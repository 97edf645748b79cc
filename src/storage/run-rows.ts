/**
 * Where runs stand in the `list` index: by class (each way to end is one, and everything that has not ended is another),
 * newest first. A row says by itself what lists filter by, so that who looks for few among many reads rows of an index
 * and no items. A failed run stands there a second time, by the map item that finds its thread: under its fingerprint.
 */
import { failureOf } from "../core/fingerprint.ts";
import type { Failure } from "../core/fingerprint.ts";
import { runId, sha256, tenantId, threadId } from "../core/ids.ts";
import type { RunId, TenantId } from "../core/ids.ts";
import { isEnded } from "../core/run.ts";
import type { Run } from "../core/run.ts";
import { listPartition, parseThreadPartition, part, timePart, unpart } from "./keys.ts";
import type { ThreadRef } from "./keys.ts";
import type { SortedRow } from "./newest-first.ts";
import type { IndexRow, Key } from "./table.ts";

export const RUN_CLASSES = ["active", "success", "held", "error", "timeout", "cancelled", "parked"] as const;
export type RunClass = (typeof RUN_CLASSES)[number];
export const FAILED_CLASSES = ["error", "timeout", "parked"] as const satisfies readonly RunClass[];

/** Which rows: of one class, or of one fingerprint. */
export type RunRowsOf = { readonly class: RunClass } | { readonly fingerprint: string };

/** A hint, to be confirmed on the run. Of a row that stands under a fingerprint, only run and time are known. */
export interface RunRow extends SortedRow {
  readonly ref: ThreadRef;
  readonly runId: RunId;
  readonly at: number;
  readonly about?: RowAbout;
}

export interface RowAbout {
  readonly graphId: string;
  readonly graphVersion: string;
  /** Of the class there is a digest only: what errors are called is content, which no index has. */
  readonly failure?: Omit<Failure, "errorClass"> & { readonly classDigest: string };
}

/** Undefined for one that was never accepted, or is as if it had never been. */
export function classOf({ status, rolledBack }: Pick<Run, "status" | "rolledBack">): RunClass | undefined {
  if (status === "refused" || rolledBack) return undefined;
  return isEnded(status) ? (status as RunClass) : "active"; // every other status is a class of its own
}

export const classDigestOf = (errorClass: string): string => sha256(errorClass).slice(0, 16);

export const rowsPartition = (tenant: TenantId, of: RunRowsOf): string =>
  "class" in of
    ? `${listPartition(tenant, "runs")}#${of.class}`
    : `${listPartition(tenant, "errors")}#${part(of.fingerprint)}`;

/** A place in any of these partitions. */
export const placeOf = ({ createdAt, runId: id }: Pick<Run, "createdAt" | "runId">): string =>
  `${timePart(createdAt)}#${id}`;

export function runRow(run: Run): Key | undefined {
  const is = classOf(run);
  if (is === undefined) return undefined;
  const failure = failureOf(run);
  const said = [
    run.graphId,
    run.graphVersion ?? "",
    ...(failure ? [failure.fingerprint, classDigestOf(failure.errorClass), failure.node] : []),
  ];
  return { pk: rowsPartition(run.tenant, { class: is }), sk: [placeOf(run), ...said.map(part)].join("#") };
}

/** Undefined for a run that did not fail. */
export function failureRow(run: Run): Key | undefined {
  const failure = failureOf(run);
  return failure && { pk: rowsPartition(run.tenant, failure), sk: `${placeOf(run)}#@${part(run.threadId)}` };
}

export function rowOf({ sort, key }: IndexRow): RunRow | undefined {
  const [at, id, ...rest] = sort.split("#");
  const said = rest.map(unpart);
  const [first = "", second = "", print, classDigest = "", node = ""] = said;
  const parsed = parseThreadPartition(key.pk);
  const tenant = parsed?.tenant ?? unpart(key.pk.split("#")[0] ?? "");
  const thread = parsed?.threadId ?? first.slice(1);
  if (id === undefined || thread === "") return undefined;
  const failure = print === undefined ? {} : { failure: { fingerprint: print, classDigest, node } };
  return {
    sort,
    at: Number(at),
    runId: runId(id),
    ref: { tenant: tenantId(tenant), threadId: threadId(thread) },
    ...(parsed ? { about: { graphId: first, graphVersion: second, ...failure } } : {}),
  };
}
