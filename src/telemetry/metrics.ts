/** What happens, as the numbers that are told of it. Durations are in milliseconds; metrics of time are in seconds. */
import type { Attributes, Counter, Histogram, Meter, ObservableGauge } from "@opentelemetry/api";
import { DURATION_BUCKETS, ERROR_TYPE, GEN_AI, OPERATIONS, TOKEN_BUCKETS } from "./gen-ai.ts";
import { METRICS } from "./metric-names.ts";
import type { MetricName } from "./metric-names.ts";

/** One call of a model. */
export interface ModelCall {
  /** `chat` by default. */
  readonly operation?: "chat" | "embeddings";
  readonly model: string;
  readonly provider?: string | undefined;
  readonly ms: number;
  readonly inputTokens?: number | undefined;
  readonly outputTokens?: number | undefined;
  readonly costUsd?: number | undefined;
  /** Class of the error that it ended with. */
  readonly error?: string | undefined;
}

/** What waits, as the table shows it now. */
export interface Waiting {
  readonly threads: number;
  readonly oldestMs: number;
  readonly reviewsPastDue: number;
}

export interface Metrics {
  runAccepted(graph: string): void;
  runBegan(run: { readonly graph: string; readonly waitedMs: number }): void;
  runTakenOver(graph: string): void;
  runEnded(run: { readonly graph: string; readonly outcome: string; readonly ms: number }): void;
  stepEnded(step: {
    readonly graph: string;
    readonly node: string;
    readonly outcome: string;
    readonly ms: number;
  }): void;
  stepRetried(step: { readonly graph: string; readonly node: string }): void;
  leaseLost(): void;
  holdDecided(hold: { readonly graph: string; readonly ageMs: number }): void;
  decisionHandedOver(hold: { readonly graph: string; readonly hold: string; readonly ms: number }): void;
  /** Counts a stream until it is disposed. */
  streamOpened(): Disposable;
  checkpointStored(checkpoint: { readonly graph: string; readonly bytes: number; readonly ms: number }): void;
  modelCalled(call: ModelCall): void;
  /** Asks for what waits whenever metrics are collected, until it is disposed. What it throws leaves a gap. */
  watchWaiting(pool: string, read: () => Promise<Waiting>): Disposable;
}

const nothing = (): void => undefined;
const nothingToStop: Disposable = { [Symbol.dispose]: nothing };

/** Nobody listens. */
export const noMetrics: Metrics = {
  runAccepted: nothing,
  runBegan: nothing,
  runTakenOver: nothing,
  runEnded: nothing,
  stepEnded: nothing,
  stepRetried: nothing,
  leaseLost: nothing,
  holdDecided: nothing,
  decisionHandedOver: nothing,
  streamOpened: () => nothingToStop,
  checkpointStored: nothing,
  modelCalled: nothing,
  watchWaiting: () => nothingToStop,
};

/** From a millisecond to an hour and more: steps take as long as models and tools do, and reviews as long as people. */
const SECONDS = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 14_400, 86_400];
const BYTES = Array.from({ length: 11 }, (_, i) => 256 * 4 ** i);

/** Tells a meter of everything, under the names in metric-names.ts. */
export function createMetrics(meter: Meter): Metrics {
  const i = instruments(meter);
  const seconds = (histogram: Histogram, ms: number, attributes: Attributes): void =>
    histogram.record(Math.max(0, ms) / 1000, attributes);
  return {
    runAccepted: (graph) => i.runsAccepted.add(1, { graph }),
    runBegan: ({ graph, waitedMs }) => seconds(i.runWait, waitedMs, { graph }),
    runTakenOver: (graph) => i.takeovers.add(1, { graph }),
    runEnded({ graph, outcome, ms }) {
      i.runsEnded.add(1, { outcome, graph });
      seconds(i.runDuration, ms, { outcome, graph });
    },
    stepEnded: ({ graph, node, outcome, ms }) => seconds(i.stepDuration, ms, { graph, node, outcome }),
    stepRetried: ({ graph, node }) => i.stepRetries.add(1, { graph, node }),
    leaseLost: () => i.leasesLost.add(1),
    holdDecided: ({ graph, ageMs }) => seconds(i.reviewLatency, ageMs, { graph }),
    decisionHandedOver: ({ graph, hold, ms }) => seconds(i.decisionLatency, ms, { graph, hold }),
    streamOpened() {
      let open = true;
      i.openStreams.add(1);
      return {
        [Symbol.dispose]() {
          if (open) i.openStreams.add(-1);
          open = false;
        },
      };
    },
    checkpointStored({ graph, bytes, ms }) {
      i.checkpointSize.record(bytes, { graph });
      seconds(i.checkpointDuration, ms, { graph });
    },
    modelCalled: (call) => tellCall(i, call),
    watchWaiting: (pool, read) => watch(meter, i, pool, read),
  };
}

