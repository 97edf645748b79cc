/**
 * How late a reader sees what a graph says, with API and worker in processes of their own that meet only in the table: each
 * frame carries the time at which the graph wrote it, and the client looks at the same machine's clock when it has it.
 */
import type { Client } from "../server/client.ts";
import { report } from "../support/figures.ts";
import type { Figure } from "../support/figures.ts";
import { readOptions } from "../support/options.ts";
import { percentile } from "../support/stats.ts";
import { openEngine, openFleet } from "./fleet.ts";
import { newThreadId } from "./runs.ts";

const LINE = {
  name: "frames",
  about:
    "API and worker apart: milliseconds from a frame being written by the graph to a client having it, for single frames and in a stream. Published as it stands, on a quiet machine.",
  options: {
    engine: { fallback: "both", says: "sqlite, dynamodb-local, or both: the latter where Java and Maven are found" },
    frames: { fallback: 50, says: "single frames" },
    "pause-ms": { fallback: 400, says: "milliseconds between single frames" },
    tokens: { fallback: 450, says: "frames of a stream" },
    "token-ms": { fallback: 33, says: "milliseconds between those of a stream" },
  },
} as const;

const BOUNDS = {
  sqlite: { bar: { atMost: 30 }, aim: { atMost: 15 } },
  "dynamodb-local": { bar: { atMost: 150 }, aim: { atMost: 80 } },
} as const;
type EngineName = keyof typeof BOUNDS;

interface Pace {
  readonly frames: number;
  readonly pauseMs: number;
}

/** Prints the delays of both paces on each engine. */
export async function main(argv: readonly string[]): Promise<number> {
  const values = readOptions(LINE, argv);
  if (values === undefined) return 0;
  const single = { frames: values.frames, pauseMs: values["pause-ms"] };
  const stream = { frames: values.tokens, pauseMs: values["token-ms"] };
  const figures: Figure[] = [];
  for (const name of enginesOf(values.engine)) figures.push(...(await measure(name, single, stream)));
  return report(figures);
}

function enginesOf(name: string): readonly EngineName[] {
  if (name === "both") return ["sqlite", "dynamodb-local"];
  if (Object.hasOwn(BOUNDS, name)) return [name as EngineName];
  throw new Error(`--engine is one of ${Object.keys(BOUNDS).join(", ")}, both`);
}

async function measure(engineName: EngineName, single: Pace, stream: Pace): Promise<readonly Figure[]> {
  await using engine = await openEngine(engineName);
  await using fleet = await openFleet({ engine });
  const client = (await fleet.startApi()).client();
  await fleet.startWorkers(1);
  await delaysOf(client, { frames: 20, pauseMs: 50 });
  console.log(`  ${engine.name}: ${single.frames} single frames, ${single.pauseMs} ms apart`);
  const apart = await delaysOf(client, single);
  console.log(`  ${engine.name}: a stream of ${stream.frames} frames, ${stream.pauseMs} ms apart`);
  const together = await delaysOf(client, stream);
  return [
    {
      what: `frame to reader, API and worker apart, ${engine.name}, p50`,
      value: percentile(apart, 0.5),
      unit: "ms",
      ...BOUNDS[engineName],
    },
    { what: "  p95", value: percentile(apart, 0.95), unit: "ms" },
    {
      what: `  in a stream of a frame every ${stream.pauseMs} ms, p50`,
      value: percentile(together, 0.5),
      unit: "ms",
      ...BOUNDS[engineName],
    },
    { what: "  p95", value: percentile(together, 0.95), unit: "ms" },
  ];
}

/** One run, followed from its request on; milliseconds of each frame. */
async function delaysOf(client: Client, { frames, pauseMs }: Pace): Promise<readonly number[]> {
  const path = `/threads/${newThreadId()}/runs/stream`;
  const body = {
    assistant_id: "speaking",
    input: { frames, pauseMs },
    stream_mode: ["custom"],
    if_not_exists: "create",
  };
  const delays: number[] = [];
  for await (const { event, data } of client.events(path, body)) {
    if (event === "custom") delays.push(Date.now() - (data as { readonly at: number }).at);
  }
  if (delays.length !== frames) throw new Error(`${delays.length} of ${frames} frames came`);
  return delays;
}
