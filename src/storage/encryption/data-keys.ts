/**
 * The data keys of tenants: wrapped in the table, plain only in memory and there only for a while.
 *
 * Must stay true:
 * - A data key is in the table before anything is sealed with it, and is removed by `drop` and by nothing else: whoever
 *   loses the race for a new one cannot know that nobody has used it.
 * - `drop` first says in the tenant's pointer that its keys are gone, which stops new ones; then it removes them.
 */
import type { Clock } from "../../core/clock.ts";
import { HoldpointError } from "../../core/errors.ts";
import type { IdSource, TenantId } from "../../core/ids.ts";
import { keysDropped } from "../../core/unreadable.ts";
import { dataKeyKeys } from "../keys.ts";
import { createRecords, numberOf, textOf, update } from "../records.ts";
import type { Stored } from "../records.ts";
import type { Item, Table } from "../table.ts";
import type { SealingKey } from "./envelope.ts";
import { createKeyCache } from "./key-cache.ts";
import type { WrappedKey, WrappingKeys } from "./wrapping-keys.ts";

/** The key with which a tenant's bytes are sealed now. */
export interface CurrentKey extends SealingKey {
  /** Table time. */
  readonly createdAt: number;
}

export interface DataKeys {
  /**
   * The tenant's current data key; a new one when there is none yet, or when it is `spent` or older than it may become.
   * @throws HoldpointError `gone` once the tenant's keys were dropped; `unavailable`
   */
  current(tenant: TenantId, spent?: CurrentKey): Promise<CurrentKey>;
  /** Whether another key is to take over. */
  isDue(key: CurrentKey): boolean;
  /**
   * A data key by its id: at once when it is at hand.
   * @throws HoldpointError `gone` when the tenant's keys were dropped, `corrupt` when there never was such a key; `unavailable`
   */
  byId(tenant: TenantId, id: string): SealingKey | Promise<SealingKey>;
  /**
   * Removes all of the tenant's data keys, for good: what was sealed with them can be read by nobody any more. No new
   * one is made until `renew`. May be repeated; resolves with how many it removed. Other processes still have keys at hand for as long as they keep them.
   */
  drop(tenant: TenantId): Promise<number>;
  /** Lets a tenant whose keys were dropped have new ones. */
  renew(tenant: TenantId): Promise<void>;
}

export interface DataKeysOptions {
  readonly table: Table;
  readonly keys: WrappingKeys;
  readonly clock: Clock;
  readonly ids: IdSource;
  /** Milliseconds after which a new data key takes over; a day by default. */
  readonly maxAgeMs?: number;
  /** Milliseconds for which an unwrapped key is kept; five minutes by default. */
  readonly keepMs?: number;
  /** How many of them are kept; 1,000 by default. */
  readonly keepCount?: number;
}

interface StoredKey extends WrappedKey {
  readonly tenant: TenantId;
  readonly id: string;
  readonly createdAt: number;
}

/** Which key seals; none when they were dropped, or before the first. */
interface Pointer {
  readonly tenant: TenantId;
  readonly state: "live" | "dropped";
  readonly keyId?: string;
  /** Of that key. */
  readonly createdAt: number;
  /** When keys were last dropped; stays when new ones are made. */
  readonly droppedAt?: number;
}

const ID_BYTES = 8;
const DAY_MS = 86_400_000;

