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
import type { DeltaHistories, DeltaRequest } from "../checkpoint/delta-history.ts";
import type { PendingInterrupt } from "../checkpoint/interrupts.ts";
import type { FencedSaver } from "../checkpoint/saver.ts";
import type { Clock } from "../core/clock.ts";
import { HoldpointError } from "../core/errors.ts";
import { limitError } from "../core/limits.ts";
import type { RunLimits } from "../core/limits.ts";
import { stepsUsedUp } from "./errors.ts";
import { sentNodes, triggeredNodes } from "./pending-work.ts";

export interface RunSaverOf {
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly limits: Pick<RunLimits, "parallelTasks">;
  /** Once it aborts nothing more is read or written. */
  readonly signal: AbortSignal;
  /** Hears of how many bytes the state of each checkpoint is, and how long it took to be stored. */
  readonly observer?: { readonly clock: Clock; stored(bytes: number, ms: number): void };
}

/**
 * A saver for one delivery: every checkpoint that it puts says which run wrote it, and bears that run's metadata.
 *
 * It refuses a checkpoint that opens too many tasks, before any of them starts; and it ends a lineage that has used up
 * its supersteps, wherever LangGraph's own count began: that one starts anew with every delivery and every resume.
 *
 * It remembers whether any task was interrupted, so that a run which ends otherwise need not ask the table; and whether
 * the table failed it, because only that tells the table's failures from those that a node passes on from elsewhere.
 */
export class RunSaver extends BaseCheckpointSaver {
  readonly #saver: FencedSaver;
  readonly #of: RunSaverOf;
  #isClosed = false;
  #interrupted = false;
  #failure: HoldpointError | undefined;

  constructor(saver: FencedSaver, of: RunSaverOf) {
    super(saver.serde);
    this.#saver = saver;
    this.#of = of;
  }

  /** The delivery is over: what its nodes still ask for is refused. */
  close(): void {
    this.#isClosed = true;
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
    return this.#noting(this.#put(config, checkpoint, { ...this.#of.metadata, ...metadata }, newVersions));
  }

  override putWrites(config: RunnableConfig, writes: PendingWrite[], taskId: string, taskPath?: string): Promise<void> {
    if (writes.some(([channel]) => channel === INTERRUPT)) this.#interrupted = true;
    return this.#noting(this.#putWrites(config, writes, taskId, taskPath));
  }

  override getTuple(config: RunnableConfig): Promise<CheckpointTuple | undefined> {
    return this.#noting(this.#getTuple(config));
  }

  override async *list(config: RunnableConfig, options?: CheckpointListOptions): AsyncGenerator<CheckpointTuple> {
    try {
      this.#assertOpen();
      yield* this.#saver.list(config, options);
    } catch (error) {
      this.#note(error);
      throw error;
    }
  }

  override getDeltaChannelHistory(of: DeltaRequest): Promise<DeltaHistories> {
    return this.#noting(this.#saver.getDeltaChannelHistory(of));
  }

  override deleteThread(threadId: string): Promise<void> {
    return this.#saver.deleteThread(threadId);
  }

  override getNextVersion(current: number | undefined): number {
    return this.#saver.getNextVersion(current);
  }

  async #put(
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    newVersions: ChannelVersions,
  ): Promise<RunnableConfig> {
    this.#assertOpen();
    const tasks = sentNodes(checkpoint).length + triggeredNodes(checkpoint).length;
    const { parallelTasks } = this.#of.limits;
    if (tasks > parallelTasks)
      throw limitError("parallelTasks", `a superstep would consist of ${tasks} tasks`, parallelTasks);
    const { observer } = this.#of;
    const began = observer?.clock.monotonic() ?? 0;
    const written = await this.#saver.put(config, checkpoint, metadata, newVersions);
    const named: unknown = config.configurable?.["checkpoint_ns"];
    const ns = typeof named === "string" ? named : "";
    const { step, inputStep, bytes } = await this.#saver.whereabouts.record(ns, checkpoint.id);
    observer?.stored(bytes, observer.clock.monotonic() - began);
    const { recursionLimit: limit } = config;
    // LangGraph stops at the same superstep, if it has counted from the input.
    if (limit !== undefined && inputStep !== undefined && step - inputStep > limit) throw stepsUsedUp(limit);
    return written;
  }

  /** A first read in a namespace leaves a barrier there. */
  async #getTuple(config: RunnableConfig): Promise<CheckpointTuple | undefined> {
    this.#assertOpen();
    return this.#saver.getTuple(config);
  }

  async #putWrites(config: RunnableConfig, writes: PendingWrite[], taskId: string, taskPath?: string): Promise<void> {
    this.#assertOpen();
    await this.#saver.putWrites(config, writes, taskId, taskPath);
  }

  #assertOpen(): void {
    if (this.#isClosed || this.#of.signal.aborted) throw new HoldpointError("unavailable", "the delivery is over");
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
