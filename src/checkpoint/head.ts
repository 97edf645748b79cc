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
