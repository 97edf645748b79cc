/**
 * Sealed bytes. What is written here is on disk: another layout takes another format byte, and every old one its reader.
 *
 * `magic (8) | 1 | id of the data key (8) | nonce (12) | ciphertext | tag (16)`: AES-256-GCM, with everything before the
 * nonce and the place of the bytes as additional data: what was moved, swapped or cut does not open.
 * `magic (8) | 0xf0 | bytes`: plaintext that would otherwise look sealed. Anything else is plaintext as it stands.
 */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { HoldpointError } from "../../core/errors.ts";
import type { TenantId, ThreadId } from "../../core/ids.ts";
import { newerFormat } from "../../core/newer-format.ts";

/** Where bytes belong. They open nowhere else. */
export interface Place {
  readonly tenant: TenantId;
  /** Empty for items of any partition; that then stands in `ns`. */
  readonly threadId: ThreadId;
  readonly ns: string;
  /** Empty for what belongs to no checkpoint. */
  readonly checkpointId: string;
  /** What it is of the checkpoint or the thread: a channel, `body`, `blob`, … */
  readonly part: string;
}

/** A key that seals, and the name under which it is found again. */
export interface SealingKey {
  /** 16 hexadecimal digits. */
  readonly id: string;
  /** 32 bytes. */
  readonly key: Uint8Array;
}

/** Begins with a byte that UTF-8 never has, and no format of a body. */
const MAGIC = Buffer.of(0xfe, 0x48, 0x50, 0xe5, 0x0c, 0x9b, 0x37, 0xa1);
/** Far from one another: no few wrong bits make plaintext of what is sealed. */
const FORMAT = { aes256gcm: 0x01, plain: 0xf0 } as const;
const FORMAT_AT = MAGIC.length;
const ID_BYTES = 8;
const HEADER_BYTES = MAGIC.length + 1 + ID_BYTES;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
/** So many wrong bits still show what was meant: damage to the magic must not pass for plaintext. */
const DAMAGED_BITS = 4;

/** Encrypts. `bound` says where the bytes belong: see `placeBytes`. */
export function seal({ id, key }: SealingKey, bytes: Uint8Array, bound: Uint8Array): Uint8Array {
  const header = Buffer.concat([MAGIC, Uint8Array.of(FORMAT.aes256gcm), Buffer.from(id, "hex")]);
  if (header.length !== HEADER_BYTES) throw new HoldpointError("internal", `${id} is not the id of a data key`);
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(Buffer.concat([header, bound]));
  return Buffer.concat([header, nonce, cipher.update(bytes), cipher.final(), cipher.getAuthTag()]);
}

/** Decrypts; undefined unless these very bytes were sealed with this key and bound to this. */
export function open(key: Uint8Array, sealed: Uint8Array, bound: Uint8Array): Uint8Array | undefined {
  const header = sealed.subarray(0, HEADER_BYTES);
  const bodyAt = HEADER_BYTES + NONCE_BYTES;
  const end = sealed.length - TAG_BYTES;
  const nonce = sealed.subarray(HEADER_BYTES, bodyAt);
  const decipher = createDecipheriv("aes-256-gcm", key, nonce, { authTagLength: TAG_BYTES });
  decipher.setAAD(Buffer.concat([header, bound]));
  decipher.setAuthTag(sealed.subarray(end));
  const bytes = decipher.update(sealed.subarray(bodyAt, end));
  try {
    return Buffer.concat([bytes, decipher.final()]);
  } catch {
    return undefined;
  }
}

/** Plaintext as it is stored: as it is, unless it looks sealed. */
export function plain(bytes: Uint8Array): Uint8Array {
  return wrongBits(bytes) > DAMAGED_BITS ? bytes : Buffer.concat([MAGIC, Uint8Array.of(FORMAT.plain), bytes]);
}

export type Envelope =
  | { readonly kind: "plain"; readonly bytes: Uint8Array }
  | { readonly kind: "sealed"; readonly keyId: string; readonly bytes: Uint8Array };

/** What stored bytes are. @throws HoldpointError `corrupt` when they are damaged, `unsupported` for a newer format */
export function parseEnvelope(stored: Uint8Array, place: Place): Envelope {
  const wrong = wrongBits(stored);
  if (wrong > DAMAGED_BITS) return { kind: "plain", bytes: stored };
  if (wrong > 0 || stored.length <= FORMAT_AT) throw corrupt(place, "is damaged");
  const format = stored[FORMAT_AT];
  if (format === FORMAT.plain) return { kind: "plain", bytes: stored.subarray(FORMAT_AT + 1) };
  if (format !== FORMAT.aes256gcm) throw newerFormat(`${placeText(place)} of the sealed format ${format}`);
  if (stored.length < HEADER_BYTES + NONCE_BYTES + TAG_BYTES) throw corrupt(place, "is cut short");
  const keyId = Buffer.from(stored.subarray(FORMAT_AT + 1, HEADER_BYTES)).toString("hex");
  return { kind: "sealed", keyId, bytes: stored };
}

/** A place as additional data. */
export const placeBytes = ({ tenant, threadId, ns, checkpointId, part }: Place): Uint8Array =>
  lengthPrefixed([tenant, threadId, ns, checkpointId, part]);

/** Texts, each with its length before it, so that no two lists have the same bytes. */
export function lengthPrefixed(texts: readonly string[]): Uint8Array {
  const parts = texts.flatMap((text) => {
    const bytes = Buffer.from(text);
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    return [length, bytes];
  });
  return Buffer.concat(parts);
}

/** Bits by which the beginning differs from the magic; fewer bytes than that may only be its beginning. */
function wrongBits(bytes: Uint8Array): number {
  if (bytes.length === 0) return Infinity;
  const start = bytes.subarray(0, MAGIC.length);
  if (start.length < MAGIC.length) return MAGIC.subarray(0, start.length).equals(start) ? 0 : Infinity;
  let wrong = 0;
  for (const [i, byte] of start.entries()) {
    for (let differing = byte ^ (MAGIC[i] ?? 0); differing !== 0; differing &= differing - 1) wrong++;
  }
  return wrong;
}

/** A place in words, for errors and logs. */
export function placeText({ threadId, ns, checkpointId, part }: Place): string {
  if (threadId === "") return `${part} of partition ${ns}`;
  const where = checkpointId === "" ? "" : ` of checkpoint ${checkpointId}`;
  return `${part}${where}${ns === "" ? "" : ` of namespace ${ns}`} of thread ${threadId}`;
}

const corrupt = (place: Place, what: string): HoldpointError =>
  new HoldpointError("corrupt", `${placeText(place)} ${what}`);
