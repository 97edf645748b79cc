/**
 * The bytes of a record: a format byte, a codec byte, then a JSON header and the cells behind it, compressed as one.
 * What is written here is on disk: a new layout takes a new format byte, and every old one keeps its reader.
 */
import { deflateRawSync, inflateRawSync } from "node:zlib";
import { HoldpointError } from "../core/errors.ts";
import { newerFormat } from "../core/newer-format.ts";

const FORMAT = 1;
const CODEC = { none: 0, deflate: 1 } as const;
/** Below this, compression costs more than it saves. */
const COMPRESS_FROM_BYTES = 256;
const COMPRESSION_LEVEL = 4;

/** One byte string, compressed where that makes it smaller. */
export function compress(bytes: Uint8Array): Uint8Array {
  const packed = bytes.byteLength < COMPRESS_FROM_BYTES ? undefined : deflateRawSync(bytes, optionsFor(bytes));
  const smaller = packed !== undefined && packed.byteLength < bytes.byteLength ? packed : undefined;
  return Buffer.concat([Uint8Array.of(FORMAT, smaller ? CODEC.deflate : CODEC.none), smaller ?? bytes]);
}

/** A chunk is a buffer that zlib allocates whole: by default 16 KB, many times what most records need. */
const optionsFor = ({ byteLength }: Uint8Array) => ({
  level: COMPRESSION_LEVEL,
  chunkSize: Math.min(16_384, Math.max(64, byteLength)),
});

/** @throws HoldpointError `corrupt` when the bytes are torn or of no format, `unsupported` when they are of a newer one */
export function decompress(bytes: Uint8Array): Uint8Array {
  const [format] = bytes;
  if (format !== undefined && format > FORMAT) throw newerFormat(`a body of format ${format}`);
  if (format !== FORMAT) throw new HoldpointError("corrupt", `bytes of format ${format ?? "none"} cannot be read`);
  const rest = bytes.subarray(2);
  if (bytes[1] === CODEC.none) return rest;
  if (bytes[1] !== CODEC.deflate)
    throw new HoldpointError("corrupt", `bytes of codec ${bytes[1] ?? "none"} cannot be read`);
  try {
    return inflateRawSync(rest);
  } catch (cause) {
    throw new HoldpointError("corrupt", "compressed bytes are torn", { cause });
  }
}

/** A header as it is stored and hashed. */
export const headerBytes = (header: unknown): Uint8Array => Buffer.from(JSON.stringify(header));

/** Layout: length of the header as 4 bytes, the header as JSON, the cells that it describes one after the other. */
export function packBody(header: Uint8Array, cells: readonly Uint8Array[]): Uint8Array {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(header.byteLength);
  return compress(Buffer.concat([length, header, ...cells]));
}

/** The header, parsed, with its bytes (for hashing), and what stands behind it. @throws HoldpointError as `decompress` */
export function unpackBody(bytes: Uint8Array): {
  readonly header: unknown;
  readonly bytes: Uint8Array;
  readonly rest: Uint8Array;
} {
  const plain = Buffer.from(decompress(bytes));
  const end = plain.byteLength < 4 ? Infinity : 4 + plain.readUInt32BE(0);
  if (end > plain.byteLength) throw new HoldpointError("corrupt", "a record's header is torn");
  const encoded = plain.subarray(4, end);
  try {
    const header: unknown = JSON.parse(encoded.toString("utf8"));
    return { header, bytes: encoded, rest: plain.subarray(end) };
  } catch (cause) {
    throw new HoldpointError("corrupt", "a record's header is not JSON", { cause });
  }
}
