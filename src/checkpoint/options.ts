import type { SerializerProtocol } from "@langchain/langgraph-checkpoint";
import type { Clock } from "../core/clock.ts";
import type { TenantId, ThreadId } from "../core/ids.ts";
import type { Blobs } from "../storage/blobs.ts";
import type { Sealer } from "../storage/encryption/sealer.ts";
import type { Table } from "../storage/table.ts";
import type { CellLimits } from "./cell-store.ts";
import type { splice } from "./splice.ts";
import type { SegmentCache } from "./segment-cache.ts";

/** The right to advance one thread, as its claim gave it. */
export interface SaverLease {
  readonly threadId: ThreadId;
  /** The thread's generation, from its header. */
  readonly generation: number;
  readonly fence: number;
}

export interface SaverOptions {
  readonly table: Table;
  readonly blobs: Blobs;
  readonly tenant: TenantId;
  /** Encrypts what items hold; without it they are not encrypted. `blobs` does so itself. */
  readonly sealer?: Sealer;
  /** That of `serializer/serializer.ts` unless given, which writes what LangGraph's own writes. */
  readonly serde?: SerializerProtocol;
  /** Binds the saver to one thread and one fence. Without it: every thread, fence 0, collisions retried. */
  readonly lease?: SaverLease;
  /** Binds a saver without a lease to one thread, for `preload`, `head` and what is said about interrupts. */
  readonly threadId?: ThreadId;
  /** With `threadId`: the thread's generation as its header has just shown it, so that the header is not read again. */
  readonly generation?: number;
  /** Root of a new lineage: the next input of the root namespace is new, and visits are counted from it. */
  readonly newRoot?: string;
  /** What is probably the latest checkpoint of the root: `preload` then reads its task writes without waiting for the head. */
  readonly expectedHead?: string;
  /** The older checkpoint from which this delivery and those before it execute (time travel). */
  readonly executesFrom?: string;
  /** Serialized bytes of all channels of a namespace: what takes more is not stored. */
  readonly stateBytes?: number;
  /** Nothing this saver writes is reported as written before this is fulfilled; its rejection is theirs. */
  readonly gate?: Promise<unknown>;
  /** Called once, when another holder is seen. */
  readonly onLost?: () => void;
  readonly clock?: Clock;
  readonly recordDeadlineMs?: number;
  readonly limits?: Partial<CellLimits>;
  /** What savers of one process share; each has its own unless given. */
  readonly cache?: SegmentCache;
  /** Only for tests that show what a wrong one comes to. */
  readonly splice?: typeof splice;
  /** Only for tests that show what seals protect from: false makes every task write of every fence visible. */
  readonly seals?: boolean;
}

/** The latest checkpoint of a thread's root namespace. */
export interface SaverHead {
  readonly checkpointId: string;
  readonly seq: number;
  readonly fence: number;
  readonly root: string | undefined;
  readonly step: number;
  /** Step of the input from which supersteps are counted; absent where an older version wrote the record. */
  readonly inputStep?: number;
  readonly source: string;
  /** The run that wrote it, when its configuration said so. */
  readonly runId?: string;
}
