/**
 * The header of a thread that is made as a copy of another. Until all is copied it is a deleted one, which nobody is
 * shown; whoever finds it so after its time deletes it, which raises its generation, so that who was late cannot show it.
 */
import type { TenantId, ThreadId } from "./ids.ts";
import { newThread } from "./thread.ts";
import type { Thread, ThreadMetadata } from "./thread.ts";

/** As long as the copying of the longest thread takes, and more. */
const COPY_MS = 3_600_000;

/** Before the first checkpoint is copied. */
export function copyBegun(
  id: { readonly tenant: TenantId; readonly threadId: ThreadId },
  { fence, priority }: Thread,
  now: number,
): Thread {
  return {
    ...newThread(id, { kind: "inline", value: {} }, now),
    deleted: true,
    copyingUntil: now + COPY_MS,
    // Of a thread that nobody has advanced nothing is read.
    fence: Math.min(fence, 1),
    priority,
  };
}

/** After the last: it is there from now on. It waits for nobody, since what waits there are holds of the source. */
export function copyShown(
  begun: Thread,
  source: Thread,
  { metadata, now }: { readonly metadata: ThreadMetadata; readonly now: number },
): Thread {
  const { copyingUntil: _, ...thread } = begun;
  const { strategy, ms } = source.ttl ?? {};
  return {
    ...thread,
    deleted: false,
    metadata,
    ...(strategy === undefined || ms === undefined ? {} : { ttl: { strategy, ms } }),
    // It has the graph of the first run of its source.
    ...(source.lastEnd === undefined ? {} : { lastEnd: "success" }),
    readyAt: now,
    createdAt: now,
    updatedAt: now,
  };
}
