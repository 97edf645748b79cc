import { HoldpointError } from "../core/errors.ts";

/** The right to write, as a lease gives it; without one the fence is 0 and a collision is retried. */
export interface Authority {
  readonly fence: number;
  readonly leased: boolean;
  /** Throws `lost`, for good. */
  lose(): never;
}

/** What a delivery is told that has to start again, because the head is not the one it started from. */
export const headMoved = (): HoldpointError =>
  new HoldpointError("conflict", "the head moved before this delivery's first record; start again from the new head", {
    detail: { reason: "head_moved" },
  });
