/** A saver and a store of their own for anyone's graph: no lease, any thread, one tenant. */
import { systemClock } from "../core/clock.ts";
import { HoldpointError } from "../core/errors.ts";
import { systemIds, tenantId } from "../core/ids.ts";
import type { Blobs } from "../storage/blobs.ts";
import { createDataKeys } from "../storage/encryption/data-keys.ts";
import { sealedBlobs } from "../storage/encryption/sealed-blobs.ts";
import { createSealers, plainSealers } from "../storage/encryption/sealer.ts";
import type { Sealers } from "../storage/encryption/sealer.ts";
import type { WrappingKeys } from "../storage/encryption/wrapping-keys.ts";
import type { Table } from "../storage/table.ts";
import { FencedSaver } from "./saver.ts";
import type { StoreOptions } from "./store/options.ts";
import { createStore } from "./store/store.ts";
import type { TableStore } from "./store/store.ts";

export interface LibraryOptions {
  /** First part of every key: whose threads these are. `default` unless given; two tenants never see each other's. */
  readonly tenant?: string;
  /** Bytes of a thread's state as it is stored; what takes more is refused. Without limit unless given. */
  readonly maxStateBytes?: number;
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
}

const TENANT = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

/** Disposing of what it answers lets go of the table, and of `parts` no more. */
export function openLibrary({ table, blobs, wrappingKeys }: LibraryParts, options: LibraryOptions): Checkpoints {
  const { tenant = "default", maxStateBytes, index, ttl } = options;
  if (!TENANT.test(tenant))
    throw new HoldpointError("invalid", "a tenant is 1 to 64 letters, digits, dots, dashes and underscores");
  const of = tenantId(tenant);
  const sealers = wrappingKeys === undefined ? plainSealers : sealersWith(table, wrappingKeys);
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
  return { checkpointer, store, [Symbol.asyncDispose]: () => table[Symbol.asyncDispose]() };
}

/** Plaintext stays readable: it is encrypted as it is written anew. */
const sealersWith = (table: Table, keys: WrappingKeys): Sealers =>
  createSealers({ dataKeys: createDataKeys({ table, keys, clock: systemClock, ids: systemIds }), required: false });
