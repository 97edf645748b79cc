/**
 * Frames of `application/vnd.amazon.eventstream`, written here from its description and not with the SDK's codec, so that
 * what the SDK reads is not what it wrote itself: lengths, CRC of the prelude, headers, payload, CRC of all of it.
 */
import { crc32 } from "node:zlib";

const STRING = 7;
const PRELUDE_BYTES = 12;
const CRC_BYTES = 4;

/** One event of a stream: `:message-type` event, its type, and a JSON payload. */
export const eventFrame = (type: string, payload: unknown): Buffer =>
  frame({ ":message-type": "event", ":event-type": type, ":content-type": "application/json" }, payload);

/** An exception in a stream that began with status 200. */
export const exceptionFrame = (type: string, message: string): Buffer =>
  frame({ ":message-type": "exception", ":exception-type": type, ":content-type": "application/json" }, { message });

/** The frame with one bit of its payload turned over: its checksum no longer fits. */
export function damaged(whole: Buffer): Buffer {
  const copy = Buffer.from(whole);
  const at = copy.length - CRC_BYTES - 2;
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}

function frame(headers: Readonly<Record<string, string>>, payload: unknown): Buffer {
  const head = Buffer.concat(Object.entries(headers).map(([name, value]) => header(name, value)));
  const body = Buffer.from(JSON.stringify(payload));
  const prelude = Buffer.alloc(PRELUDE_BYTES);
  prelude.writeUInt32BE(PRELUDE_BYTES + head.length + body.length + CRC_BYTES, 0);
  prelude.writeUInt32BE(head.length, 4);
  prelude.writeUInt32BE(crc32(prelude.subarray(0, 8)), 8);
  const framed = Buffer.concat([prelude, head, body]);
  return Buffer.concat([framed, word(crc32(framed))]);
}

function header(name: string, value: string): Buffer {
  const key = Buffer.from(name);
  const text = Buffer.from(value);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(text.length);
  return Buffer.concat([Buffer.from([key.length]), key, Buffer.from([STRING]), length, text]);
}

function word(value: number): Buffer {
  const bytes = Buffer.alloc(CRC_BYTES);
  bytes.writeUInt32BE(value);
  return bytes;
}
