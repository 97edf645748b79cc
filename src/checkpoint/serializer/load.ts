/**
 * Values out of JSON text. What `JSON.parse` made is changed in place, from the inside out.
 *
 * Of the classes that a record with `lc: 1` may name, messages are made here. Any other is left to LangGraph's own
 * loader, which is asynchronous: it is reported as unresolved, and loading begins again with that loader's answers.
 */
import { HoldpointError } from "../../core/errors.ts";
import { makerOf } from "./messages.ts";
import { valueOfRecord } from "./records.ts";
import type { JsonRecord } from "./records.ts";

/** Where a value stands: within messages LangChain escapes what could be taken for a class, and that names none. */
type Place = "state" | "message" | "escaped";

/** Mutable, one for each text. */
interface Loading {
  /** The JSON of records that only the other loader may know, in the order of the text. */
  readonly unresolved: string[];
  /** Its answers, in the same order. */
  readonly resolved: readonly unknown[];
  next: number;
}

type LoadedText = { readonly value: unknown } | { readonly unresolved: readonly string[] };

/** @throws HoldpointError `corrupt` for a text that is not JSON, or is nested too deeply, or names no class */
export function loadText(text: string, resolved: readonly unknown[] = []): LoadedText {
  const parsed = parse(text);
  if (typeof parsed !== "object" || parsed === null) return { value: parsed };
  const loading: Loading = { unresolved: [], resolved, next: 0 };
  const value = reviveAll(parsed, loading);
  return loading.unresolved.length > 0 ? { unresolved: loading.unresolved } : { value };
}

/** Loads a text with the answers of another loader to what is not resolved here. */
export async function loadTextWith(text: string, resolve: (json: string) => Promise<unknown>): Promise<unknown> {
  const first = loadText(text);
  if ("value" in first) return first.value;
  const second = loadText(text, await Promise.all(first.unresolved.map(resolve)));
  if ("value" in second) return second.value;
  throw new HoldpointError("internal", "a stored object was resolved and is not");
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw new HoldpointError("corrupt", "a stored value is not JSON", { cause });
  }
}

function reviveAll(parsed: object, loading: Loading): unknown {
  try {
    return revive(parsed, "state", loading);
  } catch (cause) {
    if (!(cause instanceof RangeError)) throw cause;
    throw new HoldpointError("corrupt", "a stored value is nested too deeply", { cause });
  }
}

function revive(value: object, place: Place, loading: Loading): unknown {
  if (Array.isArray(value)) return reviveItems(value, place, loading);
  const record = value as JsonRecord;
  if (place === "message" && isEscaped(record)) return unescaped(record[ESCAPED], loading);
  const { lc } = record;
  if (lc === 1 && place !== "escaped") return reviveObject(record, place, loading);
  reviveFields(record, place, loading);
  return lc === 2 ? valueOfRecord(record) : record;
}

function reviveItems(items: unknown[], place: Place, loading: Loading): unknown[] {
  for (const [index, item] of items.entries())
    if (typeof item === "object" && item !== null) items[index] = revive(item, place, loading);
  return items;
}

function reviveFields(fields: JsonRecord, place: Place, loading: Loading): JsonRecord {
  // Every key is an own one already, `__proto__` too: setting it changes no prototype.
  for (const key of Object.keys(fields)) {
    const value = fields[key];
    if (typeof value === "object" && value !== null) fields[key] = revive(value, place, loading);
  }
  return fields;
}

function reviveObject(record: JsonRecord, place: Place, loading: Loading): unknown {
  const { type, id, kwargs } = record;
  if (type !== "constructor" || !Array.isArray(id)) return reviveFields(record, place, loading);
  const make = makerOf(id);
  if (make === undefined || !isFields(kwargs)) return leaveToOther(record, id, loading);
  reviveFields(kwargs, "message", loading);
  return loading.unresolved.length > 0 ? record : make(kwargs);
}

const ESCAPED = "__lc_escaped__";

const isEscaped = (record: JsonRecord): boolean => Object.hasOwn(record, ESCAPED) && Object.keys(record).length === 1;

const isFields = (value: unknown): value is JsonRecord =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !("lc" in value) && !(ESCAPED in value);

/** What a user's object was that looked like one of LangChain's; only its parts are looked at. */
function unescaped(content: unknown, loading: Loading): unknown {
  if (typeof content !== "object" || content === null) return content;
  return Array.isArray(content)
    ? reviveItems(content, "escaped", loading)
    : reviveFields(content as JsonRecord, "escaped", loading);
}

function leaveToOther(record: JsonRecord, id: readonly unknown[], loading: Loading): unknown {
  const name = id.at(-1);
  // The other loader would find these on every module, and `constructor` is a class.
  if (typeof name === "string" && name in Object.prototype && "kwargs" in record)
    throw new HoldpointError("corrupt", `a stored object names no class: ${name}`);
  if (loading.next < loading.resolved.length) {
    loading.next += 1;
    return loading.resolved[loading.next - 1];
  }
  loading.unresolved.push(JSON.stringify(record));
  return record;
}
