/**
 * LangChain's own messages, in JSON and back, without the copies that its `toJSON` and its loader make. The list of
 * classes is closed: it is what `@langchain/core/messages` exports, and no name from a record is looked up elsewhere.
 */
import * as messages from "@langchain/core/messages";
import type { JsonRecord } from "./records.ts";

/** A message that has nothing of its own in how it is written. */
export interface OrdinaryMessage {
  readonly lc_kwargs: Readonly<Record<string, unknown>>;
  readonly [field: string]: unknown;
}

/** Makes a message of its fields as JSON has them. What the constructor throws is not caught. */
type MakeMessage = (kwargs: JsonRecord) => object;

type MessageClass = new (fields: JsonRecord) => messages.BaseMessage;

const ROOT = "langchain_core";
const NAMESPACE = [ROOT, "messages"];

/** By prototype, the identifier of each class. A subclass of somebody else's is not among them. */
const IDS: ReadonlyMap<unknown, readonly string[]> = new Map(
  Object.values(messages)
    .filter(isMessageClass)
    .map((kind) => [kind.prototype, idOf(kind)]),
);

const { ToolMessage, ToolMessageChunk } = messages;

/** By module, as LangChain's own loader spells it, and by name. */
const CLASSES: ReadonlyMap<string, ReadonlyMap<string, MakeMessage>> = new Map([
  ["messages", makersOf(messages)],
  ["messages__tool", makersOf({ ToolMessage, ToolMessageChunk })],
]);

// `instanceof` asks a message what it says of itself; a prototype says nothing.
function isMessageClass(value: unknown): value is MessageClass {
  return typeof value === "function" && prototypesOf(value.prototype).includes(messages.BaseMessage.prototype);
}

/** What an instance would say its identifier is. */
function idOf(kind: MessageClass): readonly string[] {
  const id: unknown = Reflect.get(kind.prototype, "lc_id", { lc_namespace: NAMESPACE, constructor: kind });
  return Array.isArray(id) ? id.map(String) : [];
}

function makersOf(classes: object): ReadonlyMap<string, MakeMessage> {
  const found = Object.entries(classes).filter((entry): entry is [string, MessageClass] => isMessageClass(entry[1]));
  return new Map(
    found.map(([name, kind]) => {
      const names = namesInJson(kind);
      return [name, (kwargs) => new kind(withOwnNames(kwargs, names))];
    }),
  );
}

/** The identifier of an ordinary message; undefined for anything else, which has to be asked for its JSON. */
export function messageId(value: object): readonly string[] | undefined {
  const id = IDS.get(Object.getPrototypeOf(value));
  // Who has one of these prototypes is a message.
  return id !== undefined && isOrdinary(value as messages.BaseMessage) ? id : undefined;
}

function isOrdinary(message: messages.BaseMessage): boolean {
  const { lc_kwargs, lc_namespace } = message;
  return (
    message.toJSON === messages.BaseMessage.prototype.toJSON &&
    message.lc_serializable &&
    typeof lc_kwargs === "object" &&
    // Null and arrays are none.
    Object.getPrototypeOf(lc_kwargs ?? []) === Object.prototype &&
    lc_namespace.length === NAMESPACE.length &&
    lc_namespace.every((part, n) => part === NAMESPACE[n])
  );
}

/** Who makes the message of an identifier such as `["langchain_core", "messages", "ai", "AIMessage"]`. */
export function makerOf(id: readonly unknown[]): MakeMessage | undefined {
  const name = id.at(-1);
  if (id[0] !== ROOT || typeof name !== "string") return undefined;
  // What Python adds to a namespace is no module here: the longest part that is one counts.
  for (let end = Math.min(id.length - 1, 3); end > 1; end -= 1) {
    const classes = CLASSES.get(id.slice(1, end).join("__"));
    if (classes !== undefined) return classes.get(name);
  }
  return undefined;
}

/** The usual fields, because a look at a set takes a quarter of the time of a pattern. */
const USUAL_FIELDS: ReadonlySet<string> = new Set([
  "content",
  "id",
  "name",
  "additional_kwargs",
  "response_metadata",
  "tool_calls",
  "invalid_tool_calls",
  "usage_metadata",
  "tool_call_id",
  "status",
  "artifact",
]);

/** The name under which a field stands in JSON: LangChain's snake case. */
export function nameInJson(key: string): string {
  if (USUAL_FIELDS.has(key)) return key;
  return key
    .replaceAll(/([A-Z]+)([A-Z][a-z0-9]+)/g, "$1_$2")
    .replaceAll(/([a-z0-9])([A-Z])/g, "$1_$2")
    .replaceAll(/[-_\s]+/g, "_")
    .toLowerCase();
}

/** By its name in JSON, each field whose own name is not the camel case of that. */
function namesInJson(kind: MessageClass): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  const prototypes = prototypesOf(kind.prototype);
  for (const prototype of prototypes) {
    const aliases: unknown = Reflect.get(prototype, "lc_aliases");
    for (const [field, alias] of Object.entries(aliases ?? {})) names.set(String(alias), field);
  }
  return names;
}

function prototypesOf(value: unknown): readonly object[] {
  return typeof value === "object" && value !== null ? [value, ...prototypesOf(Object.getPrototypeOf(value))] : [];
}

/** Changes nothing when every field has its own name already; otherwise makes a copy. */
function withOwnNames(kwargs: JsonRecord, names: ReadonlyMap<string, string>): JsonRecord {
  const keys = Object.keys(kwargs);
  const own = (key: string): string => names.get(key) ?? inCamelCase(key);
  if (keys.every((key) => own(key) === key)) return kwargs;
  return Object.fromEntries(keys.map((key) => [own(key), kwargs[key]]));
}

function inCamelCase(key: string): string {
  const trimmed = key.trim();
  if (!/[-_\s]/.test(trimmed)) return trimmed;
  return trimmed
    .replaceAll(/[-_\s]+/g, "_")
    .toLowerCase()
    .replaceAll(/_+([a-z0-9])/g, (_, letter: string) => letter.toUpperCase());
}
