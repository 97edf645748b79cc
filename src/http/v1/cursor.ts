/** Cursors of lists. One says whose list it continues, so that it is refused, and not misread, anywhere else. */
import { createHash } from "node:crypto";
import { z } from "zod";
import { HoldpointError } from "../../core/errors.ts";
import type { Principal } from "../../core/principal.ts";

/** What a list is, besides its tenant: its name, and the filters that it was asked with. */
export type ListOf = Readonly<Record<string, unknown>>;

const parts = z.tuple([z.string(), z.string()]);

export function writeCursor(principal: Principal, list: ListOf, after: string): string {
  return Buffer.from(JSON.stringify([markOf(principal, list), after])).toString("base64url");
}

/** @throws HoldpointError `invalid` for a cursor of any other list */
export function readCursor(principal: Principal, list: ListOf, cursor: string): string {
  const found = parts.safeParse(parsed(Buffer.from(cursor, "base64url").toString("utf8")));
  if (found.success && found.data[0] === markOf(principal, list)) return found.data[1];
  throw new HoldpointError("invalid", "query.cursor: not a cursor of this list");
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function markOf({ tenant }: Principal, list: ListOf): string {
  const text = JSON.stringify([tenant, Object.entries(list).toSorted(([a], [b]) => (a < b ? -1 : 1))]);
  return createHash("sha256").update(text).digest("base64url").slice(0, 22);
}
