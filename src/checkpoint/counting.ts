/** Which of the stored task writes of a checkpoint count. */
import type { Log } from "./log.ts";
import type { CheckpointRecord, Mark } from "./record.ts";
import { visibleBelow } from "./writes.ts";
import type { WriteSet } from "./writes.ts";

export interface CountingAt {
  readonly log: Log;
  /** The last mark above the latest checkpoint. */
  readonly head: Mark | undefined;
  /** False only in tests that show what seals are for. */
  readonly seals: boolean;
}

/** Those of a checkpoint that need not be the latest. `known`: the marks above it, if already read. */
export async function countingUnder(
  { log, head, seals }: CountingAt,
  record: CheckpointRecord,
  { sets, known }: { readonly sets: readonly WriteSet[]; readonly known: readonly Mark[] | undefined },
): Promise<readonly WriteSet[]> {
  if (!seals) return sets;
  // A delivery that executes from an older checkpoint says so in the barrier at the head.
  const travels = head?.checkpointId === record.checkpointId ? visibleBelow({ fence: -1 }, [head]) : () => false;
  const under = (marks: readonly Mark[]): readonly WriteSet[] => {
    const below = visibleBelow(record, marks);
    return sets.filter((set) => below(set) || travels(set));
  };
  const next = under(known ?? (await log.marksAfter(record.seq)));
  // Only where something is left out can a reset have gone back here, and more have been written since.
  const isAll = known !== undefined || next.length === sets.length;
  return isAll ? next : under(await log.standingMarks(record.seq));
}
