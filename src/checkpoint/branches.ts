/** The namespaces that a saver has touched, and the generation of the thread that each belongs to. */
import { threadId as toThreadId } from "../core/ids.ts";
import type { ThreadRef } from "../storage/keys.ts";
import type { IndexEntries } from "../storage/table.ts";
import { plainSealer } from "../storage/encryption/sealer.ts";
import { createBodies } from "./bodies.ts";
import { Branch } from "./branch.ts";
import type { Authority } from "./authority.ts";
import { CELL_LIMITS, createCellStore } from "./cell-store.ts";
import type { CellStore } from "./cell-store.ts";
import { createSegmentCache } from "./segment-cache.ts";
import { firstRecordIndex, namespacesOf, threadsOf } from "./history.ts";
import { createLog } from "./log.ts";
import type { Log } from "./log.ts";
import type { SaverOptions } from "./options.ts";
import { splice } from "./splice.ts";
import { readGeneration } from "./thread-header.ts";
import { createTaskWrites } from "./writes.ts";
import type { TaskWrites } from "./writes.ts";
import { HoldpointError } from "../core/errors.ts";

/** Threads whose heads a saver without a lease keeps in memory. */
const REMEMBERED_THREADS = 32;

/** `fresh` asks the header which generation lives; `known` takes the one that was read last. */
export type Freshness = "fresh" | "known";

export interface Branches {
  readonly cells: CellStore;
  readonly writes: TaskWrites;
  /** A log of a generation that need not be the one that is read. */
  logOf(threadId: string, generation: number, ns: string): Log;
  of(threadId: string, ns: string, freshness: Freshness): Promise<Branch>;
  /** Those that have a log: of a thread or all of the tenant's, in a namespace or all of the thread's. */
  matching(threadId: string | undefined, ns: string | undefined): AsyncGenerator<Branch>;
  /** The root namespace of the bound thread, if it has been touched. */
  boundRoot(): Branch | undefined;
  forget(threadId: string): void;
}

interface ThreadMemory {
  readonly generation: number;
  readonly branches: Map<string, Branch>;
}

export function createBranches(options: SaverOptions, lose: () => never): Branches {
  const { table, blobs, lease } = options;
  const cache = options.cache ?? createSegmentCache();
  const bodies = createBodies(options.sealer ?? plainSealer);
  const cells = createCellStore({ table, blobs, bodies, cache, limits: { ...CELL_LIMITS, ...options.limits } });
  const writes = createTaskWrites({ table, cells, bodies });
  const authority: Authority = { fence: lease?.fence ?? 0, leased: lease !== undefined, lose };
  const threads = new Map<string, ThreadMemory>();
  const refOf = (threadId: string): ThreadRef => ({ tenant: options.tenant, threadId: toThreadId(threadId) });

  const memory = async (threadId: string, freshness: Freshness): Promise<ThreadMemory> => {
    if (lease !== undefined && threadId !== lease.threadId) {
      throw new HoldpointError("invalid", "a saver with a lease serves the thread of the lease and no other");
    }
    const given = lease?.generation ?? (threadId === options.threadId ? options.generation : undefined);
    const known = threads.get(threadId);
    if (known !== undefined && (freshness === "known" || given !== undefined)) return known;
    const generation = given ?? (await readGeneration(table, refOf(threadId)));
    const again = threads.get(threadId);
    const kept = again?.generation === generation ? again : { generation, branches: new Map<string, Branch>() };
    threads.delete(threadId);
    threads.set(threadId, kept);
    for (const oldest of threads.keys()) {
      if (threads.size <= REMEMBERED_THREADS) break;
      threads.delete(oldest);
    }
    return kept;
  };

  const logOf = (threadId: string, generation: number, ns: string): Log =>
    createLog({ table, bodies }, { thread: refOf(threadId), generation, ns });

  const of = async (threadId: string, ns: string, freshness: Freshness): Promise<Branch> => {
    const { generation, branches } = await memory(threadId, freshness);
    const known = branches.get(ns);
    if (known !== undefined) return known;
    const log = logOf(threadId, generation, ns);
    const { seals = true, splice: spliced = splice } = options;
    const branch = new Branch({ log, writes, cells, authority, seals, splice: spliced });
    branches.set(ns, branch);
    return branch;
  };

  return {
    cells,
    writes,
    logOf,
    of,
    async *matching(threadId, ns) {
      for await (const thread of threadId === undefined ? threadsOf(table, options.tenant) : [threadId]) {
        const { generation } = await memory(thread, "fresh");
        const names = ns === undefined ? namespacesOf(table, refOf(thread), generation) : [ns];
        for await (const name of names) yield of(thread, name, "known");
      }
    },
    boundRoot: () => threads.get(lease?.threadId ?? options.threadId ?? "")?.branches.get(""),
    forget: (threadId) => threads.delete(threadId),
  };
}

/** Without a lease nobody else lists the thread, so its first records carry an index entry. */
export const firstIndexOf = (options: SaverOptions, threadId: string): IndexEntries | undefined =>
  options.lease === undefined
    ? firstRecordIndex({ tenant: options.tenant, threadId: toThreadId(threadId) })
    : undefined;
