import { HoldpointError } from "../../core/errors.ts";
import type { TenantId } from "../../core/ids.ts";
import { idempotencyKey } from "../../storage/keys.ts";
import { readable, textOf } from "../../storage/records.ts";
import type { Deps } from "../deps.ts";

const KEPT_MS = 24 * 3_600_000;

/** What a key stands for: the ids that the first attempt drew, which every repeat uses again. */
export interface ClaimedKey {
  readonly result: Readonly<Record<string, string>>;
  readonly repeated: boolean;
}

/**
 * Binds an idempotency key to the ids of its first attempt. It is the first write of a request, so a repeat finds
 * whatever the first attempt may have left.
 * @throws HoldpointError `invalid` when the key was used for another body
 */
export async function claimKey(
  deps: Deps,
  tenant: TenantId,
  claim: { readonly key: string; readonly bodyHash: string; readonly result: Readonly<Record<string, string>> },
): Promise<ClaimedKey> {
  const put = await deps.table.put(
    {
      ...idempotencyKey(tenant, "runs", claim.key),
      attributes: { k: claim.key, h: claim.bodyHash, d: JSON.stringify(claim.result) },
      expiresAt: deps.table.now() + KEPT_MS,
    },
    "absent",
  );
  if (put.won) return { result: claim.result, repeated: false };
  if (!put.current) throw new HoldpointError("unavailable", "the idempotency key expired just now; repeat the request");
  const first = readable(put.current);
  if (textOf(first, "h") !== claim.bodyHash) {
    throw new HoldpointError("invalid", "this Idempotency-Key was used for another request");
  }
  return { result: JSON.parse(textOf(first, "d")) as Record<string, string>, repeated: true };
}
