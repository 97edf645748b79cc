import { BaseCheckpointSaver, INTERRUPT } from "@langchain/langgraph-checkpoint";
import type {
  ChannelVersions,
  Checkpoint,
  CheckpointListOptions,
  CheckpointMetadata,
  CheckpointTuple,
  PendingWrite,
} from "@langchain/langgraph-checkpoint";
import type { RunnableConfig } from "@langchain/core/runnables";

/**
 * A saver for one delivery: every checkpoint that it puts says which run wrote it, and bears that run's metadata. It
 * remembers whether any task was interrupted, so that a run which ends otherwise need not ask the table.
 */
export class RunSaver extends BaseCheckpointSaver {
  readonly #saver: BaseCheckpointSaver;
  readonly #metadata: Readonly<Record<string, unknown>>;
  #interrupted = false;

  constructor(saver: BaseCheckpointSaver, metadata: Readonly<Record<string, unknown>>) {
    super(saver.serde);
    this.#saver = saver;
    this.#metadata = metadata;
  }

  /** True once a task of this delivery has raised an interrupt. */
  get interrupted(): boolean {
    return this.#interrupted;
  }

  override put(
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    newVersions: ChannelVersions,
  ): Promise<RunnableConfig> {
    return this.#saver.put(config, checkpoint, { ...this.#metadata, ...metadata }, newVersions);
  }

  override putWrites(config: RunnableConfig, writes: PendingWrite[], taskId: string, taskPath?: string): Promise<void> {
    if (writes.some(([channel]) => channel === INTERRUPT)) this.#interrupted = true;
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
