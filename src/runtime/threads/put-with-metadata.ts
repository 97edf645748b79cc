import type { Thread } from "../../core/thread.ts";
import type { Stored, Written } from "../../storage/records.ts";
import type { Deps } from "../deps.ts";

/**
 * Writes a header whose metadata may be another than that of the one it replaces. Metadata that is an item outlives the
 * write only if the header names it: where the write has won, what it replaces is dropped, and what was kept for it where
 * it has lost. If that fails, or nobody comes to do it, the item goes with the thread: see `removeRemnants`.
 */
export async function putWithMetadata(
  deps: Deps,
  thread: Thread,
  before: Stored<Thread> | undefined,
): Promise<Written<Thread>> {
  const written = await deps.threads.put(thread, before === undefined ? "absent" : { version: before.version });
  const needless = written.won ? (before?.value ?? thread) : thread;
  const { metadata } = needless;
  const now = written.won ? thread : written.current?.value;
  const isNamed = now?.metadata.kind === "item" && metadata.kind === "item" && now.metadata.id === metadata.id;
  if (metadata.kind !== "item" || isNamed) return written;
  await deps.threads
    .dropMetadata(needless)
    .catch((error: unknown) =>
      deps.log.warn(
        { thread: thread.threadId, err: error },
        "metadata that is no longer named could not be dropped yet",
      ),
    );
  return written;
}
