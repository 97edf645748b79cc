/**
 * LangGraph's own serializer and ours on states of about 2 MB, in turn, and beside both what no serializer of JSON can go
 * below here: V8's own `JSON.stringify` or `JSON.parse` on the same text, with its bytes.
 */
import { JsonPlusSerializer } from "@langchain/langgraph-checkpoint";
import { createSerializer } from "../../src/checkpoint/serializer/serializer.ts";
import { report, shown } from "../support/figures.ts";
import type { Figure } from "../support/figures.ts";
import { readOptions } from "../support/options.ts";
import { median, textTable } from "../support/stats.ts";
import { chatOf, filesOf, proseOf } from "./states.ts";

const LINE = {
  name: "serializer",
  about:
    "Milliseconds to write and to read a state, LangGraph's serializer and ours in turn. Nothing is compared that does not have the same bytes. Published as it stands.",
  options: {
    bytes: { fallback: 2_000_000, says: "serialized size of each state, about" },
    rounds: { fallback: 40, says: "rounds, of which the median is shown" },
  },
} as const;

/** Milliseconds. */
interface Times {
  readonly stock: number;
  readonly ours: number;
  readonly json: number;
}

/** Prints both directions of every state. */
export async function main(argv: readonly string[]): Promise<number> {
  const values = readOptions(LINE, argv);
  if (values === undefined) return 0;
  const states: Readonly<Record<string, unknown>> = {
    "chat of messages": chatOf(values.bytes),
    "chat, not ASCII": chatOf(values.bytes, "… naïve, 漢字 and 😀"),
    "files, as lines": filesOf(values.bytes, "lines"),
    "files, as texts": filesOf(values.bytes, "texts"),
    "one string": proseOf(values.bytes, 1),
  };
  const rows: (readonly string[])[] = [["", "LangGraph", "ours", "ratio", "JSON alone"]];
  const figures: Figure[] = [];
  for (const [name, state] of Object.entries(states)) {
    const { write, read } = await measure(state, values.rounds);
    rows.push(rowOf(`write: ${name}`, write), rowOf(`read: ${name}`, read));
    if (name !== "chat of messages") continue;
    const what = "read a chat: times faster than LangGraph's";
    figures.push({ what, value: read.stock / read.ours, unit: "x", bar: { atLeast: 10 }, noisy: true });
  }
  console.log(`\n${textTable(rows)}\n`);
  return report(figures);
}

const rowOf = (name: string, { stock, ours, json }: Times): readonly string[] => [
  name,
  shown(stock, "ms"),
  shown(ours, "ms"),
  shown(stock / ours, "x"),
  shown(json, "ms"),
];

async function measure(state: unknown, rounds: number): Promise<{ readonly write: Times; readonly read: Times }> {
  const stock = new JsonPlusSerializer();
  const ours = createSerializer();
  const [, bytes] = ours.dumpsSync(state);
  const [, theirs] = await stock.dumpsTyped(state);
  if (!Buffer.from(bytes).equals(theirs)) throw new Error("the two serializers do not write the same bytes");
  const encoder = new TextEncoder();
  const decoder = new TextDecoder();
  const plain: unknown = JSON.parse(decoder.decode(bytes));
  const write = await inTurn(rounds, {
    stock: () => stock.dumpsTyped(state),
    ours: () => ours.dumpsSync(state),
    json: () => encoder.encode(JSON.stringify(plain)),
  });
  const read = await inTurn(rounds, {
    stock: () => stock.loadsTyped("json", bytes),
    ours: () => ours.loadsSync("json", bytes),
    json: () => JSON.parse(decoder.decode(bytes)) as unknown,
  });
  return { write, read };
}

/** The median of each, after a few rounds that only warm up. */
async function inTurn(rounds: number, calls: Readonly<Record<keyof Times, () => unknown>>): Promise<Times> {
  const took = { stock: [] as number[], ours: [] as number[], json: [] as number[] };
  const warmUp = 5;
  for (let round = -warmUp; round < rounds; round += 1) {
    for (const name of ["stock", "ours", "json"] as const) {
      const began = performance.now();
      await calls[name]();
      if (round >= 0) took[name].push(performance.now() - began);
    }
  }
  return { stock: median(took.stock), ours: median(took.ours), json: median(took.json) };
}
