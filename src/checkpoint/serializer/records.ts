/**
 * The closed set of built-in values that LangGraph's serializer writes as records with `lc: 2`. A record is data: one that
 * is not exactly as a dumper writes it stays what it is, and nothing that it names is looked up or called.
 */
import { DeltaSnapshot } from "@langchain/langgraph-checkpoint";

export type JsonRecord = Record<string, unknown>;

/** The value of a record whose fields have been revived; the record itself when it is of no known form. */
export function valueOfRecord(record: JsonRecord): unknown {
  if (record["type"] === "undefined") return undefined;
  if (record["type"] === "delta_snapshot" && Object.hasOwn(record, "value")) return new DeltaSnapshot(record["value"]);
  return record["type"] === "constructor" ? builtIn(record) : record;
}

function builtIn(record: JsonRecord): unknown {
  const { id, args, method } = record;
  if (!Array.isArray(id) || id.length !== 1 || !Array.isArray(args)) return record;
  const name: unknown = id[0];
  if (method === "from" && name !== "Uint8Array") return record;
  if (method !== "from" && method !== undefined && method !== null) return record;
  const first: unknown = args[0];
  const value = args.length === 1 && Array.isArray(first) ? fromItems(name, first) : fromTexts(name, args);
  return value ?? record;
}

function fromItems(name: unknown, items: readonly unknown[]): object | undefined {
  if (name === "Set") return new Set(items);
  if (name === "Map" && items.every(isEntry)) return new Map(items);
  return name === "Uint8Array" && items.every(isByte) ? new Uint8Array(items) : undefined;
}

function fromTexts(name: unknown, texts: readonly unknown[]): object | undefined {
  if (!texts.every(isString)) return undefined;
  if (name === "RegExp" && texts.length === 2) return regExp(texts);
  return name === "Error" && texts.length === 1 ? new Error(texts[0]) : undefined;
}

const isEntry = (value: unknown): value is [unknown, unknown] => Array.isArray(value) && value.length === 2;
const isString = (value: unknown): value is string => typeof value === "string";
const isByte = (value: unknown): value is number =>
  typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= 255;

function regExp([source = "", flags]: readonly string[]): RegExp | undefined {
  try {
    return new RegExp(source, flags);
  } catch {
    return undefined;
  }
}
