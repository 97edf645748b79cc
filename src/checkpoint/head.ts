import type { Branch } from "./branch.ts";
import type { SaverHead } from "./options.ts";
import type { CheckpointRecord } from "./record.ts";

/** What a record at the head says to who has no use for its state. */
export function headOf({
  checkpointId,
  seq,
  fence,
  root,
  step,
  inputStep,
  source,
  runId,
}: CheckpointRecord): SaverHead {
  return {
    checkpointId,
    seq,
    fence,
    root,
    step,
    ...(inputStep === undefined ? {} : { inputStep }),
    source,
    ...(runId === undefined ? {} : { runId }),
  };
}

/** Whether any checkpoint that counts goes on from the input of this lineage. */
export async function hasRoot(branch: Branch, root: string): Promise<boolean> {
  for await (const { record } of branch.walk()) if (record.root === root) return true;
  return false;
}
