import express from "express";
import type { Request, Response } from "express";
import { assertSafeJson } from "../core/json.ts";
import { httpError } from "./errors.ts";

/** A parsed body and the bytes it was parsed from. `value` is undefined when there was no body. */
export interface Body {
  readonly value: unknown;
  readonly raw: Uint8Array;
}

export type BodyReader = (request: Request, response: Response) => Promise<Body>;

/**
 * Reads JSON of at most `limitBytes`, sent as JSON or, as browsers do to stay simple, as plain text.
 * @throws 400 malformed, 413 too large, 415 another type; HoldpointError `invalid` for unsafe keys and depth
 */
export function createBodyReader(limitBytes: number): BodyReader {
  const readBytes = express.raw({ type: () => true, limit: limitBytes });
  return async (request, response) => {
    if (request.is(["application/json", "text/plain"]) === false) {
      throw httpError(415, "the body must be JSON, sent as application/json or text/plain");
    }
    await new Promise<void>((resolve, reject) => {
      readBytes(request, response, (error?: Error) => (error ? reject(error) : resolve()));
    });
    const bytes: unknown = request.body;
    const raw = bytes instanceof Uint8Array ? bytes : new Uint8Array();
    if (raw.length === 0) return { value: undefined, raw };
    const value = parseJson(raw);
    assertSafeJson(value);
    return { value, raw };
  };
}

function parseJson(raw: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(raw));
  } catch {
    throw httpError(400, "the body is not valid JSON in UTF-8");
  }
}