export function createDataKeys(options: DataKeysOptions): DataKeys {
  const { table, keys, clock, ids, maxAgeMs = DAY_MS } = options;
  const bounds = { clock, keepMs: options.keepMs ?? 300_000, keepCount: options.keepCount ?? 1000 };
  const { storedKeys, pointers } = recordsOn(table);
  const plainKeys = createKeyCache<SealingKey>(bounds);
  const currents = createKeyCache<CurrentKey>(bounds);
  const nameOf = (tenant: TenantId, id: string): string => `${id} ${tenant}`;

  const isDue = ({ createdAt }: { readonly createdAt: number }): boolean => table.now() - createdAt >= maxAgeMs;

  const unwrapped = async (tenant: TenantId, id: string): Promise<SealingKey> => {
    const stored = await storedKeys.get(dataKeyKeys.key(tenant, id));
    if (stored) return { id, key: await keys.unwrap(tenant, stored.value) };
    const pointer = await pointers.get(dataKeyKeys.current(tenant));
    if (pointer?.value.droppedAt !== undefined) throw dropped(pointer.value);
    throw new HoldpointError("corrupt", `its data key ${id} is not one of the tenant's`);
  };
  const byId = (tenant: TenantId, id: string): SealingKey | Promise<SealingKey> =>
    plainKeys.get(nameOf(tenant, id)) ?? plainKeys.fetch(nameOf(tenant, id), () => unwrapped(tenant, id));

  /** Undefined when somebody else came first. */
  const made = async (tenant: TenantId, before: Stored<Pointer> | undefined): Promise<CurrentKey | undefined> => {
    const { key, ...wrapped } = await keys.newDataKey(tenant);
    const [id, createdAt] = [ids.token(ID_BYTES), table.now()];
    await storedKeys.put({ tenant, id, createdAt, ...wrapped }, "absent");
    const { droppedAt } = before?.value ?? {};
    const pointer: Pointer = { tenant, state: "live", keyId: id, createdAt };
    const written = await pointers.put(
      droppedAt === undefined ? pointer : { ...pointer, droppedAt },
      before === undefined ? "absent" : { version: before.version },
    );
    return written.won ? { id, key, createdAt } : undefined;
  };

  const foundOrMade = async (tenant: TenantId, spent: CurrentKey | undefined): Promise<CurrentKey> => {
    for (;;) {
      const stored = await pointers.get(dataKeyKeys.current(tenant));
      const pointer = stored?.value;
      if (pointer?.state === "dropped") throw dropped(pointer);
      if (pointer?.keyId !== undefined && pointer.keyId !== spent?.id && !isDue(pointer)) {
        return { ...(await byId(tenant, pointer.keyId)), createdAt: pointer.createdAt };
      }
      const current = await made(tenant, stored);
      if (current) return current;
    }
  };

  return {
    async current(tenant, spent) {
      const known = currents.get(tenant);
      if (known && known.id !== spent?.id && !isDue(known)) return known;
      return currents.fetch(tenant, () => foundOrMade(tenant, spent));
    },
    isDue,
    byId,
    async drop(tenant) {
      await markDropped(pointers, tenant, table.now());
      let after: string | undefined;
      let count = 0;
      do {
        const range = { prefix: dataKeyKeys.prefix, ...(after === undefined ? {} : { after }) };
        const page = await table.query(dataKeyKeys.partition(tenant), range);
        count += page.items.length;
        for (const { pk, sk } of page.items) {
          await table.remove({ pk, sk }, "any");
          plainKeys.forget(nameOf(tenant, sk.slice(dataKeyKeys.prefix.length)));
        }
        after = page.next;
      } while (after !== undefined);
      currents.forget(tenant);
      return count;
    },
    async renew(tenant) {
      await update(pointers, dataKeyKeys.current(tenant), (pointer): Pointer | undefined =>
        pointer.state === "dropped" ? { ...pointer, state: "live" } : undefined,
      );
      currents.forget(tenant);
    },
  };
}

type Pointers = ReturnType<typeof recordsOn>["pointers"];

async function markDropped(pointers: Pointers, tenant: TenantId, now: number): Promise<void> {
  const mark: Pointer = { tenant, state: "dropped", createdAt: 0, droppedAt: now };
  let found = await pointers.get(dataKeyKeys.current(tenant));
  while (found?.value.state !== "dropped") {
    const written = await pointers.put(mark, found === undefined ? "absent" : { version: found.version });
    if (written.won) return;
    found = written.current;
  }
}

function dropped({ droppedAt }: Pointer): HoldpointError {
  const at = droppedAt === undefined ? "" : ` at ${new Date(droppedAt).toISOString()}`;
  return keysDropped(`the tenant's encryption keys were dropped${at}`);
}

/** Attributes: `w` the wrapped key, `k` what wrapped it, `a` when it was made; `s` state, `i` key, `x` when dropped. */
function recordsOn(table: Table) {
  const storedKeys = createRecords<StoredKey>(table, {
    names: ["t", "i", "w", "k", "a"],
    key: ({ tenant, id }) => dataKeyKeys.key(tenant, id),
    encode: ({ tenant, id, wrapped, wrappedBy, createdAt }) => ({
      t: tenant,
      i: id,
      w: wrapped,
      k: wrappedBy,
      a: createdAt,
    }),
    decode: (item) => ({
      tenant: tenantOf(item),
      id: textOf(item, "i"),
      wrapped: bytesOf(item),
      wrappedBy: textOf(item, "k"),
      createdAt: numberOf(item, "a"),
    }),
  });
  const pointers = createRecords<Pointer>(table, {
    names: ["t", "s", "i", "a", "x"],
    key: ({ tenant }) => dataKeyKeys.current(tenant),
    encode: ({ tenant, state, keyId, createdAt, droppedAt }) => ({
      t: tenant,
      s: state,
      a: createdAt,
      ...(keyId === undefined ? {} : { i: keyId }),
      ...(droppedAt === undefined ? {} : { x: droppedAt }),
    }),
    decode: (item) => ({
      tenant: tenantOf(item),
      state: textOf(item, "s") === "dropped" ? "dropped" : "live",
      createdAt: numberOf(item, "a"),
      ...(item.attributes["i"] === undefined ? {} : { keyId: textOf(item, "i") }),
      ...(item.attributes["x"] === undefined ? {} : { droppedAt: numberOf(item, "x") }),
    }),
  });
  return { storedKeys, pointers };
}

const tenantOf = (item: Item): TenantId => textOf(item, "t") as TenantId; // as it was written

function bytesOf(item: Item): Uint8Array {
  const { w } = item.attributes;
  if (w instanceof Uint8Array) return w;
  throw new HoldpointError("corrupt", `the data key ${item.sk} has no bytes`);
}
