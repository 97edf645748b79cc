/** Bounds of the HTTP surface. Sizes in bytes, times in milliseconds. */
export interface HttpLimits {
  /** Largest body of an ordinary request. */
  readonly bodyBytes: number;
  /** Largest body that another system answers a callback with. */
  readonly callbackBodyBytes: number;
  /** Largest body of a request that starts a run. */
  readonly runBodyBytes: number;
  /** Pause between two comments of a quiet event stream; constant, since clients measure it. */
  readonly heartbeatMs: number;
  /** Pause between two newlines of an answer that is still being waited for. */
  readonly keepAliveMs: number;
  /** A reader that takes nothing for so long is cut. */
  readonly stallMs: number;
}

export const DEFAULT_LIMITS: HttpLimits = {
  bodyBytes: 1024 * 1024,
  callbackBodyBytes: 128 * 1024,
  runBodyBytes: 6 * 1024 * 1024,
  heartbeatMs: 5_000,
  keepAliveMs: 1_000,
  stallMs: 30_000,
};
