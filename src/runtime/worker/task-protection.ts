/** Asks whoever scales this process in to leave it alone while it works. Both return at once and never throw. */
export interface TaskProtection {
  /** The worker has begun to hold a thread, having held none. */
  busy(): void;
  /** It holds none any more. */
  idle(): void;
}

/** Where nobody scales in. */
export const noProtection: TaskProtection = { busy: () => undefined, idle: () => undefined };
