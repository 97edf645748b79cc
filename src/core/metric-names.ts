/**
 * The names of all metrics: what the telemetry emits, and all that dashboards, alarms and scaling may ask for. No tenant
 * and no thread is ever a dimension.
 */

/** By what each metric may be told apart, and its unit in the notation of UCUM, which OpenTelemetry uses. */
export interface MetricName {
  readonly name: string;
  readonly unit: string;
  readonly dimensions: readonly string[];
}

export const METRICS = {
  /** Threads with work that waits for a worker: every process tells the same number, of all tenants. */
  backlog: { name: "holdpoint.backlog", unit: "{thread}", dimensions: [] },
  /** For how long the one that waits longest has waited. */
  backlogAge: { name: "holdpoint.backlog.age", unit: "s", dimensions: [] },
  /** Runs that have ended, by what they came to: success, held, error, timeout, cancelled or parked. */
  runsEnded: { name: "holdpoint.runs.ended", unit: "{run}", dimensions: ["outcome"] },
  /** From accepted to ended. */
  runDuration: { name: "holdpoint.run.duration", unit: "s", dimensions: ["outcome"] },
  stepDuration: { name: "holdpoint.step.duration", unit: "s", dimensions: [] },
  stepRetries: { name: "holdpoint.step.retries", unit: "{retry}", dimensions: [] },
  /** Deliveries whose worker found that another one holds the thread. */
  leasesLost: { name: "holdpoint.leases.lost", unit: "{lease}", dimensions: [] },
  /** Open reviews whose time to decide is over. */
  reviewsPastDue: { name: "holdpoint.reviews.past_due", unit: "{review}", dimensions: [] },
  /** From raised to decided. */
  reviewLatency: { name: "holdpoint.review.latency", unit: "s", dimensions: [] },
  /** Streams that one process serves. */
  openStreams: { name: "holdpoint.streams.open", unit: "{stream}", dimensions: [] },
  checkpointSize: { name: "holdpoint.checkpoint.size", unit: "By", dimensions: [] },
  checkpointDuration: { name: "holdpoint.checkpoint.duration", unit: "s", dimensions: [] },
  /** The name that the GenAI conventions of OpenTelemetry give it. */
  modelTokens: { name: "gen_ai.client.token.usage", unit: "{token}", dimensions: ["gen_ai.token.type"] },
  modelCost: { name: "holdpoint.model.cost", unit: "{USD}", dimensions: [] },
} as const satisfies Readonly<Record<string, MetricName>>;
