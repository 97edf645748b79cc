/**
 * The same service twice, with telemetry and without, in turns under one load: everything is traced and sent to a receiver
 * in this process. And what the seams cost where nobody listens, in this process, alone.
 */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { SpanKind } from "@opentelemetry/api";
import { inSpan } from "../../src/telemetry/spans.ts";
import { noTelemetry } from "../../src/telemetry/open-telemetry.ts";
import { report } from "../support/figures.ts";
import type { Figure } from "../support/figures.ts";
import { readOptions } from "../support/options.ts";
import { median } from "../support/stats.ts";
import { createClient } from "./client.ts";
import { inParallel, timedWait } from "./load.ts";
import { machine } from "./main.ts";
import { startTarget } from "./target.ts";
import type { Running } from "./target.ts";
import { holdpoint } from "./targets.ts";

const LINE = {
  name: "telemetry",
  about:
    "Throughput with telemetry beside without, in turns; what is sent for a run; what a seam costs that is off. In full with --runs 800 --rounds 8 --warm-up 1000.",
  options: {
    runs: { fallback: 160, says: "runs of each service in each round" },
    rounds: { fallback: 4, says: "rounds" },
    clients: { fallback: 16, says: "clients at once" },
    "warm-up": { fallback: 320, says: "runs of each before anything is measured" },
  },
} as const;

interface Sink extends AsyncDisposable {
  readonly url: string;
  requests: number;
  bytes: number;
}

/** Takes everything and keeps nothing. */
async function openSink(): Promise<Sink> {
  const server = createServer((request, response) => {
    sink.requests += 1;
    request.on("data", (chunk: Buffer) => (sink.bytes += chunk.length));
    request.on("end", () => response.writeHead(200).end());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  const sink: Sink = {
    url: `http://127.0.0.1:${port}`,
    requests: 0,
    bytes: 0,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return sink;
}

/** Nanoseconds of one seam that is off: a span that nobody records, and a number that nobody hears. */
async function offNs(calls = 1_000_000): Promise<number> {
  const { tracer, metrics } = noTelemetry;
  const of = { name: "nothing", kind: SpanKind.INTERNAL };
  const work = async (): Promise<void> => undefined;
  const round = async (): Promise<number> => {
    const began = performance.now();
    for (let n = 0; n < calls; n += 1) {
      await inSpan(tracer, of, work);
      metrics.runAccepted("graph");
    }
    return ((performance.now() - began) * 1e6) / calls;
  };
  await round();
  return round();
}

/** Prints how much telemetry takes of the throughput, and what it sends. */
export async function main(argv: readonly string[]): Promise<number> {
  const values = readOptions(LINE, argv);
  if (values === undefined) return 0;
  await using sink = await openSink();
  const on = { OTEL_EXPORTER_OTLP_ENDPOINT: sink.url, OTEL_METRIC_EXPORT_INTERVAL: "5000" };
  await using without = await startTarget(holdpoint("without telemetry"));
  await using told = await startTarget(holdpoint("with telemetry", on));
  const rounds = await takeTurns([without, told], values);
  const ratio = (of: (seen: Seen) => number): number =>
    median(rounds.map(([off, beside]) => (off && beside ? of(beside) / of(off) : Number.NaN)));
  const [off, beside] = [0, 1].map((side) => median(rounds.map((seen) => seen[side]?.rate ?? Number.NaN)));
  const runs = values["warm-up"] + values.rounds * values.runs;
  const figures: readonly Figure[] = [
    { what: "without telemetry", value: off ?? Number.NaN, unit: "runs/s" },
    { what: "with telemetry, everything traced", value: beside ?? Number.NaN, unit: "runs/s" },
    {
      what: "with, beside without",
      value: ratio(({ rate }) => rate),
      unit: "x",
      bar: { atLeast: 0.9 },
      aim: { atLeast: 0.95 },
    },
    { what: "  processor time of a run", value: ratio(({ processorMs }) => processorMs), unit: "x" },
    { what: "sent for a run", value: sink.bytes / runs / 1024, unit: "KB" },
    { what: "requests of the receiver for 100 runs", value: (100 * sink.requests) / runs, unit: "" },
    {
      what: "a seam that is off",
      value: await offNs(),
      unit: "ns",
      bar: { atMost: 1000 },
      aim: { atMost: 200 },
      noisy: true,
    },
  ];
  console.log(`\n${machine()}`);
  return report(figures);
}

/** What was seen of one service in one round. */
interface Seen {
  readonly rate: number;
  readonly processorMs: number;
}

/** What was seen in each round of each service. */
async function takeTurns(
  services: readonly Running[],
  values: Readonly<Record<"runs" | "rounds" | "clients" | "warm-up", number>>,
): Promise<readonly (readonly Seen[])[]> {
  const { runs, rounds, clients } = values;
  using open = new DisposableStack();
  const sides = services.map(({ port }) => open.use(createClient(port)));
  for (const client of sides) await inParallel(() => timedWait(client), values["warm-up"], clients);
  const all: Seen[][] = [];
  for (let round = 0; round < rounds; round += 1) {
    console.log(`  round ${round + 1} of ${rounds}`);
    const seen: Seen[] = [];
    // Each goes first as often as the other.
    for (const i of round % 2 === 0 ? [0, 1] : [1, 0]) {
      const [client, service] = [sides[i], services[i]];
      if (!client || !service) continue;
      const before = await service.processorMs();
      const { throughput: rate } = await inParallel(() => timedWait(client), runs, clients);
      seen[i] = { rate, processorMs: (await service.processorMs()) - before };
    }
    all.push(seen);
  }
  return all;
}
