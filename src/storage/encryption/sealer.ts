/** Seals a tenant's bytes with its current data key, and opens them with the one that sealed them. */
import { HoldpointError } from "../../core/errors.ts";
import type { TenantId } from "../../core/ids.ts";
import type { CurrentKey, DataKeys } from "./data-keys.ts";
import { open, parseEnvelope, placeBytes, placeText, plain, seal } from "./envelope.ts";
import type { Place, SealingKey } from "./envelope.ts";

/** What encrypts the bytes of one tenant, or leaves them as they are. */
export interface Sealer {
  /** Whether anything is encrypted. */
  readonly encrypts: boolean;
  /**
   * Has the current data key at hand, a new one when it is time. To be awaited before the first `seal`; cheap to repeat.
   * @throws HoldpointError `gone` once the tenant's keys were dropped; `unavailable`
   */
  ready(): Promise<void>;
  /** The bytes as they are to be stored. @throws HoldpointError `internal` before `ready`, or for another tenant's place */
  seal(bytes: Uint8Array, place: Place): Uint8Array;
  /**
   * The bytes as they were sealed; at once when the key is at hand.
   * @throws HoldpointError `corrupt` when they are not what was sealed at this place, or are plain where that is refused;
   *   `gone` when the tenant's keys were dropped; `unavailable`
   */
  open(stored: Uint8Array, place: Place): Uint8Array | Promise<Uint8Array>;
}

/** The sealer of a tenant: one for each use, since it holds on to its data key. */
export type Sealers = (tenant: TenantId) => Sealer;

/** No encryption. What is encrypted all the same is refused. */
export const plainSealer: Sealer = {
  encrypts: false,
  ready: async () => {},
  seal: (bytes) => plain(bytes),
  open(stored, place) {
    const envelope = parseEnvelope(stored, place);
    if (envelope.kind === "plain") return envelope.bytes;
    throw new HoldpointError("unavailable", `${placeText(place)} is encrypted, and no encryption key is configured`);
  },
};

export const plainSealers: Sealers = () => plainSealer;

/** What one process seals with one key: so do 256 processes before 2^32, from where on random nonces may repeat. */
const MAX_SEALED = 2 ** 24;
/** Keys whose use is counted: the youngest. */
const COUNTED_KEYS = 10_000;

export interface SealersOptions {
  readonly dataKeys: DataKeys;
  /** Refuses what is not encrypted. False while older plaintext is still there. */
  readonly required: boolean;
  /** What one process seals with one key at most; from half of it on it asks for another. 2^24 by default. */
  readonly maxSealed?: number;
}

export function createSealers({ dataKeys, required, maxSealed = MAX_SEALED }: SealersOptions): Sealers {
  const counts = createCounts();
  return (tenant) => {
    let current: CurrentKey | undefined;
    let refreshing: Promise<void> | undefined;
    const isSpent = ({ id }: CurrentKey): boolean => counts.of(id) >= maxSealed / 2;
    const ready = async (): Promise<void> => {
      current = await dataKeys.current(tenant, current !== undefined && isSpent(current) ? current : undefined);
    };
    /** The old key goes on for the time being, and for as long as no other is to be had. */
    const refresh = (): void => {
      refreshing ??= ready()
        .catch(() => {})
        .finally(() => (refreshing = undefined));
    };
    return {
      encrypts: true,
      ready,
      seal(bytes, place) {
        if (current === undefined) throw new HoldpointError("internal", "a sealer was used before it was ready");
        if (place.tenant !== tenant) throw new HoldpointError("internal", "a sealer was used for another tenant");
        if (dataKeys.isDue(current) || isSpent(current)) refresh();
        if (counts.of(current.id) >= maxSealed)
          throw new HoldpointError("unavailable", `the data key ${current.id} has sealed all that it may`);
        counts.add(current.id);
        return seal(current, bytes, placeBytes(place));
      },
      open(stored, place) {
        const envelope = parseEnvelope(stored, place);
        if (envelope.kind === "plain") {
          if (!required) return envelope.bytes;
          throw new HoldpointError("corrupt", `${placeText(place)} is not encrypted, which is required`);
        }
        const { keyId, bytes } = envelope;
        const key = keyId === current?.id ? current : dataKeys.byId(tenant, keyId);
        if (!(key instanceof Promise)) return opened(key, bytes, place);
        return fetched(key, place).then((found) => opened(found, bytes, place));
      },
    };
  };
}

function opened({ key }: SealingKey, sealed: Uint8Array, place: Place): Uint8Array {
  const bytes = open(key, sealed, placeBytes(place));
  if (bytes !== undefined) return bytes;
  throw new HoldpointError("corrupt", `${placeText(place)} is not what was sealed there`);
}

function createCounts() {
  const counts = new Map<string, number>();
  const of = (id: string): number => counts.get(id) ?? 0;
  return {
    of,
    add(id: string): void {
      counts.set(id, of(id) + 1);
      if (counts.size > COUNTED_KEYS) for (const oldest of counts.keys()) return void counts.delete(oldest);
    },
  };
}

/** The key, or the error with the item that cannot be read because of it. */
async function fetched(key: Promise<SealingKey>, place: Place): Promise<SealingKey> {
  try {
    return await key;
  } catch (error) {
    if (!(error instanceof HoldpointError)) throw error;
    const { code, message, detail } = error;
    throw new HoldpointError(code, `${placeText(place)} cannot be decrypted: ${message}`, {
      cause: error,
      ...(detail === undefined ? {} : { detail }),
    });
  }
}
