import { z } from "zod";

/** Times that keys can hold. */
const LATEST = 9_999_999_999_999;

/** A time of a query string, ISO 8601 or milliseconds since the epoch, as milliseconds. */
export const queryTime = z
  .string()
  .max(64)
  .optional()
  .transform((text, context) => {
    if (text === undefined) return undefined;
    const ms = /^\d{1,13}$/.test(text) ? Number(text) : Date.parse(text);
    if (!(ms >= 0 && ms <= LATEST)) context.addIssue("not a time: send ISO 8601 or milliseconds");
    return ms;
  });
