import type { Request } from "express";
import { z } from "zod";
import { HoldpointError } from "../../core/errors.ts";
import { parse, queryFlag } from "../parse.ts";
import type { Call } from "../route.ts";

const CREDENTIALS = new Set(["x-api-key", "x-tenant-id", "x-service-key"]);

/** The headers that a graph finds in `configurable`: every `x-*` except credentials, and the user agent. */
export function headersForGraphs(request: Request): Record<string, string> {
  const copied = Object.entries(request.headers).filter(
    ([header]) => header === "user-agent" || (header.startsWith("x-") && !CREDENTIALS.has(header)),
  );
  return Object.fromEntries(copied.map(([header, value]) => [header, String(value)]));
}

const idempotencyKey = z.string().regex(/^[\x21-\x7e]{1,255}$/, "Idempotency-Key is 1 to 255 visible ASCII characters");

/** The `Idempotency-Key` of a request, bound to its method, path and body. */
export function idempotencyOf({
  request,
  bodyHash,
}: Call): { readonly key: string; readonly bodyHash: string } | undefined {
  const key = request.get("idempotency-key");
  return key === undefined ? undefined : { key: parse(idempotencyKey, key, "header"), bodyHash };
}

const FORCE = "holdpoint-force";
const forceHeader = z.object({ [FORCE]: queryFlag });

/** Whether the caller insists (`Holdpoint-Force: true`): on a rollback, for one, over effects that happened. */
export function isForced(request: Request): boolean {
  return parse(forceHeader, { [FORCE]: request.get(FORCE) }, "header")[FORCE];
}

/** Number of the last frame that a reader has: -1 for none, undefined when the header is absent. */
export function lastEventId(request: Request): number | undefined {
  const id = request.get("last-event-id");
  if (id === undefined || id === "") return undefined;
  if (/^(-1|\d{1,15})$/.test(id)) return Number(id);
  throw new HoldpointError("invalid", "header.last-event-id: not the id of an event");
}
