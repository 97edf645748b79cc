/**
 * Roughly how many threads wait for a worker, so that new runs can be refused before anything is read or written for
 * them: the ready rows of the `due` index, counted now and then, and the runs that this process let in since.
 *
 * Must stay true:
 * - Nobody waits for a count, and none is made unless runs are coming in. What is not known refuses nobody.
 * - Counting takes a tenth of the time at most, and reads no further than the bound.
 */
import type { Clock } from "../../core/clock.ts";
import type { HoldpointError } from "../../core/errors.ts";
import type { IdSource, TenantId } from "../../core/ids.ts";
import { limitError } from "../../core/limits.ts";
import type { Limits } from "../../core/limits.ts";
import { READY_PREFIX, dueShard, part } from "../../storage/keys.ts";
import type { Table } from "../../storage/table.ts";
import { jittered } from "./retry-after.ts";

export interface Backlog {
  /** Why a new run of the tenant finds no room, in one pool or, where none is named, in any; undefined when it does. */
  refusal(tenant: TenantId, pool?: string): HoldpointError | undefined;
  /** Counts in a run that was not refused, once it is certain which pool it is for. */
  letIn(tenant: TenantId, pool?: string): void;
}

export interface BacklogOptions {
  readonly table: Table;
  readonly clock: Clock;
  readonly ids: IdSource;
  /** The pools in which runs may wait. */
  readonly pools: readonly string[];
  readonly shards: number;
  readonly limits: Pick<Limits, "backlog" | "backlogPerTenant">;
}

const PAGE_ROWS = 1000;
const COUNT_EVERY_MS = 1000;
/** A count that took long is repeated this many times later. */
const PAUSES_PER_COUNT = 10;
/** Who is refused comes back when a tenth of what waits may be gone. That is not known before the second count. */
const RETRY_MS = { least: 1000, unknown: 5000, most: 30_000 } as const;

export function createBacklog(options: BacklogOptions): Backlog {
  const counts = options.pools.map((pool) => new PoolCount(options, pool));
  const inPools = (pool: string | undefined): readonly PoolCount[] =>
    counts.filter((count) => pool === undefined || count.pool === pool);
  return {
    refusal(tenant, pool) {
      const refusals = inPools(pool).map((count) => count.refusal(tenant));
      return refusals.every((refusal) => refusal !== undefined) ? refusals[0] : undefined;
    },
    letIn(tenant, pool) {
      const possible = inPools(pool);
      if (possible.length === 1) possible[0]?.letIn(tenant);
    },
  };
}

class PoolCount {
  readonly pool: string;
  readonly #options: BacklogOptions;
  /** By tenant, as keys spell it. */
  #waiting = new Map<string, number>();
  #total = 0;
  #countedTotal = 0;
  #count: Counting | undefined;
  #countedAt: number | undefined;
  #countAgainAt = -Infinity;
  #letIn = 0;
  #endedPerMs: number | undefined;

  constructor(options: BacklogOptions, pool: string) {
    this.#options = options;
    this.pool = pool;
  }

  refusal(tenant: TenantId): HoldpointError | undefined {
    const { limits } = this.#options;
    this.#keepCounting();
    if (!this.#isKnown()) return undefined;
    const ofTenant = this.#waiting.get(part(tenant)) ?? 0;
    if (ofTenant >= limits.backlogPerTenant) {
      const what = `${ofTenant} threads of the tenant wait for a worker of pool ${this.pool}`;
      return limitError("backlogPerTenant", what, limits.backlogPerTenant, this.#retryAfter(limits.backlogPerTenant));
    }
    if (this.#total < limits.backlog) return undefined;
    const what = `${this.#total} threads wait for a worker of pool ${this.pool}`;
    return limitError("backlog", what, limits.backlog, this.#retryAfter(limits.backlog));
  }

  letIn(tenant: TenantId): void {
    const name = part(tenant);
    for (const waiting of [this.#waiting, this.#count?.meanwhile]) waiting?.set(name, (waiting.get(name) ?? 0) + 1);
    this.#total++;
    this.#letIn++;
  }

  /** While runs come in. When none came for a while, the count of before says nothing any more. */
  #isKnown(): boolean {
    const { clock } = this.#options;
    if (this.#countedAt === undefined) return false;
    return this.#count !== undefined || clock.monotonic() <= this.#countAgainAt + COUNT_EVERY_MS;
  }

  #retryAfter(limit: number): number {
    const { ids } = this.#options;
    const estimate = this.#endedPerMs === undefined ? RETRY_MS.unknown : limit / 10 / this.#endedPerMs;
    return jittered(Math.min(RETRY_MS.most, Math.max(RETRY_MS.least, estimate)), ids);
  }

  #keepCounting(): void {
    const { clock } = this.#options;
    if (this.#count || clock.monotonic() < this.#countAgainAt) return;
    if (!this.#isKnown()) this.#countedAt = undefined;
    this.#count = { beganAt: clock.monotonic(), letInBefore: this.#letIn, meanwhile: new Map() };
    void this.#finish(this.#count);
  }

  async #finish(count: Counting): Promise<void> {
    const { clock } = this.#options;
    try {
      this.#learn(count, await this.#rows());
    } catch {
      // A table that is away is noticed, and spoken of, by those who cannot do without it.
    }
    const now = clock.monotonic();
    this.#countAgainAt = now + Math.max(COUNT_EVERY_MS, PAUSES_PER_COUNT * (now - count.beganAt));
    this.#count = undefined;
  }

  #learn({ beganAt, letInBefore, meanwhile }: Counting, waiting: Map<string, number>): void {
    const counted = sum(waiting);
    if (this.#countedAt !== undefined) {
      const ended = this.#countedTotal + letInBefore - counted;
      this.#endedPerMs = Math.max(0, ended) / Math.max(1, beganAt - this.#countedAt);
    }
    for (const [tenant, n] of meanwhile) waiting.set(tenant, (waiting.get(tenant) ?? 0) + n);
    this.#waiting = waiting;
    this.#countedTotal = counted;
    this.#total = sum(waiting);
    this.#letIn -= letInBefore;
    this.#countedAt = beganAt;
  }

  /** Rows by tenant, as far as the bound. */
  async #rows(): Promise<Map<string, number>> {
    const { table, clock, shards, limits } = this.#options;
    const waiting = new Map<string, number>();
    let left = limits.backlog;
    for (let shard = 0; shard < shards && left > 0; shard++) {
      let after: string | undefined;
      do {
        const limit = Math.min(PAGE_ROWS, left);
        const range = { prefix: READY_PREFIX, limit, ...(after === undefined ? {} : { after }) };
        const page = await table.queryIndex("due", dueShard(this.pool, shard), range);
        for (const { sort } of page.items) {
          const tenant = sort.split("#", 2)[1] ?? "";
          waiting.set(tenant, (waiting.get(tenant) ?? 0) + 1);
        }
        left -= page.items.length;
        after = page.next;
        // Between pages others have their turn, also where a page is read without waiting for anything.
        if (after !== undefined && left > 0) await clock.sleep(0);
      } while (after !== undefined && left > 0);
    }
    return waiting;
  }
}

interface Counting {
  readonly beganAt: number;
  /** Runs let in between the count before and this one. */
  readonly letInBefore: number;
  /** Those let in since this one began, by tenant: it may have missed them. */
  readonly meanwhile: Map<string, number>;
}

const sum = (waiting: ReadonlyMap<string, number>): number => [...waiting.values()].reduce((total, n) => total + n, 0);
