import { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import type {
  ChannelVersions,
  Checkpoint,
  CheckpointListOptions,
  CheckpointMetadata,
  CheckpointTuple,
  PendingWrite,
} from "@langchain/langgraph-checkpoint";
import type { RunnableConfig } from "@langchain/core/runnables";

/** A saver for one run: every checkpoint that it puts says which run wrote it, and bears that run's metadata. */
export class RunSaver extends BaseCheckpointSaver {
  readonly #saver: BaseCheckpointSaver;
  readonly #metadata: Readonly<Record<string, unknown>>;

  constructor(saver: BaseCheckpointSaver, metadata: Readonly<Record<string, unknown>>) {
    super(saver.serde);
    this.#saver = saver;
    this.#metadata = metadata;
  }

  override put(config: RunnableConfig, checkpoint: Checkpoint, metadata: CheckpointMetadata, newVersions: ChannelVersions): Promise<RunnableConfig> {
    return this.#saver.put(config, checkpoint, { ...this.#metadata, ...metadata }, newVersions);
  }

  override putWrites(config: RunnableConfig, writes: PendingWrite[], taskId: string, taskPath?: string): Promise<void> {
    return this.#saver.putWrites(config, writes, taskId, taskPath);
  }

  override getTuple(config: RunnableConfig): Promise<CheckpointTuple | undefined> {
    return this.#saver.getTuple(config);
  }

  override list(config: RunnableConfig, options?: CheckpointListOptions): AsyncGenerator<CheckpointTuple> {
    return this.#saver.list(config, options);
  }

  override deleteThread(threadId: string): Promise<void> {
    return this.#saver.deleteThread(threadId);
  }

  override getNextVersion(current: number | undefined): number {
    return this.#saver.getNextVersion(current);
  }
}
