import { HoldpointError } from "../../core/errors.ts";
import type { Deps } from "../deps.ts";

/** How long whoever needs an idle thread waits for the lease of a run that has just ended to be given up. */
const LEASE_SOON_MS = 1000;
const LEASE_POLL_MS = 20;

/** What `look` gives once it gives something. @throws HoldpointError `conflict` when the lease is still there after all */
export async function onceLeaseIsGone<T>({ clock }: Deps, look: () => Promise<T | undefined>): Promise<T> {
  const until = clock.monotonic() + LEASE_SOON_MS;
  do {
    const found = await look();
    if (found !== undefined) return found;
    await clock.sleep(LEASE_POLL_MS);
  } while (clock.monotonic() < until);
  throw threadBusy();
}

export const threadBusy = (): HoldpointError => new HoldpointError("conflict", "Thread is busy");
