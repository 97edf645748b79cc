/**
 * What a minute of a model's tokens costs to keep, and how late a reader of another process sees them: the event log's pace
 * is both. The graph, its model, worker and reader are real; time is virtual and passes only from call to call, and each
 * call of the table takes a few milliseconds of it. So the figures are the same on any machine.
 */
import type { Json } from "../../src/core/json.ts";
import type { StreamMode } from "../../src/core/run.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import { createMemoryTable } from "../../test/support/memory-table.ts";
import { createCountingTable } from "../support/counting-table.ts";
import type { Call } from "../support/counting-table.ts";
import { report } from "../support/figures.ts";
import type { Figure } from "../support/figures.ts";
import { readOptions } from "../support/options.ts";
import { percentile } from "../support/stats.ts";
import { createVirtualClock } from "../support/virtual-clock.ts";
import type { VirtualClock } from "../support/virtual-clock.ts";
import { speakingGraph } from "./chat.ts";
import {
  acceptOn,
  isOfCheckpointer,
  isOfEvents,
  newThread,
  openApi,
  principal,
  startWorker,
  unitsOf,
} from "./service.ts";

const LINE = {
  name: "tokens",
  about:
    "One minute of streamed tokens: write units, and how late a reader in another process sees a token. On a virtual clock, and so the same on any machine.",
  options: {
    seconds: { fallback: 60, says: "seconds for which the model speaks; units are those of a minute" },
    "tokens-per-second": { fallback: 30, says: "tokens that it says in each" },
    "round-trip-ms": { fallback: 5, says: "milliseconds that each call of the table takes" },
  },
} as const;

interface Plan {
  readonly seconds: number;
  readonly tokensPerSecond: number;
  readonly roundTripMs: number;
}

/** Prints the units of the mode that clients ask for, and of the older one beside it. */
export async function main(argv: readonly string[]): Promise<number> {
  const values = readOptions(LINE, argv);
  if (values === undefined) return 0;
  const plan: Plan = {
    seconds: values.seconds,
    tokensPerSecond: values["tokens-per-second"],
    roundTripMs: values["round-trip-ms"],
  };
  const tuples = await speak(plan, "messages-tuple");
  const whole = await speak(plan, "messages");
  const perMinute = (calls: readonly Call[]): number => (unitsOf(calls) * 60) / plan.seconds;
  const rows = (seen: Seen): readonly Figure[] => [
    { what: "  of them the event log's", value: perMinute(seen.streamed.filter(isOfEvents)), unit: "" },
    { what: "  batches of the event log", value: seen.streamed.filter(isOfEvents).length, unit: "" },
    { what: `  tokens that came, of ${plan.seconds * plan.tokensPerSecond}`, value: seen.delays.length, unit: "" },
    { what: "  bytes that readers are sent, each token", value: seen.bytes / seen.delays.length, unit: "" },
    { what: "  token to reader in another process, p50", value: percentile(seen.delays, 0.5), unit: "ms" },
    { what: "  token to reader in another process, p95", value: percentile(seen.delays, 0.95), unit: "ms" },
  ];
  return report([
    {
      what: "write units of a minute of tokens (events `messages`), the checkpointer's not included",
      value: perMinute(tuples.streamed),
      unit: "",
      bar: { atMost: 400 },
      aim: { atMost: 250 },
    },
    ...rows(tuples),
    { what: "the same with the legacy events `messages/partial`", value: perMinute(whole.streamed), unit: "" },
    ...rows(whole),
  ]);
}

interface Seen {
  /** Writes from the first token to the last frame, whoever made them; without those of the checkpointer. */
  readonly streamed: readonly Call[];
  /** Of each token, milliseconds until a reader had it. */
  readonly delays: readonly number[];
  readonly bytes: number;
}

/** One run whose model speaks, followed by a reader in another process. */
async function speak({ seconds, tokensPerSecond, roundTripMs }: Plan, mode: StreamMode): Promise<Seen> {
  const clock = createVirtualClock();
  const saidAt: number[] = [];
  const tokens = Math.round(seconds * tokensPerSecond);
  const graph = speakingGraph({ clock, tokens, tokensPerSecond, onToken: () => saidAt.push(clock.monotonic()) });
  const graphs = createRegistry([registeredGraph("speaking", graph)]);
  const memory = createMemoryTable({ now: () => clock.wall() });
  const roundTrip = (): Promise<void> => clock.sleep(roundTripMs);
  const [written, read] = [0, 1].map(() => createCountingTable(memory, { now: () => clock.monotonic(), roundTrip }));
  if (written === undefined || read === undefined) throw new Error("no tables");
  const one = openApi({ table: written, graphs, clock });
  const other = openApi({ table: read, graphs, clock });
  const worker = startWorker(one);
  const followed = follow({ one, other }, { mode, clock });
  const { seenAt, bytes } = await clock.run(followed);
  await clock.run(worker[Symbol.asyncDispose]());
  if (saidAt.length !== tokens) throw new Error(`${saidAt.length} of ${tokens} tokens were said`);
  const began = saidAt[0] ?? 0;
  const streamed = written.calls.filter((call) => call.units > 0 && call.start >= began && !isOfCheckpointer(call));
  return { streamed, bytes, delays: seenAt.map((at, n) => at - (saidAt[n] ?? Number.NaN)) };
}

type Api = ReturnType<typeof openApi>;

/** Follows a run of one process in another; answers when each token came, and how much was read. */
async function follow(
  { one, other }: { readonly one: Api; readonly other: Api },
  { mode, clock }: { readonly mode: StreamMode; readonly clock: VirtualClock },
): Promise<{ readonly seenAt: readonly number[]; readonly bytes: number }> {
  const threadId = await newThread(one.runtime);
  const input = { messages: [{ role: "user", content: "speak" }] };
  const { runId } = await acceptOn(one.runtime, { threadId, graphId: "speaking", input, streamModes: [mode] });
  const signal = new AbortController().signal;
  const seenAt: number[] = [];
  let bytes = 0;
  for await (const item of other.runtime.runs.follow(principal, { threadId, runId, after: -1, signal })) {
    if (item.kind === "end" && item.run.status !== "success") throw new Error(`the run came to ${item.run.status}`);
    if (item.kind === "end" || !isToken(item.frame.event, item.frame.data)) continue;
    seenAt.push(clock.monotonic());
    bytes += Buffer.byteLength(JSON.stringify(item.frame.data));
  }
  return { seenAt, bytes };
}

/** The last piece of a message may be empty: it says that the message is whole. */
function isToken(event: string, data: Json): boolean {
  if (event === "messages/partial") return true;
  if (event !== "messages" || !Array.isArray(data)) return false;
  const [message] = data as readonly { readonly content?: unknown }[];
  return message?.content !== "";
}
