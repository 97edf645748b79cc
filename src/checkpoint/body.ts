/**
 * The bytes of a record: a format byte, a codec byte, then a JSON header and the cells behind it, compressed as one.
 * What is written here is on disk: a new layout takes a new format byte, and every old one keeps its reader.
 */
import { deflateRawSync, inflateRawSync } from "node:zlib";
import { HoldpointError } from "../core/errors.ts";
import { newerFormat } from "../core/newer-format.ts";
import { DICTIONARY_1 } from "./dictionary.ts";

const FORMAT = 1;
const CODEC = { none: 0, deflate: 1, like: 2, dictionary1: 3 } as const;
/** As far back as the method looks. */
const WINDOW_BYTES = 32 * 1024;
/** Below this, compression costs more than it saves. */
const COMPRESS_FROM_BYTES = 128;
const COMPRESSION_LEVEL = 4;

/**
 * One byte string, compressed where that makes it smaller. `like`: bytes that it resembles, which are needed to read it
 * again.
 */
export function compress(bytes: Uint8Array, like?: Uint8Array): Uint8Array {
  const codec = like === undefined ? CODEC.dictionary1 : CODEC.like;
  const options = { ...optionsFor(bytes), dictionary: like?.subarray(-WINDOW_BYTES) ?? DICTIONARY_1 };
  const packed = bytes.byteLength < COMPRESS_FROM_BYTES ? undefined : deflateRawSync(bytes, options);
  const smaller = packed !== undefined && packed.byteLength < bytes.byteLength ? packed : undefined;
  return Buffer.concat([Uint8Array.of(FORMAT, smaller ? codec : CODEC.none), smaller ?? bytes]);
}

/** A chunk is a buffer that zlib allocates whole: by default 16 KB, many times what most records need. */
const optionsFor = ({ byteLength }: Uint8Array) => ({
  level: COMPRESSION_LEVEL,
  chunkSize: Math.min(16_384, Math.max(64, byteLength)),
});

/** @throws HoldpointError `corrupt` when the bytes are torn or of no format, `unsupported` when they are of a newer one */
export function decompress(bytes: Uint8Array, like?: Uint8Array): Uint8Array {
  const [format, codec] = bytes;
  if (format !== undefined && format > FORMAT) throw newerFormat(`a body of format ${format}`);
  if (format !== FORMAT) throw new HoldpointError("corrupt", `bytes of format ${format ?? "none"} cannot be read`);
  const rest = bytes.subarray(2);
  if (codec === CODEC.none) return rest;
  try {
    return inflateRawSync(rest, inflateOptions(codec, like));
  } catch (cause) {
    throw new HoldpointError("corrupt", "compressed bytes are torn", { cause });
  }
}

function inflateOptions(codec: number | undefined, like: Uint8Array | undefined) {
  if (codec === CODEC.deflate) return {};
  if (codec === CODEC.dictionary1) return { dictionary: DICTIONARY_1 };
  if (codec === CODEC.like && like !== undefined) return { dictionary: like.subarray(-WINDOW_BYTES) };
  throw new HoldpointError("corrupt", `bytes of codec ${codec ?? "none"} cannot be read`);
}

/** A header as it is stored and hashed. */
export const headerBytes = (header: unknown): Uint8Array => Buffer.from(JSON.stringify(header));

/** Layout: length of the header as 4 bytes, the header as JSON, the bytes that it describes one after the other. */
export function joinBody(header: Uint8Array, parts: readonly Uint8Array[]): Uint8Array {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(header.byteLength);
  return Buffer.concat([length, header, ...parts]);
}

export const packBody = (header: Uint8Array, parts: readonly Uint8Array[]): Uint8Array =>
  compress(joinBody(header, parts));

export interface Unpacked {
  /** Parsed. */
  readonly header: unknown;
  /** As it is hashed. */
  readonly bytes: Uint8Array;
  /** What stands behind it. */
  readonly rest: Uint8Array;
  readonly plain: Uint8Array;
}

/** `like`: as for `compress`. @throws HoldpointError as `decompress` */
export function unpackBody(body: Uint8Array, like?: Uint8Array): Unpacked {
  return parseBody(decompress(body, like));
}

/** Takes a body apart that is not compressed. @throws HoldpointError `corrupt` */
export function parseBody(bytesOfBody: Uint8Array): Unpacked {
  const plain = Buffer.from(bytesOfBody);
  const end = plain.byteLength < 4 ? Infinity : 4 + plain.readUInt32BE(0);
  if (end > plain.byteLength) throw new HoldpointError("corrupt", "a record's header is torn");
  const bytes = plain.subarray(4, end);
  try {
    const header: unknown = JSON.parse(bytes.toString("utf8"));
    return { header, bytes, rest: plain.subarray(end), plain };
  } catch (cause) {
    throw new HoldpointError("corrupt", "a record's header is not JSON", { cause });
  }
}
