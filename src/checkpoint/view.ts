import type { Head } from "./log.ts";
import type { Mark } from "./record.ts";
import type { StoredCheckpoint } from "./state.ts";
import type { WriteSet } from "./writes.ts";

/** The head of a namespace as it was read or written last. */
export interface View extends Pick<Head, "top" | "cutSeq"> {
  readonly latest: StoredCheckpoint | undefined;
  readonly marks: readonly Mark[];
}

/** A checkpoint with its visible task writes. */
export interface Loaded {
  readonly stored: StoredCheckpoint;
  readonly sets: readonly WriteSet[];
}
