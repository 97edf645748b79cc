/**
 * Copies a thread with all of its checkpoints. The header of the copy is written first, as that of a thread which is not
 * there (`copyBegun`): it stands in the `due` index, so that what was copied is removed if nobody comes to show it (I11).
 * The write that shows it is the commit, and meets whoever has begun to remove it.
 *
 * The source is not held. Whoever advances it has taken a fence for that (I2): where the header's is the same before and
 * after, nothing was written in between, and the copy is the thread as it was at one moment.
 */
import { FencedSaver } from "../../checkpoint/saver.ts";
import { HoldpointError } from "../../core/errors.ts";
import { threadId as asThreadId } from "../../core/ids.ts";
import type { ThreadId } from "../../core/ids.ts";
import type { Principal } from "../../core/principal.ts";
import { copyBegun, copyShown } from "../../core/thread-copy.ts";
import { threadStatus } from "../../core/thread.ts";
import type { Thread } from "../../core/thread.ts";
import type { ThreadRef } from "../../storage/keys.ts";
import type { Stored } from "../../storage/records.ts";
import { threadNotFound } from "../accept/accept-answer.ts";
import type { Deps } from "../deps.ts";
import { saverParts } from "../saver-parts.ts";
import { putWithMetadata } from "./put-with-metadata.ts";
import { onceLeaseIsGone, threadBusy } from "./lease-soon.ts";
import { abandonCopy } from "./remove-thread.ts";
import { upToDate } from "./repair.ts";

/** Returns the copy. @throws HoldpointError `not_found`; `conflict` while the thread is busy, or when it was used meanwhile */
export async function copyThread(deps: Deps, { tenant }: Principal, threadId: ThreadId): Promise<Thread> {
  const source = await idle(deps, { tenant, threadId });
  const target = { tenant, threadId: asThreadId(deps.ids.uuid()) };
  const begun = await deps.threads.put(copyBegun(target, source, deps.table.now()), "absent");
  if (!begun.won) throw new HoldpointError("internal", `a new thread id was taken: ${target.threadId}`);
  try {
    const { generation } = begun.stored.value;
    const saver = new FencedSaver({ ...saverParts(deps, tenant), threadId, generation: source.generation });
    await saver.lifecycle.copyInto(threadId, { threadId: target.threadId, generation });
    await assertUnused(deps, source);
    return await show(deps, begun.stored, source);
  } catch (error) {
    // Otherwise a worker does.
    await abandonCopy(deps, target).catch((cause: unknown) =>
      deps.log.warn({ thread: target.threadId, err: cause }, "what was copied to a thread could not be removed yet"),
    );
    // What was read may have been missing for no other reason.
    await assertUnused(deps, source);
    throw error;
  }
}

/** The thread, while nobody advances it. */
const idle = (deps: Deps, ref: ThreadRef): Promise<Thread> =>
  onceLeaseIsGone(deps, async () => {
    const header = await upToDate(deps, ref);
    if (!header || header.value.deleted) throw threadNotFound(ref);
    if (threadStatus(header.value) === "busy") throw threadBusy();
    return header.value.lease === undefined ? header.value : undefined;
  });

async function assertUnused(deps: Deps, { tenant, threadId, fence, generation }: Thread): Promise<void> {
  const now = await deps.threads.get({ tenant, threadId });
  if (!now || now.value.deleted || now.value.generation !== generation) throw threadNotFound({ threadId });
  if (now.value.fence !== fence) throw new HoldpointError("conflict", "Thread was used while it was being copied");
}

async function show(deps: Deps, header: Stored<Thread>, source: Thread): Promise<Thread> {
  const begun = header.value;
  const said = { ...(await deps.threads.metadata(source)), thread_id: begun.threadId };
  const metadata = await deps.threads.keepMetadata(begun, said, deps.ids.token(8));
  const shown = copyShown(begun, source, { metadata, now: deps.table.now() });
  const written = await putWithMetadata(deps, shown, header);
  const now = written.won ? written.stored : written.current;
  // Whoever has removed it has raised its generation; and nobody else could have shown it.
  if (now && now.value.generation === begun.generation && now.value.copyingUntil === undefined) return now.value;
  throw new HoldpointError("unavailable", "copying the thread took too long; repeat the request");
}
