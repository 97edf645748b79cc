/** Fails once in each run, and is tried again after a back-off that is too long to be waited for in memory. */
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import type { NodeConfig } from "holdpoint/graph";
import { FOLDER_VARIABLE, noteStep } from "../witness.ts";

/** Of the one back-off. */
export const BACKOFF_MS = 5_000;

const State = Annotation.Root({
  log: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
});

/** Whatever its process: whether nobody was here before in this run. */
function isFirst({ metadata }: NodeConfig): boolean {
  const { run_id: run } = (metadata ?? {}) as { readonly run_id?: string };
  try {
    closeSync(openSync(join(process.env[FOLDER_VARIABLE] ?? "", `stumbled-${run}`), "wx"));
    return true;
  } catch {
    return false;
  }
}

export const graph = new StateGraph(State)
  .addNode(
    "stumble",
    async (_state, config: NodeConfig) => {
      noteStep(config, "stumble");
      if (isFirst(config)) throw new Error("stumbled");
      return { log: ["got up"] };
    },
    { retryPolicy: { maxAttempts: 3, initialInterval: BACKOFF_MS, backoffFactor: 1, jitter: false } },
  )
  .addEdge(START, "stumble")
  .addEdge("stumble", END)
  .compile();
