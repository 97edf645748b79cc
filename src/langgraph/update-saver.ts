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
import type { DeltaHistories, DeltaRequest } from "../checkpoint/delta-history.ts";
import type { FencedSaver } from "../checkpoint/saver.ts";

/** A saver for one update of a state: before its first write, and so not for an update that the graph refuses, it calls back. */
export class UpdateSaver extends BaseCheckpointSaver {
  readonly #saver: FencedSaver;
  readonly #before: () => Promise<void>;
  #called: Promise<void> | undefined;

  constructor(saver: FencedSaver, before: () => Promise<void>) {
    super(saver.serde);
    this.#saver = saver;
    this.#before = before;
  }

  override async put(
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    newVersions: ChannelVersions,
  ): Promise<RunnableConfig> {
    await this.#first();
    return this.#saver.put(config, checkpoint, metadata, newVersions);
  }

  override async putWrites(
    config: RunnableConfig,
    writes: PendingWrite[],
    taskId: string,
    taskPath?: string,
  ): Promise<void> {
    await this.#first();
    await this.#saver.putWrites(config, writes, taskId, taskPath);
  }

  override getTuple(config: RunnableConfig): Promise<CheckpointTuple | undefined> {
    return this.#saver.getTuple(config);
  }

  override list(config: RunnableConfig, options?: CheckpointListOptions): AsyncGenerator<CheckpointTuple> {
    return this.#saver.list(config, options);
  }

  override getDeltaChannelHistory(of: DeltaRequest): Promise<DeltaHistories> {
    return this.#saver.getDeltaChannelHistory(of);
  }

  override deleteThread(threadId: string): Promise<void> {
    return this.#saver.deleteThread(threadId);
  }

  override getNextVersion(current: number | undefined): number {
    return this.#saver.getNextVersion(current);
  }

  #first(): Promise<void> {
    this.#called ??= this.#before();
    return this.#called;
  }
}
