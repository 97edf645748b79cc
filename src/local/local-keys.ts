/**
 * Wrapping keys that stand in a setting. The first wraps new data keys; the others only open what they wrapped. Each is
 * known by a digest, so that it is found again whatever its position.
 *
 * A wrapped key is `1 | nonce (12) | ciphertext | tag (16)`: AES-256-GCM with the tenant as additional data.
 */
import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from "node:crypto";
import { HoldpointError } from "../core/errors.ts";
import { sha256 } from "../core/ids.ts";
import type { TenantId } from "../core/ids.ts";
import { lengthPrefixed } from "../storage/encryption/envelope.ts";
import type { WrappedKey, WrappingKeys } from "../storage/encryption/wrapping-keys.ts";

const KEY_BYTES = 32;
const FORMAT = 1;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const PREFIX = "local:";
/** Lengths of AES keys, which LangGraph's `LANGGRAPH_AES_KEY` may have as plain characters. */
const RAW_BYTES: ReadonlySet<number> = new Set([16, 24, 32]);

interface WrappingKey {
  readonly id: string;
  readonly key: Uint8Array;
}

/**
 * Keys from their texts, newest first: each of 16, 24 or 32 characters as they are, or the base64 of 32 bytes.
 * @throws HoldpointError `invalid` for none, and for a text that is no key; the message does not show it
 */
export function createLocalKeys(texts: readonly string[]): WrappingKeys {
  const keys = texts.map((text, n) => parseKey(text, n));
  const [first] = keys;
  if (first === undefined) throw new HoldpointError("invalid", "there is no encryption key");
  const byId = new Map(keys.map(({ id, key }) => [id, key]));
  return {
    async newDataKey(tenant) {
      const key = new Uint8Array(randomBytes(KEY_BYTES));
      return { key, wrapped: wrap(first.key, key, tenant), wrappedBy: first.id };
    },
    async unwrap(tenant, wrapped) {
      const key = byId.get(wrapped.wrappedBy);
      if (key !== undefined) return unwrap(key, wrapped, tenant);
      throw new HoldpointError(
        "unavailable",
        `a data key is wrapped by ${wrapped.wrappedBy}, which is not among the ${keys.length} configured encryption keys`,
      );
    },
    owns: (wrappedBy) => wrappedBy.startsWith(PREFIX),
  };
}

function parseKey(text: string, n: number): WrappingKey {
  const raw = Buffer.from(text);
  const material = RAW_BYTES.has(raw.length) ? raw : Buffer.from(text, "base64");
  if (material !== raw && (material.length !== KEY_BYTES || material.toString("base64") !== text)) {
    throw new HoldpointError(
      "invalid",
      `encryption key ${n + 1} is neither 16, 24 or 32 characters nor the base64 of 32 bytes`,
    );
  }
  const key = new Uint8Array(hkdfSync("sha256", material, "", "holdpoint wrapping key", KEY_BYTES));
  return { id: `${PREFIX}${sha256(key).slice(0, 16)}`, key };
}

const additionalData = (tenant: TenantId): Uint8Array => lengthPrefixed(["holdpoint data key", tenant]);

function wrap(by: Uint8Array, key: Uint8Array, tenant: TenantId): Uint8Array {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", by, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(additionalData(tenant));
  return Buffer.concat([Uint8Array.of(FORMAT), nonce, cipher.update(key), cipher.final(), cipher.getAuthTag()]);
}

function unwrap(by: Uint8Array, { wrapped, wrappedBy }: WrappedKey, tenant: TenantId): Uint8Array {
  try {
    if (wrapped[0] !== FORMAT) throw new RangeError(`format ${wrapped[0] ?? "none"}`);
    const nonce = wrapped.subarray(1, 1 + NONCE_BYTES);
    const decipher = createDecipheriv("aes-256-gcm", by, nonce, { authTagLength: TAG_BYTES });
    decipher.setAAD(additionalData(tenant));
    decipher.setAuthTag(wrapped.subarray(-TAG_BYTES));
    const key = decipher.update(wrapped.subarray(1 + NONCE_BYTES, -TAG_BYTES));
    return new Uint8Array(Buffer.concat([key, decipher.final()]));
  } catch (cause) {
    throw new HoldpointError("corrupt", `a data key is not what ${wrappedBy} wrapped for this tenant`, { cause });
  }
}
