/**
 * Finds deliveries and schedules that are due, and has them sent and fired: beside the workers, in a part of the `due`
 * index of its own. Rows are hints; what may be done is decided on the item.
 *
 * Must stay true:
 * - A target that is slow keeps nobody waiting: tries run beside each other, a few for each endpoint and tenant.
 * - Nothing is lost with the process: what it had begun is found again by its row.
 */
import { tenantId } from "../../core/ids.ts";
import type { HookSender } from "../../core/webhook.ts";
import { READY_PREFIX, afterTenant, futureUntil, hookShard, parseHookPartition } from "../../storage/keys.ts";
import type { IndexRow } from "../../storage/table.ts";
import type { Assistants } from "../assistants.ts";
import type { Deps } from "../deps.ts";
import { fireDue } from "../schedules/fire.ts";
import { attempt, ready } from "./attempt.ts";

export interface CourierOptions {
  readonly deps: Deps;
  readonly assistants: Assistants;
  readonly sender: HookSender;
}

export interface Courier extends AsyncDisposable {
  start(): void;
  /** Looks once, and resolves when everything that was due has been tried; for tests that own the clock. */
  once(): Promise<void>;
}

const ROWS = 128;
const AT_ONCE = { all: 256, tenant: 16, endpoint: 4 } as const;
/** `local`: where reading the index is cheap, and what this process wrote itself is not told. */
const POLL_MS = { busy: 50, local: 200, idle: 1000 } as const;

export function createCourier(options: CourierOptions): Courier {
  return new PollingCourier(options);
}

class PollingCourier implements Courier {
  readonly #options: CourierOptions;
  readonly #stop = new AbortController();
  /** Tries that are under way, by the place of their row. */
  readonly #trying = new Map<
    string,
    { readonly tenant: string; readonly endpoint: string; readonly done: Promise<void> }
  >();
  #loop: Promise<void> = Promise.resolve();

  constructor(options: CourierOptions) {
    this.#options = options;
  }

  start(): void {
    this.#loop = this.#poll();
  }

  async once(): Promise<void> {
    await this.#look();
    await Promise.all([...this.#trying.values()].map(({ done }) => done));
  }

  /** Lets nothing begin any more, and breaks off what has not been answered: another process sends it again. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    await this.#loop;
    await Promise.all([...this.#trying.values()].map(({ done }) => done));
  }

  async #poll(): Promise<void> {
    const { clock, table, ids, log } = this.#options.deps;
    let seen: number | undefined;
    let lastLook = -Infinity;
    let found = 0;
    while (!this.#stop.signal.aborted) {
      const changes = table.changes?.();
      const staleMs = changes === undefined ? POLL_MS.idle : POLL_MS.local;
      const stale = clock.monotonic() - lastLook >= staleMs;
      if (changes === undefined || changes !== seen || stale || found > 0) {
        seen = changes;
        lastLook = clock.monotonic();
        found = await this.#look().catch((error: unknown) => {
          log.warn({ err: error }, "due webhooks and schedules could not be read");
          return 0;
        });
      }
      const isBusy = found > 0 || changes !== undefined;
      const jitter = 0.75 + Number.parseInt(ids.token(1), 16) / 512;
      await clock.sleep((isBusy ? POLL_MS.busy : POLL_MS.idle) * jitter, this.#stop.signal);
    }
  }

  /** How many rows it began something about. */
  async #look(): Promise<number> {
    const { deps } = this.#options;
    const shards = Array.from({ length: deps.settings.shards }, (_, shard) => hookShard(shard));
    const rows = (await Promise.all(shards.map((pk) => dueRows(deps, pk)))).flat();
    const past = rows.filter(({ sort }) => !sort.startsWith(READY_PREFIX));
    const begun = rows.filter((row) => row.sort.startsWith(READY_PREFIX) && this.#begin(row)).length;
    await Promise.all(past.map((row) => this.#past(row)));
    return begun + past.length;
  }

  /** A row whose time has come. */
  async #past({ key }: IndexRow): Promise<void> {
    const { deps, assistants } = this.#options;
    const place = parseHookPartition(key.pk);
    if (!place) return;
    try {
      if (place.endpoint === undefined) await fireDue(deps, assistants, key);
      else await ready(deps, key);
    } catch (error) {
      deps.log.warn({ item: key.sk, err: error }, "what is due could not be done; it stays due");
    }
  }

  #begin({ key }: IndexRow): boolean {
    const { deps, sender } = this.#options;
    const place = parseHookPartition(key.pk);
    const name = `${key.pk} ${key.sk}`;
    if (place?.endpoint === undefined || this.#trying.has(name) || this.#stop.signal.aborted) return false;
    const { tenant, endpoint } = place;
    const trying = [...this.#trying.values()].filter((one) => one.tenant === tenant);
    const ofEndpoint = trying.filter((one) => one.endpoint === endpoint).length;
    if (this.#trying.size >= AT_ONCE.all || trying.length >= AT_ONCE.tenant || ofEndpoint >= AT_ONCE.endpoint)
      return false;
    const done = attempt(deps, sender, key, this.#stop.signal)
      .catch((error: unknown) =>
        deps.log.warn(
          { tenant: tenantId(tenant), item: key.sk, err: error },
          "a webhook could not be tried; it stays due",
        ),
      )
      .finally(() => this.#trying.delete(name));
    this.#trying.set(name, { tenant, endpoint, done });
    return true;
  }
}

/** What is ready, from endpoint to endpoint, so that none with thousands hides another's; and what has become due. */
async function dueRows({ table }: Deps, pk: string): Promise<readonly IndexRow[]> {
  const rows: IndexRow[] = [];
  const to = futureUntil(table.now());
  for (let from = READY_PREFIX; ;) {
    const page = await table.queryIndex("due", pk, { from, to, limit: ROWS });
    rows.push(...page.items);
    const last = page.items.at(-1);
    if (!last || page.next === undefined || !last.sort.startsWith(READY_PREFIX)) return rows;
    from = afterTenant(last.sort);
  }
}