type Instruments = ReturnType<typeof instruments>;

function instruments(meter: Meter) {
  const counter = (of: MetricName): Counter => meter.createCounter(of.name, described(of));
  const histogram = (of: MetricName, buckets: number[] = SECONDS): Histogram =>
    meter.createHistogram(of.name, { ...described(of), advice: { explicitBucketBoundaries: buckets } });
  const gauge = (of: MetricName): ObservableGauge => meter.createObservableGauge(of.name, described(of));
  return {
    backlog: gauge(METRICS.backlog),
    backlogAge: gauge(METRICS.backlogAge),
    reviewsPastDue: gauge(METRICS.reviewsPastDue),
    runsAccepted: counter(METRICS.runsAccepted),
    runsEnded: counter(METRICS.runsEnded),
    runDuration: histogram(METRICS.runDuration),
    runWait: histogram(METRICS.runWait),
    stepDuration: histogram(METRICS.stepDuration),
    stepRetries: counter(METRICS.stepRetries),
    leasesLost: counter(METRICS.leasesLost),
    takeovers: counter(METRICS.takeovers),
    reviewLatency: histogram(METRICS.reviewLatency),
    decisionLatency: histogram(METRICS.decisionLatency),
    openStreams: openStreams(gauge(METRICS.openStreams)),
    checkpointSize: histogram(METRICS.checkpointSize, BYTES),
    checkpointDuration: histogram(METRICS.checkpointDuration),
    modelTokens: histogram(METRICS.modelTokens, TOKEN_BUCKETS),
    modelDuration: histogram(METRICS.modelDuration, DURATION_BUCKETS),
    modelCost: counter(METRICS.modelCost),
  };
}

/** A gauge: of sums that are cumulative CloudWatch is told the differences. Who never served a stream tells nothing. */
function openStreams(gauge: ObservableGauge): { add(change: 1 | -1): void } {
  let open: number | undefined;
  gauge.addCallback((result) => {
    if (open !== undefined) result.observe(open);
  });
  return {
    add(change) {
      open = (open ?? 0) + change;
    },
  };
}

const described = ({ unit, description }: MetricName) => ({ unit, description });

function tellCall(i: Instruments, { operation = "chat", model, provider, ms, ...came }: ModelCall): void {
  const { inputTokens, outputTokens, costUsd, error } = came;
  const of = { ...(provider === undefined ? {} : { [GEN_AI.provider]: provider }), [GEN_AI.requestModel]: model };
  const call = { [GEN_AI.operation]: OPERATIONS[operation], ...of };
  i.modelDuration.record(ms / 1000, error === undefined ? call : { ...call, [ERROR_TYPE]: error });
  if (inputTokens !== undefined) i.modelTokens.record(inputTokens, { ...call, [GEN_AI.tokenType]: "input" });
  if (outputTokens !== undefined) i.modelTokens.record(outputTokens, { ...call, [GEN_AI.tokenType]: "output" });
  if (costUsd !== undefined) i.modelCost.add(costUsd, of);
}

function watch(meter: Meter, i: Instruments, pool: string, read: () => Promise<Waiting>): Disposable {
  const gauges = [i.backlog, i.backlogAge, i.reviewsPastDue];
  const observe: Parameters<Meter["addBatchObservableCallback"]>[0] = async (result) => {
    const { threads, oldestMs, reviewsPastDue } = await read();
    result.observe(i.backlog, threads, { pool });
    result.observe(i.backlogAge, oldestMs / 1000, { pool });
    result.observe(i.reviewsPastDue, reviewsPastDue, { pool });
  };
  meter.addBatchObservableCallback(observe, gauges);
  return { [Symbol.dispose]: () => meter.removeBatchObservableCallback(observe, gauges) };
}
