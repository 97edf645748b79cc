/** A saver and a store of their own for anyone's graph: no lease, any thread, one tenant. */
import { systemClock } from "../core/clock.ts";
import { HoldpointError } from "../core/errors.ts";
import { systemIds, tenantId } from "../core/ids.ts";
import type { Blobs } from "../storage/blobs.ts";
import { createDataKeys } from "../storage/encryption/data-keys.ts";
import type { DataKeys } from "../storage/encryption/data-keys.ts";
import { sealedBlobs } from "../storage/encryption/sealed-blobs.ts";
import { createSealers, plainSealers } from "../storage/encryption/sealer.ts";
import type { WrappingKeys } from "../storage/encryption/wrapping-keys.ts";
import type { Table } from "../storage/table.ts";
import { FencedSaver } from "./saver.ts";
import type { StoreOptions } from "./store/options.ts";
import { createStore } from "./store/store.ts";
import type { TableStore } from "./store/store.ts";

export interface LibraryOptions {
  /** First part of every key: whose threads these are. `default` unless given; two tenants never see each other's. */
  readonly tenant?: string;
  /** Bytes of the state of each namespace of a thread as it is stored, and of what one task writes; what takes more is refused. Without limit unless given. */
  readonly maxStateBytes?: number;
  /** Refuses what is not encrypted, with `corrupt`. False unless given: plaintext from before the keys is read. Needs keys. */
  readonly encryptionRequired?: boolean;
  /** How the store searches by meaning; without it, by filters only. */
  readonly index?: StoreOptions["index"];
  /** How long the store keeps items; without it, until they are deleted. */
  readonly ttl?: StoreOptions["ttl"];
}

export interface LibraryParts {
  readonly table: Table;
  readonly blobs: Blobs;
  /** Encrypt what is stored; without them nothing is encrypted, and what is encrypted cannot be read. */
  readonly wrappingKeys: WrappingKeys | undefined;
}

/** Checkpoints and long-term memory of one tenant. */
export interface Checkpoints extends AsyncDisposable {
  /** For `compile({ checkpointer })`. */
  readonly checkpointer: FencedSaver;
  /** For `compile({ store })`. */
  readonly store: TableStore;
  /**
   * Removes every data key of the tenant: what was encrypted for it can never be read again, and nothing new be written, until
   * `renewDataKeys`. Any process may have keys at hand for five minutes more. May be repeated.
   * @throws HoldpointError `invalid` when nothing is encrypted here; `unavailable`
   */
  dropDataKeys(): Promise<void>;
  /** Lets a tenant whose keys were dropped have new ones. @throws as `dropDataKeys` */
  renewDataKeys(): Promise<void>;
}

const TENANT = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** Disposing of what it answers lets go of the table, and of `parts` no more. */
export function openLibrary({ table, blobs, wrappingKeys }: LibraryParts, options: LibraryOptions): Checkpoints {
  const { tenant = "default", encryptionRequired: required = false, maxStateBytes, index, ttl } = options;
  if (!TENANT.test(tenant))
    throw new HoldpointError("invalid", "a tenant is 1 to 64 letters, digits, dots, dashes and underscores");
  const of = tenantId(tenant);
  if (required && wrappingKeys === undefined)
    throw new HoldpointError("invalid", "encryption is required, and no key is given");
  const dataKeys = wrappingKeys && createDataKeys({ table, keys: wrappingKeys, clock: systemClock, ids: systemIds });
  const sealers = dataKeys === undefined ? plainSealers : createSealers({ dataKeys, required });
  const bodies = sealedBlobs(blobs, sealers);
  const checkpointer = new FencedSaver({
    table,
    blobs: bodies,
    tenant: of,
    sealer: sealers(of),
    ...(maxStateBytes === undefined ? {} : { stateBytes: maxStateBytes }),
  });
  const store = createStore({
    table,
    blobs: bodies,
    sealers,
    tenant: of,
    ...(index === undefined ? {} : { index }),
    ...(ttl === undefined ? {} : { ttl }),
  });
  const keysOf = (): DataKeys => {
    if (dataKeys === undefined) throw new HoldpointError("invalid", "nothing is encrypted here: no key is given");
    return dataKeys;
  };
  return {
    checkpointer,
    store,
    dropDataKeys: async () => void (await keysOf().drop(of)),
    renewDataKeys: async () => keysOf().renew(of),
    [Symbol.asyncDispose]: () => table[Symbol.asyncDispose](),
  };
}
