/** What the checkpointer benchmark asks of every saver that takes part. */
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";

/** One call of the storage below a saver. */
export interface StorageCall {
  /** Milliseconds on the clock of `performance`. */
  readonly start: number;
  readonly end: number;
  readonly writeUnits: number;
  readonly readUnits: number;
  /** How many requests it is on DynamoDB, whose batches end at 25 writes or 100 reads. */
  readonly requests: number;
  /** Sort keys of what it wrote, where somebody looks at them. */
  readonly written: readonly string[];
}

/** A saver with an empty storage of its own. */
export interface Contender extends AsyncDisposable {
  /** A new saver object on the same storage; `cold`: with no memory of what others in this process have seen. */
  saver(options?: { readonly cold?: boolean }): BaseCheckpointSaver;
  /** Every call of its storage since the start; undefined where nothing is counted. */
  readonly calls?: readonly StorageCall[];
  /** Bytes that it keeps. */
  bytes(): Promise<number>;
}

/** Opens one, for one workload. */
export interface Entrant {
  readonly name: string;
  /** The one of ours that stands on the like of its storage, and what of both can be compared. */
  readonly beside?: { readonly name: string; readonly inTime: boolean };
  open(): Promise<Contender>;
}
