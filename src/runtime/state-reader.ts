import { FencedSaver } from "../checkpoint/saver.ts";
import type { Json } from "../core/json.ts";
import type { Run } from "../core/run.ts";
import { valuesAt } from "../langgraph/views.ts";
import type { Deps } from "./deps.ts";
import type { ValuesAt } from "./value-cache.ts";

/** Reads the values of a thread at one of its checkpoints, as clients see them. `{}` when it is not there any more. */
export interface StateReader {
  valuesAt(run: Run, at: ValuesAt): Promise<Json>;
}

export function createStateReader(deps: Deps): StateReader {
  return {
    async valuesAt(run, at) {
      const known = deps.values.get(run, at);
      if (known !== undefined) return known;
      const { tenant, threadId, generation } = run;
      const saver = new FencedSaver({ table: deps.table, blobs: deps.blobs, clock: deps.clock, tenant, threadId, generation });
      const values = await shownAt(deps, saver, run, at);
      deps.values.set(run, at, values);
      return values;
    },
  };
}

/** What is shown of a checkpoint, read through a given saver: under a lease, its memory. */
export function shownAt(deps: Deps, saver: FencedSaver, run: Run, { ns, checkpointId }: ValuesAt): Promise<Json> {
  const checkpoint = { checkpointId, checkpointNs: ns };
  return valuesAt({ graph: deps.graphs.get(run.graphId), saver, threadId: run.threadId, checkpoint });
}
