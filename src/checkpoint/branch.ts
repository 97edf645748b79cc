/**
 * What a saver knows of one namespace, and the only way in which it writes there.
 *
 * I2: under a lease, nothing that was read here is trusted before a record of the lease's fence stands at the head; from
 * then on memory is as good as the table, because every other writer collides. I3: one append, one commit point.
 */
import type { SerializerProtocol } from "@langchain/langgraph-checkpoint";
import { HoldpointError } from "../core/errors.ts";
import { headMoved } from "./authority.ts";
import type { Authority } from "./authority.ts";
import type { Draft } from "../storage/table.ts";
import type { CellStore } from "./cell-store.ts";
import { countingUnder } from "./counting.ts";
import type { AppendResult, Log, Standing } from "./log.ts";
import type { CheckpointRecord, CutRecord, LogRecord, Mark } from "./record.ts";
import type { AppendInput, PutWritesInput } from "./put-input.ts";
import { assertFits } from "./state-size.ts";
import { foldChain } from "./fold.ts";
import { composeRecord, dumpLike, prepareState } from "./state.ts";
import type { StateDeps, StoredCheckpoint } from "./state.ts";
import type { splice } from "./splice.ts";
import { assertStanding, steady, unlessCut, unlessGone } from "./steady.ts";
import type { Loaded, View } from "./view.ts";
import { sealName, visibleBelow, writeIndex } from "./writes.ts";
import type { IndexedWrite, TaskWrites, Visibility, WriteSet } from "./writes.ts";

export interface BranchDeps {
  readonly log: Log;
  readonly writes: TaskWrites;
  readonly cells: CellStore;
  readonly authority: Authority;
  readonly splice: typeof splice;
  /** False only in tests that show what seals are for. */
  readonly seals: boolean;
}

const cutIn = ({ cutSeq }: View): { readonly cutSeq?: number } => (cutSeq === 0 ? {} : { cutSeq });

