import { FencedSaver } from "../checkpoint/saver.ts";
import type { Json } from "../core/json.ts";
import type { Run } from "../core/run.ts";
import { valuesAt } from "../langgraph/views.ts";
import { hasDeltaChannels, visibleValues } from "../langgraph/visible.ts";
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
      const saver = new FencedSaver({
        table: deps.table,
        blobs: deps.blobs,
        clock: deps.clock,
        tenant,
        threadId,
        generation,
      });
      const checkpoint = { checkpointId: at.checkpointId, checkpointNs: at.ns };
      const values = await valuesAt({ graph: deps.graphs.get(run.graphId), saver, threadId, checkpoint });
      deps.values.set(run, at, values);
      return values;
    },
  };
}

/** Keeps what is shown of a delivery's last checkpoint for those in this process who wait for it. */
export async function rememberHead(deps: Deps, saver: FencedSaver, run: Run): Promise<void> {
  const head = saver.head();
  const graph = await deps.graphs.get(run.graphId)?.compiled();
  if (!head || !graph || hasDeltaChannels(graph)) return;
  const channels = await saver.headValues();
  if (channels) deps.values.set(run, { ns: "", checkpointId: head.checkpointId }, visibleValues(channels, graph));
}
