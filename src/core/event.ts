import type { RunId } from "./ids.ts";
import type { Json } from "./json.ts";

/**
 * One frame of what a run said. Frames that carry state are stored as a reference to the checkpoint that holds it
 * and filled in by the reader, so that a turn costs the same however long the thread is.
 */
export type Frame =
  /** `event` is the name on the wire, with `|namespace` behind it for a subgraph. */
  | { readonly kind: "data"; readonly event: string; readonly data: Json }
  /** A frame too large for its batch, kept as a blob of the thread. */
  | { readonly kind: "blob"; readonly event: string; readonly name: string }
  | { readonly kind: "state"; readonly event: string; readonly ns: string; readonly checkpointId: string };

/** A frame with its number, unique and ascending within one generation of a thread. */
export interface NumberedFrame {
  readonly number: number;
  readonly runId: RunId;
  readonly frame: Frame;
}

/** A batch of frames as one item: what was written together, under one fence, by one run. */
export interface EventBatch {
  readonly first: number;
  readonly runId: RunId;
  readonly fence: number;
  readonly frames: readonly Frame[];
  /** Bytes of data that its run has said so far. */
  readonly usedBytes: number;
}

export function numbered(batch: EventBatch): NumberedFrame[] {
  return batch.frames.map((frame, i) => ({ number: batch.first + i, runId: batch.runId, frame }));
}
