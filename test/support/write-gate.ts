/** What storage writes pass: from the n-th on they fail, or the n-th waits. */
export interface WriteGate {
  /** To be awaited before each write. */
  readonly pass: () => Promise<void>;
  /** Fulfilled when the write that is to wait has come. */
  readonly reached: Promise<void>;
  readonly release: () => void;
}

/** Writes are counted from 1. */
export interface GateOptions {
  readonly failsFrom?: number;
  readonly holds?: number;
}

export function createWriteGate({ failsFrom = Infinity, holds }: GateOptions = {}): WriteGate {
  const reached = Promise.withResolvers<void>();
  const released = Promise.withResolvers<void>();
  let writes = 0;
  return {
    async pass() {
      writes += 1;
      if (writes >= failsFrom) throw new Error("the storage is away");
      if (writes !== holds) return;
      reached.resolve();
      await released.promise;
    },
    reached: reached.promise,
    release: () => released.resolve(),
  };
}
