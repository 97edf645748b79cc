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
import type { PendingInterrupt } from "../checkpoint/interrupts.ts";
import type { FencedSaver } from "../checkpoint/saver.ts";
import { HoldpointError } from "../core/errors.ts";

/**
 * A saver for one delivery: every checkpoint that it puts says which run wrote it, and bears that run's metadata.
 *
 * It remembers whether any task was interrupted, so that a run which ends otherwise need not ask the table; and whether
 * the table failed it, because only that tells the table's failures from those that a node passes on from elsewhere.
 */
export class RunSaver extends BaseCheckpointSaver {
  readonly #saver: FencedSaver;
  readonly #metadata: Readonly<Record<string, unknown>>;
  #interrupted = false;
  #failure: HoldpointError | undefined;

  constructor(saver: FencedSaver, metadata: Readonly<Record<string, unknown>>) {
    super(saver.serde);
    this.#saver = saver;
    this.#metadata = metadata;
  }

  /** True once a task of this delivery has raised an interrupt. */
  get interrupted(): boolean {
    return this.#interrupted;
  }

  /** The first error of our own that a call of the saver ended in. */
  get failure(): HoldpointError | undefined {
    return this.#failure;
  }

  /** Resolves once a checkpoint has landed. */
  async landed(ns: string, checkpointId: string): Promise<void> {
    await this.#noting(this.#saver.whereabouts.record(ns, checkpointId));
  }

  pendingInterrupts(): Promise<readonly PendingInterrupt[]> {
    return this.#noting(this.#saver.pendingInterrupts());
  }

  override put(
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    newVersions: ChannelVersions,
  ): Promise<RunnableConfig> {
    return this.#noting(this.#saver.put(config, checkpoint, { ...this.#metadata, ...metadata }, newVersions));
  }

  override putWrites(config: RunnableConfig, writes: PendingWrite[], taskId: string, taskPath?: string): Promise<void> {
    if (writes.some(([channel]) => channel === INTERRUPT)) this.#interrupted = true;
    return this.#noting(this.#saver.putWrites(config, writes, taskId, taskPath));
  }

  override getTuple(config: RunnableConfig): Promise<CheckpointTuple | undefined> {
    return this.#noting(this.#saver.getTuple(config));
  }

  override async *list(config: RunnableConfig, options?: CheckpointListOptions): AsyncGenerator<CheckpointTuple> {
    try {
      yield* this.#saver.list(config, options);
    } catch (error) {
      this.#note(error);
      throw error;
    }
  }

  override deleteThread(threadId: string): Promise<void> {
    return this.#saver.deleteThread(threadId);
  }

  override getNextVersion(current: number | undefined): number {
    return this.#saver.getNextVersion(current);
  }

  async #noting<T>(call: Promise<T>): Promise<T> {
    try {
      return await call;
    } catch (error) {
      this.#note(error);
      throw error;
    }
  }

  #note(error: unknown): void {
    if (error instanceof HoldpointError) this.#failure ??= error;
  }
}
