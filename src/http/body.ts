import express from "express";
import type { Request, Response } from "express";
import { HoldpointError } from "../core/errors.ts";
import { assertSafeJson } from "../core/json.ts";
import { httpError } from "./errors.ts";

/** A parsed body and the bytes it was parsed from. `value` is undefined when there was no body. */
export interface Body {
  readonly value: unknown;
  readonly raw: Uint8Array;
}

const MAX_DEPTH = 64;

export type BodyReader = (request: Request, response: Response) => Promise<Body>;

/**
 * Reads JSON of at most `limitBytes`, sent as JSON or, as browsers do to stay simple, as plain text.
 * @throws 400 malformed, 413 too large, 415 another type; HoldpointError `invalid` for unsafe keys and depth
 */
export function createBodyReader(limitBytes: number): BodyReader {
  const readBytes = express.raw({ type: () => true, limit: limitBytes });
  return async (request, response) => {
    if (isEmpty(request)) return { value: undefined, raw: new Uint8Array() };
    if (request.is(["application/json", "text/plain"]) === false) {
      throw httpError(415, "the body must be JSON, sent as application/json or text/plain");
    }
    await new Promise<void>((resolve, reject) => {
      readBytes(request, response, (error?: Error) => (error ? reject(error) : resolve()));
    });
    const bytes: unknown = request.body;
    const raw = bytes instanceof Uint8Array ? bytes : new Uint8Array();
    if (raw.length === 0) return { value: undefined, raw };
    if (isDeeperThan(MAX_DEPTH, raw)) {
      throw new HoldpointError("invalid", `the body is nested deeper than ${MAX_DEPTH} levels`);
    }
    const value = parseJson(raw);
    assertSafeJson(value, MAX_DEPTH);
    return { value, raw };
  };
}

/** Reads what a form of a page sends. @throws 413 too large, 415 another type */
export function createFormReader(limitBytes: number) {
  const readBytes = express.raw({ type: () => true, limit: limitBytes });
  return async (request: Request, response: Response): Promise<URLSearchParams> => {
    if (isEmpty(request)) return new URLSearchParams();
    if (request.is("application/x-www-form-urlencoded") === false)
      throw httpError(415, "the body must be that of a form");
    await new Promise<void>((resolve, reject) => {
      readBytes(request, response, (error?: Error) => (error ? reject(error) : resolve()));
    });
    const bytes: unknown = request.body;
    return new URLSearchParams(bytes instanceof Uint8Array ? Buffer.from(bytes).toString("utf8") : "");
  };
}

/** Clients that send nothing say so, and name no type either. */
function isEmpty(request: Request): boolean {
  return request.get("content-length") === "0" && request.get("transfer-encoding") === undefined;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** Looks before parsing: a few megabytes of brackets cost the parser, and everybody else, most of a second. */
function isDeeperThan(maxDepth: number, json: Uint8Array): boolean {
  let depth = 0;
  let inText = false;
  for (let i = 0; i < json.length; i++) {
    const byte = json[i];
    if (inText) {
      if (byte === BACKSLASH) i++;
      else if (byte === QUOTE) inText = false;
    } else if (byte === QUOTE) {
      inText = true;
    } else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > maxDepth) return true;
    } else if (byte === 0x5d || byte === 0x7d) {
      depth--;
    }
  }
  return false;
}

function parseJson(raw: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(raw));
  } catch {
    throw httpError(400, "the body is not valid JSON in UTF-8");
  }
}
