/**
 * LangGraph's checkpoint saver on the Table and Blob ports.
 *
 * I2: under a lease every append is fenced; who was told `lost` stays lost, and every later call says so at once.
 * I3: a checkpoint is one item, the writes of a task are one item. I7: memory here is only ever a shortcut.
 */
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
import { HoldpointError } from "../core/errors.ts";
import { createAnswers } from "./answers.ts";
import { deltaHistory } from "./delta-history.ts";
import type { DeltaHistories, DeltaRequest } from "./delta-history.ts";
import { headMoved } from "./authority.ts";
import type { Branch } from "./branch.ts";
import type { Loaded, View } from "./view.ts";
import { hasRoot, headOf } from "./head.ts";
import { historyOf } from "./history.ts";
import { outputOrError, pendingAmong, standingSo } from "./interrupts.ts";
import type { PendingInterrupt, Standing } from "./interrupts.ts";
import { createBranches, firstIndexOf } from "./branches.ts";
import type { Branches } from "./branches.ts";
import { createLifecycle } from "./lifecycle.ts";
import type { Lifecycle } from "./lifecycle.ts";
import type { SaverHead, SaverOptions } from "./options.ts";
import { createSerializer } from "./serializer/serializer.ts";
import { steady } from "./steady.ts";
import { createTaskReports } from "./task-reports.ts";
import type { TaskReports } from "./task-reports.ts";
import {
  addressOf,
  configFor,
  readAhead,
  requireCheckpoint,
  requireThread,
  runIdIn,
  toCheckpoint,
  toMetadata,
  toPendingWrites,
  toTuple,
  tuplesOf,
} from "./tuple.ts";
import type { TupleDeps } from "./tuple.ts";
import { createWhereabouts, factsOf } from "./whereabouts.ts";
import type { KnownWhereabouts, Whereabouts } from "./whereabouts.ts";
import type { InterruptOwner } from "./writes.ts";

/** LangGraph repeats the answers of a resume under a task id of 32 hex digits; nobody reads them. */
const ECHO_OF_RESUME = /^[0-9a-f]{32}$/;

/**
 * A saver for any thread, or, with a lease, for the one thread that the lease is about.
 * Every method may throw HoldpointError: `lost` under a lease that another has overtaken, `unavailable` when the table
 * is away, `corrupt` when what was read is not what was written, `invalid` for a value that cannot be serialized,
 * `limit` for a state above `stateBytes`, `unsupported` for what a newer version wrote.
 */
export class FencedSaver extends BaseCheckpointSaver {
  #options: SaverOptions;
  readonly #branches: Branches;
  readonly #reports: TaskReports = createTaskReports();
  readonly #answers = createAnswers();
  /** What these do and throw: see `Lifecycle`. */
  readonly prune: Lifecycle["prune"];
  readonly deleteForRuns: Lifecycle["deleteForRuns"];
  readonly copyThread: Lifecycle["copyThread"];
  readonly lifecycle: Lifecycle;
  readonly #whereabouts: KnownWhereabouts;
  #lost = false;
  /** Once this delivery has put a checkpoint of its own, it executes from there and not from an older one. */
  #hasMovedOn = false;
  #root: string | undefined;
  /** The root's head as `preload` read it; without a lease it answers one read and no more. */
  #preloaded: View | undefined;

  constructor(options: SaverOptions) {
    super(options.serde ?? createSerializer());
    this.#options = options;
    this.begin(options);
    this.#branches = createBranches(options, () => this.#lose());
    this.lifecycle = createLifecycle({
      options,
      branches: this.#branches,
      assertHeld: () => this.#assertHeld(),
      metadataOf: (branch, { stored }) => toMetadata(this.#tuples(branch), stored),
    });
    ({ prune: this.prune, deleteForRuns: this.deleteForRuns, copyThread: this.copyThread } = this.lifecycle);
    this.#whereabouts = createWhereabouts({
      ...options,
      root: () => this.#root,
      read: async (ns, checkpointId) => {
        const loaded = await (await this.#bound(ns)).load(checkpointId);
        return loaded && factsOf(ns, loaded.stored);
      },
    });
  }

