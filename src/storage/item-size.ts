/** What an item weighs and which values it may hold: one measure for every adapter, as DynamoDB counts it. */
import { HoldpointError } from "../core/errors.ts";
import { MAX_ITEM_BYTES } from "./table.ts";
import type { Attributes, Draft, Value } from "./table.ts";

/** Names of the adapter's own attributes, version, write id and expiry: never less than what DynamoDB adds for them. */
const OWN_BYTES = 60;
/** DynamoDB's numbers have 38 digits and lie between these magnitudes; no adapter accepts what another would refuse. */
const SMALLEST_NUMBER = 1e-130;
const LARGEST_NUMBER = 9.99e125;

/**
 * Bytes of an item: UTF-8 names and values, 3 for a container and 1 for each of its elements.
 * @throws HoldpointError `invalid` for a number that DynamoDB cannot hold
 */
export function itemBytes(draft: Draft): number {
  let bytes = OWN_BYTES + textBytes(draft.pk) + textBytes(draft.sk);
  for (const key of [draft.index?.due, draft.index?.list]) {
    if (key !== undefined) bytes += 14 + textBytes(key.pk) + textBytes(key.sk);
  }
  return bytes + mapBytes(draft.attributes);
}

/**
 * Refuses, before any request, what the table would refuse.
 * @throws HoldpointError `item_too_large` above 400 KB, `invalid` for a number that no table can hold
 */
export function assertStorable(draft: Draft): number {
  const bytes = itemBytes(draft);
  if (bytes <= MAX_ITEM_BYTES) return bytes;
  throw itemTooLarge(draft.sk, bytes);
}

/** The error of an item above the limit, naming its sort key. */
export function itemTooLarge(sk: string, bytes?: number, cause?: unknown): HoldpointError {
  const size = bytes === undefined ? "an item" : `an item of ${bytes} bytes`;
  return new HoldpointError("item_too_large", `${size} (${sk}) exceeds the limit of ${MAX_ITEM_BYTES} bytes`, {
    cause,
  });
}

const textBytes = (text: string): number => Buffer.byteLength(text);

function mapBytes(map: Attributes): number {
  let bytes = 3;
  for (const name in map) {
    const value = map[name];
    // One more than the name: the adapter's prefix, or the element's own byte.
    if (value !== undefined) bytes += textBytes(name) + 1 + valueBytes(value);
  }
  return bytes;
}

function valueBytes(value: Value): number {
  if (typeof value === "string") return textBytes(value);
  if (typeof value === "number") return numberBytes(value);
  if (value === null || typeof value === "boolean") return 1;
  if (value instanceof Uint8Array) return value.byteLength;
  if (!isList(value)) return mapBytes(value);
  let bytes = 3;
  for (const element of value) bytes += 1 + valueBytes(element);
  return bytes;
}

function numberBytes(value: number): number {
  const size = Math.abs(value);
  if (size > LARGEST_NUMBER || (size < SMALLEST_NUMBER && size !== 0) || Number.isNaN(value)) {
    throw new HoldpointError("invalid", `the number ${value} cannot be stored`);
  }
  return Math.ceil(String(value).length / 2) + 2;
}

/** `Array.isArray` for values, which TypeScript does not narrow by itself when arrays are readonly. */
export const isList = (value: Value): value is readonly Value[] => Array.isArray(value);
