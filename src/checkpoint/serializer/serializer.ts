/**
 * LangGraph's JSON serializer (`JsonPlusSerializer` of @langchain/langgraph-checkpoint 1.2.2) without its waits and copies:
 * the same types, the same bytes, and it reads what that one has written. It differs only where that one loses data,
 * lets data reach a prototype, or shares memory; `test/unit/serializer-deviations.test.ts` shows both sides of each.
 *
 * Refused with `invalid` and the path, where the other writes something in place of the value:
 * - what refers back to itself ("[Circular]"), through a set or a map too;
 * - a bigint, a `toJSON` or an accessor that throws, more than 1,000 levels of nesting (the whole value becomes a
 *   sentence; a bigint that has a `toJSON` is written by both);
 * - a function or a symbol that stands alone (no bytes at all). Within objects and arrays both leave them out, as JSON does.
 *
 * Written within a message, where the other writes `{}` or nothing:
 * - sets, maps, dates, regular expressions, errors, bytes, and whatever else has a `toJSON` and no fields to be seen;
 * - a key `__proto__` in the fields of a message.
 *
 * Read otherwise:
 * - a key `__proto__` is a key. There it becomes the prototype of its object;
 * - values within a message stay what they are. There they pass through JSON a second time, which leaves `{}` of sets and
 *   maps, and nothing of undefined;
 * - what LangChain has escaped within a message is data. There its classes are made, and an unknown one fails the state;
 * - the stub of an object that could not be serialized, within a message, stays a stub. There it fails the state;
 * - more than 50 levels within a message are read. There they fail the state;
 * - a record that names `constructor` or another member of `Object.prototype` as its class is `corrupt`. There it is called;
 * - bytes that stand alone are copied in both directions. There they are shared with whoever holds the value or the record.
 *
 * Lost by both, because another form could not be read by the other: the class and the cause of an error, the class of a
 * date, a buffer, a document, a command or an instance of an own class, and of numbers NaN, the infinities and the sign of zero.
 */
import { JsonPlusSerializer } from "@langchain/langgraph-checkpoint";
import type { SerializerProtocol } from "@langchain/langgraph-checkpoint";
import { HoldpointError } from "../../core/errors.ts";
import { dumpText } from "./dump.ts";
import { loadText, loadTextWith } from "./load.ts";

/** A serializer that can be called without waiting. */
export interface SyncSerializer extends SerializerProtocol {
  /** @throws HoldpointError `invalid` that names the path of what cannot be written */
  dumpsSync(value: unknown): readonly [type: string, bytes: Uint8Array];
  /** Undefined when only `loadsTyped` can tell. @throws HoldpointError `corrupt` for what cannot be read */
  loadsSync(type: string, data: Uint8Array | string): { readonly value: unknown } | undefined;
}

export const isSyncSerializer = (serde: SerializerProtocol): serde is SyncSerializer =>
  "dumpsSync" in serde && "loadsSync" in serde;

/** Holds nothing of what it writes or reads: one serves any number of savers. */
export function createSerializer(): SyncSerializer {
  const stock = new JsonPlusSerializer();
  const encoder = new TextEncoder();
  const decoder = new TextDecoder();

  const dumpsSync: SyncSerializer["dumpsSync"] = (value) =>
    value instanceof Uint8Array ? ["bytes", Uint8Array.from(value)] : ["json", encoder.encode(dumpText(value))];

  const textOf = (data: Uint8Array | string): string => (typeof data === "string" ? data : decoder.decode(data));

  const loadsSync: SyncSerializer["loadsSync"] = (type, data) => {
    if (type === "bytes") return { value: typeof data === "string" ? encoder.encode(data) : Uint8Array.from(data) };
    assertJson(type);
    const loaded = loadText(textOf(data));
    return "value" in loaded ? loaded : undefined;
  };

  return {
    dumpsSync,
    loadsSync,
    dumpsTyped: async (value) => [...dumpsSync(value)],
    loadsTyped: async (type, data) => {
      if (type !== "json") return loadsSync(type, data)?.value;
      return loadTextWith(textOf(data), (record) => stock.loadsTyped("json", record) as Promise<unknown>);
    },
  };
}

function assertJson(type: string): void {
  if (type !== "json") throw new HoldpointError("corrupt", `a stored value is of an unknown type: ${type}`);
}