export class Branch {
  readonly #deps: BranchDeps;
  #view: View | undefined;
  /** Stored writes of the latest checkpoint, as long as nothing was written since they were read. */
  #sets: readonly WriteSet[] | undefined;
  /** Counts beginnings and ends of writes: what was read while it changed is not kept. */
  #epoch = 0;
  #lastLoaded: StoredCheckpoint | undefined;
  /** Counts beginnings and ends of appends: a head that was read while one was under way may be older than it. */
  #appends = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(deps: BranchDeps) {
    this.#deps = deps;
  }

  get log(): Log {
    return this.#deps.log;
  }

  /** What is in memory; undefined when nothing has been read, or an outcome is unknown. */
  get view(): View | undefined {
    return this.#view;
  }

  get fence(): number {
    return this.#deps.authority.fence;
  }

  /** Whether a record of this lease stands at the head. */
  get trusted(): boolean {
    return this.#view !== undefined && this.#view.top.fence === this.#deps.authority.fence;
  }

  /** Whether memory is as good as the table. */
  get held(): boolean {
    return this.#deps.authority.leased && this.trusted;
  }

  /** Runs writers one after the other, in the order in which they came. */
  exclusive<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#last.then(work, work);
    this.#last = result.catch(() => undefined);
    return result;
  }

  /**
   * Reads the head from the table. `guess`: the checkpoint that is probably the latest, so that its writes are read at
   * the same time. @throws HoldpointError `lost` when a later holder stands there
   */
  async read(guess?: string): Promise<View> {
    const { log, authority } = this.#deps;
    for (;;) {
      const [appends, epoch] = [this.#appends, this.#epoch];
      const [{ latest, chain, ...head }, guessed] = await Promise.all([
        log.head(),
        guess === undefined ? undefined : this.readSets(guess),
      ]);
      if (authority.leased && head.top.fence > authority.fence) authority.lose();
      if (appends !== this.#appends) continue;
      this.#view = { ...head, latest: latest === undefined ? undefined : foldChain(log.at, chain) };
      const sets = latest?.checkpointId === guess ? guessed : undefined;
      this.#sets = latest === undefined ? [] : epoch === this.#epoch ? sets : undefined;
      return this.#view;
    }
  }

  /** Checkpoints that count, newest first, from `below` on. @throws HoldpointError `lost` when a later holder's is among them */
  async *walk(below?: number): AsyncGenerator<Standing> {
    const { log, authority } = this.#deps;
    for await (const standing of log.walk(below)) {
      const top = standing.marks.at(-1) ?? standing.record;
      if (authority.leased && top.fence > authority.fence) authority.lose();
      yield standing;
    }
  }

  async known(): Promise<View> {
    return this.#view ?? (await this.read());
  }

  forget(): void {
    this.#view = undefined;
    this.#sets = undefined;
  }

  /** The latest checkpoint with its visible writes. */
  async latest(view: View): Promise<Loaded | undefined> {
    if (view.latest === undefined) return undefined;
    const { record } = view.latest;
    const sets = this.#view === view ? this.#sets : undefined;
    const epoch = this.#epoch;
    const read = sets ?? (await this.readSets(record.checkpointId));
    if (this.#view === view && this.#epoch === epoch) this.#sets = read;
    return { stored: view.latest, sets: read.filter(this.#visible(visibleBelow(record, view.marks))) };
  }

  /** A checkpoint, or the latest, with its visible writes. */
  at(view: View, checkpointId = view.latest?.record.checkpointId): Promise<Loaded | undefined> {
    const isLatest = checkpointId === undefined || checkpointId === view.latest?.record.checkpointId;
    return isLatest ? this.latest(view) : this.load(checkpointId);
  }

  /** A checkpoint by its id, with the writes that count under it. */
  async load(checkpointId: string): Promise<Loaded | undefined> {
    const view = this.#view;
    if (this.held && view?.latest?.record.checkpointId === checkpointId) return this.latest(view);
    const record = await this.log.find(checkpointId);
    return record && this.loadRecord(record, await this.log.chain(record));
  }

  async loadRecord(
    record: CheckpointRecord,
    chain: readonly CheckpointRecord[],
    known?: readonly Mark[],
  ): Promise<Loaded> {
    const stored = foldChain(this.log.at, chain);
    this.#lastLoaded = stored;
    const sets = await this.readSets(record.checkpointId);
    if (sets.length === 0) return { stored, sets };
    const at = { log: this.log, head: (await this.known()).marks.at(-1), seals: this.#deps.seals };
    return { stored, sets: await countingUnder(at, record, { sets, known }) };
  }

  /** Every stored write set of a checkpoint, visible or not. */
  readSets(checkpointId: string): Promise<readonly WriteSet[]> {
    return this.#deps.writes.read(this.log.at, checkpointId);
  }

  /**
   * Puts a barrier of this lease at the head, unless a record of it stands there already. `from`: the older checkpoint
   * from which the delivery executes. @throws HoldpointError `lost`
   */
  async raise(root: string | undefined, from?: string): Promise<View> {
    const { authority } = this.#deps;
    for (;;) {
      const view = await this.known();
      if (view.top.fence > authority.fence) authority.lose();
      if (view.top.fence === authority.fence) return view;
      const sealed = await this.#seal(view, from);
      const sets = this.#sets;
      const seq = view.top.seq + 1;
      const checkpointId = from ?? view.latest?.record.checkpointId;
      const { fence } = authority;
      const mark: Mark = {
        kind: "barrier",
        seq,
        fence,
        sealed,
        ...(checkpointId === undefined ? {} : { checkpointId }),
        ...(root === undefined ? {} : { root }),
        ...cutIn(view),
      };
      const result = await this.#orForget(() => this.#append(mark));
      if (result.won) {
        this.#view = { ...view, top: { seq, fence }, marks: [...view.marks, mark] };
        this.#sets = sets;
        return this.#view;
      }
      if (result.current.fence > authority.fence) authority.lose();
      this.forget();
    }
  }

  /**
   * Appends a checkpoint; finding it already there is success.
   * @throws HoldpointError `lost`; `limit` above `maxBytes`; `conflict` when the head moved before this delivery's first record, or a lease holds the thread
   */
  async append(input: AppendInput): Promise<StoredCheckpoint> {
    const { checkpoint, parentId, serde } = input;
    const epoch = this.#epoch;
    const stateDeps = this.#stateDeps(serde);
    let view = await this.known();
    const { parent, prepared } = await steady(this, async () => {
      const from = await this.#parentOf(input, await this.known());
      return { parent: from, prepared: await prepareState(stateDeps, { ...input, parent: from }) };
    });
    assertFits(prepared.channels.values(), input);
    for (;;) {
      if (view.latest?.record.checkpointId === checkpoint.id) return view.latest;
      this.mayAppend(view);
      await assertStanding(this.log, view, { parentId, parent, source: prepared.source });
      const linear = parent !== undefined && view.latest?.record.seq === parent.record.seq;
      const seq = view.top.seq + 1;
      const [fence, cutSeq] = [this.fence, view.cutSeq];
      const at = { seq, fence, parentId, parent, linear, root: input.root(parent), cutSeq };
      const stored = await unlessCut(this.log, () => this.#orForget(() => composeRecord(stateDeps, prepared, at)));
      if (stored === undefined) {
        view = await this.known();
        continue;
      }
      const result = await this.#orForget(() =>
        this.log.append(stored.record, seq === 1 ? input.firstIndex : undefined),
      );
      const { current } = result.won ? {} : result;
      if (current === undefined || (current.kind === "checkpoint" && current.checkpointId === checkpoint.id)) {
        this.#view = { top: { seq, fence }, latest: stored, marks: [], cutSeq };
        this.#sets = this.#epoch === epoch ? [] : undefined;
        return stored;
      }
      view = await this.#collided(current.fence);
    }
  }

  async #append(record: LogRecord, index?: Draft["index"]): Promise<AppendResult> {
    this.#appends++;
    try {
      return await this.log.append(record, index);
    } finally {
      this.#appends++;
    }
  }

  /** After another record was found where ours was to stand: the new view, where a retry is allowed. */
  async #collided(fence: number): Promise<View> {
    const { authority } = this.#deps;
    const wasTrusted = this.trusted;
    this.forget();
    if (!authority.leased) return this.read();
    if (fence > authority.fence || wasTrusted || fence === authority.fence) authority.lose();
    throw headMoved();
  }

  /**
   * Goes back to a checkpoint, or to before the first: what came after it is listed no more.
   * @throws HoldpointError `not_found`, `lost`
   */
  async reset(checkpointId: string | undefined): Promise<void> {
    const { fence } = this;
    const view = await this.known();
    const record = checkpointId === undefined ? undefined : await this.log.find(checkpointId);
    if (checkpointId !== undefined && record === undefined) {
      throw new HoldpointError("not_found", `checkpoint ${checkpointId} is not in this thread`);
    }
    const loaded = record && (await this.loadRecord(record, await this.log.chain(record)));
    const mark: Mark = {
      kind: "reset",
      seq: view.top.seq + 1,
      fence,
      targetSeq: record?.seq ?? 0,
      ...(checkpointId === undefined ? {} : { checkpointId }),
      ...cutIn(view),
      sealed: (loaded?.sets ?? []).map(sealName),
    };
    const result = await this.#orForget(() => this.#append(mark));
    this.forget();
    if (!result.won) this.#deps.authority.lose();
  }

  /** Stores the writes of one task. @throws HoldpointError `invalid` for a value that cannot be serialized; `limit` */
  async putWrites(input: PutWritesInput): Promise<void> {
    const { checkpointId, taskId, taskPath, owners } = input;
    const { latest } = this.#view ?? {};
    const before = latest?.record.checkpointId === checkpointId ? latest : undefined;
    const writes = await Promise.all(
      input.writes.map(async ([channel, value], position): Promise<IndexedWrite> => {
        const cell = await dumpLike(this.#stateDeps(input.serde), [channel, value], before?.channels.get(channel));
        return { idx: writeIndex(channel, position), channel, cell };
      }),
    );
    const cells = writes.map(({ cell }) => cell);
    assertFits(cells, input);
    const set = { taskId, taskPath, fence: this.fence, writes, owners };
    this.#epoch++;
    try {
      await this.#deps.writes.put(this.log.at, checkpointId, set);
    } finally {
      this.#epoch++;
      this.#sets = undefined;
    }
  }

  /** Appends a cut to what this view shows, `latest` being what it repeats; false when somebody else has appended. */
  async putCut(record: CutRecord, latest: StoredCheckpoint | undefined, index: Draft["index"]): Promise<boolean> {
    const { authority } = this.#deps;
    const result = await this.#orForget(() => this.#append(record, index));
    this.forget();
    const { seq, fence } = record;
    if (result.won)
      this.#view = { top: { seq, fence }, latest, marks: record.kind === "reset" ? [record] : [], cutSeq: seq };
    else if (authority.leased && result.current.fence > authority.fence) authority.lose();
    return result.won;
  }

  #stateDeps(serde: SerializerProtocol): StateDeps {
    const { cells, splice } = this.#deps;
    return { at: this.log.at, cells, splice, serde };
  }

  /** @throws HoldpointError `lost`; `conflict` without a lease where others have one */
  mayAppend(view: View): void {
    const { authority } = this.#deps;
    if (view.top.fence <= authority.fence) return;
    if (authority.leased) authority.lose();
    throw new HoldpointError("conflict", "the thread is advanced under leases; a saver without one may only read it");
  }

  async #parentOf({ parentId, metadata }: AppendInput, view: View): Promise<StoredCheckpoint | undefined> {
    const parent = [view.latest, this.#lastLoaded].find((known) => known?.record.checkpointId === parentId);
    const record = parent || parentId === undefined ? undefined : await this.log.find(parentId);
    const read = record ? foldChain(this.log.at, await this.log.chain(record)) : parent;
    return unlessGone(this.log, view, { parentId, parent: read, source: metadata.source });
  }

  /** Earlier writes that stay visible: those that were visible under the head before this barrier, and no others. */
  async #seal(view: View, from: string | undefined): Promise<readonly string[]> {
    const { authority } = this.#deps;
    const latest = await this.latest(view);
    const sets = [...(latest?.sets ?? [])];
    const head = view.marks.at(-1);
    if (from !== undefined && from !== view.latest?.record.checkpointId && head?.checkpointId === from) {
      sets.push(...(await this.readSets(from)).filter(visibleBelow({ fence: -1 }, [head])));
    }
    return sets.filter((set) => set.fence < authority.fence).map(sealName);
  }

  #visible(visible: Visibility): Visibility {
    return this.#deps.seals ? visible : () => true;
  }

  /** An error leaves the outcome unknown: memory of this namespace is then worth nothing. */
  async #orForget<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      this.forget();
      throw error;
    }
  }
}
