/** LangGraph's own serializer beside ours. */
import { isDeepStrictEqual } from "node:util";
import { JsonPlusSerializer } from "@langchain/langgraph-checkpoint";
import { expect } from "vitest";
import { createSerializer } from "../../src/checkpoint/serializer/serializer.ts";

export const ours = createSerializer();
export const stock = new JsonPlusSerializer();

export const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString();
export const bytesOf = (json: string): Uint8Array => new TextEncoder().encode(json);

export const stockText = async (value: unknown): Promise<string> => text((await stock.dumpsTyped(value))[1]);
export const ourText = (value: unknown): string => text(ours.dumpsSync(value)[1]);

/** What our loader makes of a text without waiting. @throws Error when it could not */
export function loaded(json: string): unknown {
  const found = ours.loadsSync("json", json);
  if (found === undefined) throw new Error("only the asynchronous loader can tell");
  return found.value;
}

export const stockLoaded = async (json: string): Promise<unknown> => (await stock.loadsTyped("json", json)) as unknown;

/** The same bytes out, and the same value back, prototypes included; what is loaded is written as it was, too. */
export async function expectSame(value: unknown): Promise<void> {
  const theirs = await stock.dumpsTyped(value);
  const mine = ours.dumpsSync(value);
  expect([mine[0], text(mine[1])]).toStrictEqual([theirs[0], text(theirs[1])]);
  await expectSameLoaded(text(theirs[1]));
}

export async function expectSameLoaded(json: string): Promise<void> {
  const theirs = await stockLoaded(json);
  const mine: unknown = await ours.loadsTyped("json", json);
  // Sees prototypes, signs of zero and the contents of sets; what is different then, `toStrictEqual` shows.
  if (isDeepStrictEqual(mine, theirs)) return;
  expect(mine).toStrictEqual(theirs);
  expect.unreachable("the values are not of the same classes");
}