  /** Says what the delivery is, once that is known and before its first write: `preload` needs none of it. */
  begin(delivery: Pick<SaverOptions, "newRoot" | "gate" | "executesFrom" | "stateBytes">): void {
    this.#options = { ...this.#options, ...delivery };
    this.#root = delivery.newRoot ?? this.#root;
    // A rejection reaches whoever waits for the gate; before anyone does it must not count as unhandled.
    delivery.gate?.catch(() => undefined);
  }

  /** A saver that has read the head of its thread already. */
  static async open(options: SaverOptions): Promise<FencedSaver> {
    const saver = new FencedSaver(options);
    await saver.preload();
    return saver;
  }

  /** True once another holder was seen. It never becomes false again. */
  get lost(): boolean {
    return this.#lost;
  }

  get whereabouts(): Whereabouts {
    return this.#whereabouts;
  }

  /** Reads the root's head and its task writes, so that the graph's first read needs no storage call. */
  async preload(): Promise<SaverHead | undefined> {
    const branch = await this.#bound("");
    const view = await branch.read(this.#options.expectedHead);
    this.#took(branch, await branch.latest(view));
    this.#preloaded = view;
    return this.head();
  }

  /** The root's head as this saver knows it, without a storage call; undefined before `preload` and for an empty thread. */
  head(): SaverHead | undefined {
    const latest = this.#branches.boundRoot()?.view?.latest;
    return latest && headOf(latest.record);
  }

  /** Whether any checkpoint that counts at the root goes on from the input of this lineage. Reads down to the newest. */
  async hasCheckpointOf(root: string): Promise<boolean> {
    return hasRoot(await this.#bound(""), root);
  }

  /** The channels at that head, without its task writes. */
  async headValues(): Promise<Readonly<Record<string, unknown>> | undefined> {
    const branch = this.#branches.boundRoot();
    const latest = branch?.view?.latest;
    return branch && latest && (await toCheckpoint(this.#tuples(branch), latest)).channel_values;
  }

  /**
   * Puts this lease's barrier into a namespace, so that what is read there can be trusted (I2). Of the root the caller
   * decides: a delivery that starts with new input leaves it out, because its input checkpoint is the barrier.
   */
  async barrier(ns = ""): Promise<void> {
    const branch = await this.#bound(ns);
    if (this.#options.lease === undefined) throw new HoldpointError("internal", "a barrier without a lease");
    await branch.exclusive(() => this.#raise(branch));
    await this.#passGate();
  }

  /** Hides what came after a checkpoint of the bound thread, or everything. Needs a lease. */
  async rollback(checkpointId: string | undefined, ns = ""): Promise<void> {
    await this.barrier(ns);
    const branch = await this.#bound(ns);
    await branch.exclusive(() => branch.reset(checkpointId));
    this.#preloaded = undefined;
  }

  override async getTuple(config: RunnableConfig): Promise<CheckpointTuple | undefined> {
    this.#assertHeld();
    const { threadId, ns = "", checkpointId } = addressOf(config);
    if (threadId === undefined) return undefined;
    this.#whereabouts.learn(ns, config);
    const branch = await this.#branches.of(threadId, ns, "fresh");
    if (ns !== "") await this.#trust(branch);
    const tuples = this.#tuples(branch);
    return steady(branch, async () => {
      const view = await this.#viewFor(branch);
      if (checkpointId === undefined) readAhead(tuples, view.latest);
      const loaded = await branch.at(view, checkpointId);
      this.#took(branch, loaded);
      const tuple = loaded && (await toTuple(tuples, loaded));
      if (tuple !== undefined) this.#reports.readSends(ns, tuple);
      return tuple;
    });
  }

  override async *list(config: RunnableConfig, options: CheckpointListOptions = {}): AsyncGenerator<CheckpointTuple> {
    this.#assertHeld();
    const { threadId, ns, checkpointId } = addressOf(config);
    if (ns !== undefined) this.#whereabouts.learn(ns, config);
    let left = options.limit ?? Infinity;
    for await (const branch of this.#branches.matching(threadId, ns)) {
      if (this.#options.lease === undefined) branch.forget();
      else if (branch.log.at.ns !== "") await this.#trust(branch);
      const found = historyOf({ branch, tuples: this.#tuples(branch), only: checkpointId, options });
      for await (const [tuple, loaded] of found) {
        if (left-- <= 0) return;
        this.#took(branch, loaded);
        yield tuple;
      }
    }
  }

  override async getDeltaChannelHistory({ config, channels }: DeltaRequest): Promise<DeltaHistories> {
    this.#assertHeld();
    const { threadId, ns = "", checkpointId } = addressOf(config);
    if (threadId === undefined) return {};
    const branch = await this.#branches.of(threadId, ns, "fresh");
    if (ns !== "") await this.#trust(branch);
    const { latest } = await this.#viewFor(branch);
    const of = checkpointId === undefined ? latest?.record : await branch.log.find(checkpointId);
    return deltaHistory(branch, this.#tuples(branch), { of, channels });
  }

  override async put(
    config: RunnableConfig,
    checkpoint: Checkpoint,
    metadata: CheckpointMetadata,
    newVersions: ChannelVersions,
  ): Promise<RunnableConfig> {
    this.#assertHeld();
    const address = addressOf(config);
    const threadId = requireThread(address);
    const ns = address.ns ?? "";
    const branch = await this.#branches.of(threadId, ns, "known");
    const { newRoot, stateBytes: maxBytes } = this.#options;
    const isInput = metadata.source === "input";
    // Not in the branch's own turn, for which an answer may have to wait.
    await this.#answers.landed();
    const stored = branch.exclusive(() =>
      branch.append({
        checkpoint,
        metadata,
        runId: runIdIn(metadata) ?? runIdIn(config.metadata),
        newVersions,
        serde: this.serde,
        maxBytes,
        parentId: address.checkpointId,
        fresh: isInput && (ns !== "" || newRoot !== undefined),
        addedSends: this.#reports.addedSends(ns, address.checkpointId),
        root: (parent) =>
          ns === "" && isInput && newRoot !== undefined ? newRoot : (parent?.record.root ?? this.#root),
        firstIndex: firstIndexOf(this.#options, threadId),
      }),
    );
    const passed = stored.then((written) => this.#passGate().then(() => factsOf(ns, written)));
    this.#whereabouts.writing(ns, checkpoint.id, passed);
    await passed;
    if (ns === "") this.#hasMovedOn = true;
    if (ns === "") this.#root ??= (await stored).record.root;
    return configFor(threadId, ns, checkpoint.id);
  }

  override putWrites(config: RunnableConfig, writes: PendingWrite[], taskId: string, taskPath = ""): Promise<void> {
    const stored = this.#putWrites(config, writes, taskId, taskPath);
    this.#answers.storing(writes, stored);
    return stored;
  }

  async #putWrites(config: RunnableConfig, all: PendingWrite[], taskId: string, taskPath: string): Promise<void> {
    this.#assertHeld();
    const writes = outputOrError(all);
    const { threadId, ns, checkpointId } = requireCheckpoint(addressOf(config));
    if (ECHO_OF_RESUME.test(taskId)) return;
    const owners = this.#reports.wrote({ ns, checkpointId, taskId, writes });
    const branch = await this.#branches.of(threadId, ns, "known");
    await this.#trust(branch, checkpointId);
    const bounds = { serde: this.serde, maxBytes: this.#options.stateBytes };
    await branch.putWrites({ ...bounds, checkpointId, taskId, taskPath, writes, owners });
    await this.#passGate();
  }

  override deleteThread(threadId: string): Promise<void> {
    return this.lifecycle.deleteThread(threadId);
  }

  /** The interrupts at the head of the thread, or at the older checkpoint from which this delivery executes. */
  async pendingInterrupts(): Promise<readonly PendingInterrupt[]> {
    const branch = await this.#bound("");
    const view = await this.#viewFor(branch);
    const loaded = await branch.at(view, this.#hasMovedOn ? undefined : this.#options.executesFrom);
    if (loaded === undefined) return [];
    this.#took(branch, loaded);
    const writes = await toPendingWrites(this.#tuples(branch), loaded.sets, loaded.stored.record.checkpointId);
    return pendingAmong(writes, (id) => this.#reports.ownerOf(id));
  }

  /** Of these interrupts those that stand so, by the writes of the task that raised each. */
  interruptsThat(stand: Standing, owners: readonly InterruptOwner[]): Promise<readonly InterruptOwner[]> {
    return standingSo(stand, owners, async (ns, checkpointId) => {
      const branch = await this.#bound(ns);
      if (this.#options.lease === undefined) branch.forget();
      else if (ns !== "") await this.#trust(branch);
      const loaded = await branch.load(checkpointId);
      return loaded && toPendingWrites(this.#tuples(branch), loaded.sets, checkpointId);
    });
  }

  /** A namespace of the thread to which this saver is bound. */
  async #bound(ns: string): Promise<Branch> {
    this.#assertHeld();
    const threadId = this.#options.lease?.threadId ?? this.#options.threadId;
    if (threadId === undefined) throw new HoldpointError("internal", "this saver is not bound to a thread");
    return this.#branches.of(threadId, ns, "fresh");
  }

  /** Memory is the truth under a lease once it is trusted; without one it answers the read that it was loaded for. */
  async #viewFor(branch: Branch): Promise<View> {
    const preloaded = branch.view !== undefined && branch.view === this.#preloaded;
    if (this.#options.lease === undefined) this.#preloaded = undefined;
    return preloaded || (this.#options.lease !== undefined && branch.trusted) ? branch.known() : branch.read();
  }

  /** Under a lease: makes sure that a record of it stands in this namespace. `at`: what the caller executes from. */
  async #trust(branch: Branch, at?: string): Promise<void> {
    if (this.#options.lease === undefined || branch.trusted) return;
    await branch.exclusive(async () => {
      const before = branch.view?.latest?.record.checkpointId;
      const { latest } = await this.#raise(branch);
      const now = latest?.record.checkpointId;
      if (at === undefined || now === at || now === before || at === this.#options.executesFrom) return;
      throw headMoved();
    });
  }

  #raise(branch: Branch): Promise<View> {
    return branch.raise(this.#root, branch.log.at.ns === "" ? this.#options.executesFrom : undefined);
  }

  /** Takes note of what a read showed. */
  #took(branch: Branch, loaded: Loaded | undefined): void {
    if (loaded === undefined) return;
    const { ns } = branch.log.at;
    const { record } = loaded.stored;
    this.#whereabouts.saw(record.checkpointId, factsOf(ns, loaded.stored));
    this.#reports.read(loaded.sets);
    if (ns === "") this.#root ??= record.root;
  }

  #tuples(branch: Branch): TupleDeps {
    return tuplesOf(branch, this.#branches.cells, this);
  }

  async #passGate(): Promise<void> {
    await this.#options.gate;
    this.#assertHeld();
  }

  #assertHeld(): void {
    if (this.#lost) this.#lose();
  }

  #lose(): never {
    if (!this.#lost) {
      this.#lost = true;
      this.#options.onLost?.();
    }
    throw new HoldpointError("lost", "another holder advances this thread");
  }
}
