/**
 * The names of all metrics: what the telemetry emits, and all that dashboards, alarms and scaling may ask for. No tenant
 * and no thread is ever an attribute.
 */

export interface MetricName {
  readonly name: string;
  /** A `gauge` is asked for when metrics are collected; everything else is told as it happens. */
  readonly kind: "counter" | "histogram" | "gauge";
  /** In the notation of UCUM, which OpenTelemetry uses. */
  readonly unit: string;
  readonly description: string;
  /** Everything that it may be told apart by. */
  readonly attributes: readonly string[];
  /** Those of them that are worth a time series each where each costs money: CloudWatch. */
  readonly dimensions: readonly string[];
}

/** What a run may come to, as `outcome` says it. A run that was refused never was one. */
export const RUN_OUTCOMES = ["success", "held", "error", "timeout", "cancelled", "parked"] as const;
export type RunOutcome = (typeof RUN_OUTCOMES)[number];

export const METRICS = {
  backlog: {
    name: "holdpoint.backlog",
    kind: "gauge",
    unit: "{thread}",
    description: "Threads of all tenants that wait for a worker of this pool; 10,000 stands for more.",
    attributes: ["pool"],
    dimensions: [],
  },
  backlogAge: {
    name: "holdpoint.backlog.age",
    kind: "gauge",
    unit: "s",
    description: "For how long the one of them that waits longest has waited.",
    attributes: ["pool"],
    dimensions: [],
  },
  runsAccepted: {
    name: "holdpoint.runs.accepted",
    kind: "counter",
    unit: "{run}",
    description: "Runs that were accepted.",
    attributes: ["graph"],
    dimensions: [],
  },
  runsEnded: {
    name: "holdpoint.runs.ended",
    kind: "counter",
    unit: "{run}",
    description: "Runs that have ended, by outcome: success, held, error, timeout, cancelled or parked.",
    attributes: ["outcome", "graph"],
    dimensions: ["outcome"],
  },
  runDuration: {
    name: "holdpoint.run.duration",
    kind: "histogram",
    unit: "s",
    description: "Of a run, from accepted to ended.",
    attributes: ["outcome", "graph"],
    dimensions: ["outcome"],
  },
  runWait: {
    name: "holdpoint.run.wait",
    kind: "histogram",
    unit: "s",
    description: "From when a run might begin until its first delivery.",
    attributes: ["graph"],
    dimensions: [],
  },
  stepDuration: {
    name: "holdpoint.step.duration",
    kind: "histogram",
    unit: "s",
    description: "Of one attempt of one node.",
    attributes: ["graph", "node", "outcome"],
    dimensions: [],
  },
  stepRetries: {
    name: "holdpoint.step.retries",
    kind: "counter",
    unit: "{retry}",
    description: "Attempts of nodes that failed and are made again.",
    attributes: ["graph", "node"],
    dimensions: [],
  },
  leasesLost: {
    name: "holdpoint.leases.lost",
    kind: "counter",
    unit: "{lease}",
    description: "Leases that a worker lost while it advanced a thread.",
    attributes: [],
    dimensions: [],
  },
  takeovers: {
    name: "holdpoint.takeovers",
    kind: "counter",
    unit: "{delivery}",
    description: "Runs that were taken over from a worker that was lost, or had lost them.",
    attributes: ["graph"],
    dimensions: [],
  },
  reviewsPastDue: {
    name: "holdpoint.reviews.past_due",
    kind: "gauge",
    unit: "{review}",
    description: "Reviews of this pool whose time to decide is over, and that are still open; 100 stands for more.",
    attributes: ["pool"],
    dimensions: [],
  },
  reviewLatency: {
    name: "holdpoint.review.latency",
    kind: "histogram",
    unit: "s",
    description: "Age of a review, or of an interrupt, when a person decides it.",
    attributes: ["graph"],
    dimensions: [],
  },
  decisionLatency: {
    name: "holdpoint.decision.latency",
    kind: "histogram",
    unit: "s",
    description: "From the decision of a hold until its run, or its continuation, is about to go on.",
    attributes: ["graph", "hold"],
    dimensions: [],
  },
  openStreams: {
    name: "holdpoint.streams.open",
    kind: "gauge",
    unit: "{stream}",
    description: "Streams that one process serves.",
    attributes: [],
    dimensions: [],
  },
  checkpointSize: {
    name: "holdpoint.checkpoint.size",
    kind: "histogram",
    unit: "By",
    description: "Of the state that a checkpoint stands for, as it is serialized.",
    attributes: ["graph"],
    dimensions: [],
  },
  checkpointDuration: {
    name: "holdpoint.checkpoint.duration",
    kind: "histogram",
    unit: "s",
    description: "Of storing one checkpoint.",
    attributes: ["graph"],
    dimensions: [],
  },
  modelTokens: {
    name: "gen_ai.client.token.usage",
    kind: "histogram",
    unit: "{token}",
    description: "Tokens of one call of a model.",
    attributes: ["gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "gen_ai.token.type"],
    dimensions: ["gen_ai.token.type"],
  },
  modelDuration: {
    name: "gen_ai.client.operation.duration",
    kind: "histogram",
    unit: "s",
    description: "Of one call of a model.",
    attributes: ["gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model", "error.type"],
    dimensions: [],
  },
  modelCost: {
    name: "holdpoint.model.cost",
    kind: "counter",
    unit: "{USD}",
    description: "Of the calls of models whose price is known.",
    attributes: ["gen_ai.provider.name", "gen_ai.request.model"],
    dimensions: [],
  },
} as const satisfies Readonly<Record<string, MetricName>>;
