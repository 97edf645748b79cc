import { FencedSaver } from "../checkpoint/saver.ts";
import { HoldpointError } from "../core/errors.ts";
import type { Json } from "../core/json.ts";
import type { Run } from "../core/run.ts";
import { visibleValues } from "../langgraph/visible.ts";
import type { Deps } from "./deps.ts";

/** Reads the values of a thread at one of its checkpoints, as clients see them. */
export interface StateReader {
  /** @throws HoldpointError `not_found` when the checkpoint is not there any more */
  valuesAt(run: Run, at: { readonly ns: string; readonly checkpointId: string }): Promise<Json>;
}

export function createStateReader(deps: Deps): StateReader {
  return {
    async valuesAt(run, { ns, checkpointId }) {
      const saver = new FencedSaver({ table: deps.table, blobs: deps.blobs, clock: deps.clock, tenant: run.tenant, threadId: run.threadId });
      const tuple = await saver.getTuple({
        configurable: { thread_id: run.threadId, checkpoint_ns: ns, checkpoint_id: checkpointId },
      });
      if (!tuple) throw new HoldpointError("not_found", `checkpoint ${checkpointId} of thread ${run.threadId} is not there any more`);
      const graph = ns === "" ? await deps.graphs.get(run.graphId)?.compiled() : undefined;
      return visibleValues(tuple.checkpoint.channel_values, graph);
    },
  };
}
