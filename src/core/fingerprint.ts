/** What failures have in common: their class, their node, and what their messages say once ids and numbers are left out. */
import type { ErrorInfo } from "./errors.ts";
import { sha256 } from "./ids.ts";
import { canonicalJson } from "./json.ts";
import { PARKED } from "./run.ts";
import type { Run } from "./run.ts";

/** What differs from one failure to the next of the same kind. In this order: what is longer first. */
const VARIABLE: readonly (readonly [RegExp, string])[] = [
  [/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/gi, "<id>"],
  [/\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?/g, "<time>"],
  [/\bhttps?:\/\/[^\s"')]+/gi, "<url>"],
  [/[\w.+-]+@[\w-]+\.[\w.-]+/g, "<address>"],
  [/\b(?=[0-9a-f]*\d)(?=[0-9a-f]*[a-f])[0-9a-f]{8,}\b/gi, "<hex>"],
  [/"[^"]*"|'[^']*'|`[^`]*`/g, "<text>"],
  [/\d+(\.\d+)?/g, "<n>"],
];
/** The beginning of a message says what went wrong; its end quotes. */
const COMPARED = 300;

/** The message without what differs from one occurrence to the next. */
export function normalised(message: string): string {
  const constant = VARIABLE.reduce((text, [pattern, name]) => text.replaceAll(pattern, name), message.slice(0, 4096));
  return constant.replaceAll(/\s+/g, " ").trim().slice(0, COMPARED);
}

/** 16 hex digits, the same for failures of the same class, node and normalised message. */
export function fingerprint({ name, message, node }: ErrorInfo): string {
  return sha256(canonicalJson([name, node ?? "", normalised(message)])).slice(0, 16);
}

export interface Failure {
  readonly fingerprint: string;
  readonly errorClass: string;
  readonly node: string;
}

/** How a run failed; undefined for one that did not, or that an operator parked. */
export function failureOf({
  status,
  error,
  rolledBack,
}: Pick<Run, "status" | "error" | "rolledBack">): Failure | undefined {
  const failed = status === "error" || status === "timeout" || status === "parked";
  if (!failed || rolledBack || !error || error.name === PARKED) return undefined;
  return { fingerprint: fingerprint(error), errorClass: error.name, node: error.node ?? "" };
}
