/** LangGraph's own saver in memory, with a model of the lifecycle calls, of which it has none but deletion. */
import type { RunnableConfig } from "@langchain/core/runnables";
import { MemorySaver } from "@langchain/langgraph-checkpoint";
import type { Checkpoint, CheckpointMetadata } from "@langchain/langgraph-checkpoint";
import { addressOf, runIdIn } from "../../src/checkpoint/tuple.ts";

const keyOf = (threadId: string, ns: string, id: string): string => JSON.stringify([threadId, ns, id]);

/** The calls are as `Lifecycle` has them, of one thread at a time. */
export class ReferenceSaver extends MemorySaver {
  /** The run that wrote each checkpoint. */
  readonly #runs = new Map<string, string>();

  override async put(
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
  ): Promise<RunnableConfig> {
    const { threadId = "", ns = "" } = addressOf(config);
    const runId = runIdIn(metadata) ?? runIdIn(config.metadata);
    if (runId !== undefined) this.#runs.set(keyOf(threadId, ns, checkpoint.id), runId);
    return super.put(config, checkpoint, metadata);
  }

  /** Of each namespace the latest checkpoint stays, with its writes. */
  keepLatest(threadId: string): void {
    const latest = Object.entries(this.storage[threadId] ?? {}).map(([ns, of]) => {
      return [ns, Object.keys(of).toSorted().at(-1)] as const;
    });
    const kept = new Map(latest);
    this.#remove(threadId, (ns, id) => id !== kept.get(ns));
  }

  /** Every checkpoint of these runs goes with its writes. */
  deleteForRuns(runIds: readonly string[], threadId: string): void {
    this.#remove(threadId, (ns, id) => runIds.includes(this.#runs.get(keyOf(threadId, ns, id)) ?? ""));
  }

  /** @throws Error where the target has checkpoints or is the source, or that has none */
  copyThread(source: string, target: string): void {
    if (this.storage[source] === undefined) throw new Error("nothing to copy");
    if (source === target || this.storage[target] !== undefined) throw new Error("the target is not free");
    for (const [ns, checkpoints] of Object.entries(this.storage[source] ?? {})) {
      for (const [id, saved] of Object.entries(checkpoints)) {
        ((this.storage[target] ??= {})[ns] ??= {})[id] = structuredClone(saved);
        const [from, to] = [keyOf(source, ns, id), keyOf(target, ns, id)];
        const [writes, run] = [this.writes[from], this.#runs.get(from)];
        if (writes !== undefined) this.writes[to] = structuredClone(writes);
        if (run !== undefined) this.#runs.set(to, run);
      }
    }
  }

  #remove(threadId: string, isDoomed: (ns: string, id: string) => boolean): void {
    const namespaces = this.storage[threadId] ?? {};
    for (const [ns, checkpoints] of Object.entries(namespaces)) {
      for (const id of Object.keys(checkpoints)) {
        if (!isDoomed(ns, id)) continue;
        delete checkpoints[id];
        delete this.writes[keyOf(threadId, ns, id)];
      }
      if (Object.keys(checkpoints).length === 0) delete namespaces[ns];
    }
    if (Object.keys(namespaces).length === 0) delete this.storage[threadId];
  }
}
