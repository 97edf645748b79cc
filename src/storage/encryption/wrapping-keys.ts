import { HoldpointError } from "../../core/errors.ts";
import type { TenantId } from "../../core/ids.ts";

/** A data key as it may be stored: only its wrapping key opens it, and only for the tenant that it was made for. */
export interface WrappedKey {
  readonly wrapped: Uint8Array;
  /** Which key wrapped it: `local:<digest>`, or a key's ARN. */
  readonly wrappedBy: string;
}

/** A new data key: 32 bytes that are kept in memory only, and what is stored of them. */
export interface NewDataKey extends WrappedKey {
  readonly key: Uint8Array;
}

/** The keys that encrypt data keys: in a key service, or in a setting. */
export interface WrappingKeys {
  /** @throws HoldpointError `unavailable` when the key cannot be used at the moment */
  newDataKey(tenant: TenantId): Promise<NewDataKey>;
  /**
   * The data key itself.
   * @throws HoldpointError `corrupt` when it was not wrapped for this tenant or is not what was wrapped; `unavailable` when
   *   its wrapping key is disabled, not configured or out of reach
   */
  unwrap(tenant: TenantId, wrapped: WrappedKey): Promise<Uint8Array>;
  /** Whether a key of this name would be one of these. */
  owns(wrappedBy: string): boolean;
}

/** New data keys from the first; what is there is opened by whichever wrapped it. @throws HoldpointError `invalid` for none */
export function combinedKeys(all: readonly WrappingKeys[]): WrappingKeys {
  const [first] = all;
  if (first === undefined) throw new HoldpointError("invalid", "there is no encryption key");
  return {
    newDataKey: (tenant) => first.newDataKey(tenant),
    async unwrap(tenant, wrapped) {
      const owner = all.find((keys) => keys.owns(wrapped.wrappedBy));
      if (owner) return owner.unwrap(tenant, wrapped);
      throw new HoldpointError("unavailable", `a data key is wrapped by ${wrapped.wrappedBy}, which is not configured`);
    },
    owns: (wrappedBy) => all.some((keys) => keys.owns(wrappedBy)),
  };
}
