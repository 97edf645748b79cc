/** What a graph leaves in the log, written by hand: these tests execute none. */
import type { Drive } from "../../src/langgraph/drive.ts";
import { checkpointOf, configOf } from "../support/checkpoints.ts";

/** Writes the next checkpoint of a run: its input at first, its input applied, and then the result of a superstep each. */
export async function step({ saver, run }: Pick<Drive, "saver" | "run">, say = ""): Promise<string> {
  const head = saver.head();
  const isInput = head?.runId !== run.runId;
  const at = head === undefined ? -1 : head.step + 1;
  const checkpoint = checkpointOf({ values: { said: say }, versions: { said: at + 2 } });
  const metadata = { source: isInput ? "input" : "loop", step: at, parents: {}, run_id: run.runId } as const;
  await saver.put(configOf(run.threadId, head?.checkpointId), checkpoint, metadata, { said: at + 2 });
  return checkpoint.id;
}
