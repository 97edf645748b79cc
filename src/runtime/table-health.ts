/**
 * Whether the table answers, learnt from the outcomes of everybody's calls.
 *
 * Must stay true:
 * - One failed call proves nothing (an item may be contended, a partition throttled, a disk full for writers alone):
 *   the table counts as away only when a probe of its own fails as well, or is not answered in time.
 * - Any call that is answered, whoever made it, proves that the table is back.
 * - Calls are passed on whatever the verdict is: who wants to be patient, as workers do, may be.
 */
import type { Clock } from "../core/clock.ts";
import { HoldpointError, isHoldpointError } from "../core/errors.ts";
import { tableKey } from "../storage/keys.ts";
import type { Table } from "../storage/table.ts";
import type { Log } from "./deps.ts";

export interface TableHealth {
  /** False from the moment at which the table is known to be away until it answers again. */
  readonly isThere: boolean;
  /** Asks the table, for a second at most; at once when it is known to be away. */
  look(): Promise<boolean>;
}

export interface TableHealthOptions {
  readonly clock: Clock;
  readonly log: Log;
}

/** A table whose calls are watched, and what has been learnt from them. Disposing it disposes the table inside. */
export function watchTable(
  inner: Table,
  options: TableHealthOptions,
): { readonly table: Table; readonly health: TableHealth } {
  const watch = new TableWatch(inner, options);
  const table: Table = {
    get: (key) => watch.call(inner.get(key)),
    put: (draft, when, writeOptions) => watch.call(inner.put(draft, when, writeOptions)),
    remove: (key, when) => watch.call(inner.remove(key, when)),
    query: (pk, range) => watch.call(inner.query(pk, range)),
    queryIndex: (index, pk, range) => watch.call(inner.queryIndex(index, pk, range)),
    batchGet: (keys) => watch.call(inner.batchGet(keys)),
    batchPut: (drafts) => watch.call(inner.batchPut(drafts)),
    add: (key, field, delta, ceiling) => watch.call(inner.add(key, field, delta, ceiling)),
    now: () => inner.now(),
    changes: inner.changes,
    async [Symbol.asyncDispose]() {
      watch.stop();
      await inner[Symbol.asyncDispose]();
    },
  };
  return { table, health: watch };
}

/** Calls are under way and nothing was answered for so long: the table is asked on purpose. */
const SILENT_MS = 500;
const PROBE_MS = 1000;
const PROBE_EVERY_MS = 1000;

class TableWatch implements TableHealth {
  readonly #inner: Table;
  readonly #options: TableHealthOptions;
  readonly #stop = new AbortController();
  #awaySince: number | undefined;
  #underWay = 0;
  #answeredAt = -Infinity;
  /** When the first of the calls that are under way began. */
  #askedSince = 0;
  #isListening = false;
  #isProbing = false;

  constructor(inner: Table, options: TableHealthOptions) {
    this.#inner = inner;
    this.#options = options;
  }

  get isThere(): boolean {
    return this.#awaySince === undefined;
  }

  async look(): Promise<boolean> {
    if (!this.isThere) return false;
    const failure = await this.#ask();
    if (failure !== undefined) void this.#probe();
    return failure === undefined;
  }

  async call<T>(answer: Promise<T>): Promise<T> {
    if (this.#underWay++ === 0) this.#askedSince = this.#options.clock.monotonic();
    if (!this.#isListening) void this.#listen();
    try {
      const result = await answer;
      this.#answered();
      return result;
    } catch (error) {
      if (isHoldpointError(error, "unavailable")) void this.#probe();
      throw error;
    } finally {
      this.#underWay--;
    }
  }

  stop(): void {
    this.#stop.abort();
  }

  #answered(): void {
    const { clock, log } = this.#options;
    this.#answeredAt = clock.monotonic();
    if (this.#awaySince === undefined) return;
    log.info({ away_ms: Math.round(clock.monotonic() - this.#awaySince) }, "the table answers again");
    this.#awaySince = undefined;
  }

  /** Notices, while calls are under way, that none is answered: each alone may take its time. */
  async #listen(): Promise<void> {
    const { clock } = this.#options;
    this.#isListening = true;
    while (this.#underWay > 0 && !this.#stop.signal.aborted) {
      await clock.sleep(SILENT_MS, this.#stop.signal);
      const quietSince = Math.max(this.#answeredAt, this.#askedSince);
      if (this.#underWay > 0 && clock.monotonic() - quietSince >= SILENT_MS) void this.#probe();
    }
    this.#isListening = false;
  }

  /** Asks until the table answers, once a second, and no sooner again. */
  async #probe(): Promise<void> {
    if (this.#isProbing) return;
    this.#isProbing = true;
    const { clock, log } = this.#options;
    do {
      const askedAt = clock.monotonic();
      const failure = await this.#ask();
      if (failure === undefined) this.#answered();
      else if (this.isThere && this.#answeredAt <= askedAt && !this.#stop.signal.aborted) {
        this.#awaySince = askedAt;
        log.warn({ err: failure }, "the table is away; what needs it is answered with 503 until it is back");
      }
      await clock.sleep(PROBE_EVERY_MS, this.#stop.signal);
    } while (!this.isThere && !this.#stop.signal.aborted);
    this.#isProbing = false;
  }

  /** Reads one item that every table has; what kept it from being read, if anything did. */
  async #ask(): Promise<HoldpointError | undefined> {
    const { clock } = this.#options;
    const asked = new AbortController();
    // In two halves: an event loop that was blocked ends the first before it reads the answer that has long been there.
    const late = async (): Promise<HoldpointError> => {
      for (const half of [PROBE_MS / 2, PROBE_MS / 2]) await clock.sleep(half, asked.signal);
      return new HoldpointError("unavailable", `the table gave no answer within ${PROBE_MS} ms`);
    };
    try {
      return await Promise.race([
        this.#inner.get(tableKey("shards")).then(
          () => undefined,
          (error: unknown) => (isHoldpointError(error, "unavailable") ? error : undefined),
        ),
        late(),
      ]);
    } finally {
      asked.abort();
    }
  }
}
