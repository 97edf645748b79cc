/** The bytes of an upload as S3 takes them: unpacked from `aws-chunked`, and refused unless every checksum matches. */
import { createHash } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { crc32 } from "node:zlib";

/** What S3 answers in place of a result. */
export class S3Refusal extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, message = code) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

/** The checksums that S3 keeps of an object, by the end of their header's name. */
export type Checksums = Readonly<Record<string, string>>;

const ALGORITHMS: Readonly<Record<string, (bytes: Uint8Array) => string>> = {
  sha256: (bytes) => createHash("sha256").update(bytes).digest("base64"),
  sha1: (bytes) => createHash("sha1").update(bytes).digest("base64"),
  crc32: (bytes) => {
    const word = Buffer.alloc(4);
    word.writeUInt32BE(crc32(bytes));
    return word.toString("base64");
  },
};

/** The content of a request and the checksums that came with it. @throws S3Refusal when one does not match */
export function contentOf(
  headers: IncomingHttpHeaders,
  raw: Buffer,
): { readonly bytes: Buffer; readonly checksums: Checksums } {
  const signed = headerOf(headers, "x-amz-content-sha256") ?? "";
  const { bytes, trailers } = signed.startsWith("STREAMING-") ? unchunked(raw) : { bytes: raw, trailers: {} };
  const decoded = headerOf(headers, "x-amz-decoded-content-length");
  if (decoded !== undefined && Number(decoded) !== bytes.length) throw new S3Refusal(400, "IncompleteBody");
  if (/^[0-9a-f]{64}$/.test(signed) && createHash("sha256").update(raw).digest("hex") !== signed)
    throw new S3Refusal(400, "XAmzContentSHA256Mismatch");
  const md5 = headerOf(headers, "content-md5");
  if (md5 !== undefined && createHash("md5").update(bytes).digest("base64") !== md5)
    throw new S3Refusal(400, "BadDigest");
  const given = { ...headers, ...trailers };
  const checksums: Record<string, string> = {};
  for (const [algorithm, digest] of Object.entries(ALGORITHMS)) {
    const value = headerOf(given, `x-amz-checksum-${algorithm}`);
    if (value === undefined) continue;
    if (value !== digest(bytes)) throw new S3Refusal(400, "BadDigest", `the ${algorithm} does not match`);
    checksums[algorithm] = value;
  }
  return { bytes, checksums };
}

/** `<hex length>[;chunk-signature=…]\r\n<bytes>\r\n`, ended by a chunk of length 0 and then the trailers. */
function unchunked(raw: Buffer): { readonly bytes: Buffer; readonly trailers: Record<string, string> } {
  const chunks: Buffer[] = [];
  let at = 0;
  const line = (): string => {
    const end = raw.indexOf("\r\n", at);
    if (end < 0) throw new S3Refusal(400, "IncompleteBody");
    const text = raw.toString("latin1", at, end);
    at = end + 2;
    return text;
  };
  for (;;) {
    const length = Number.parseInt(line().split(";")[0] ?? "", 16);
    if (Number.isNaN(length) || at + length > raw.length) throw new S3Refusal(400, "IncompleteBody");
    if (length === 0) break;
    chunks.push(raw.subarray(at, at + length));
    at += length + 2;
  }
  const trailers: Record<string, string> = {};
  while (at < raw.length) {
    const [name = "", value = ""] = line().split(/:(.*)/s);
    if (name !== "") trailers[name.toLowerCase()] = value.trim();
  }
  return { bytes: Buffer.concat(chunks), trailers };
}

export function headerOf(headers: IncomingHttpHeaders, name: string): string | undefined {
  const value = headers[name];
  return typeof value === "string" ? value : undefined;
}
