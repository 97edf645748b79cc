/** Versions and write ids as every adapter gives them. */
import type { IdSource } from "../core/ids.ts";
import type { When } from "./table.ts";

/** A write id for a write whose caller gave none. */
export const newWriteId = (ids: IdSource): string => ids.token(8);

/**
 * A version that no earlier item under the key can have had: one more than the version it replaces, and otherwise 48 bits
 * drawn at random, so that an item removed and created again is never taken for the one that was read.
 */
export const newVersion = (when: When, ids: IdSource): number =>
  typeof when === "object" ? when.version + 1 : Number.parseInt(ids.token(6), 16);
