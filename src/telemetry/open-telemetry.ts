import { ROOT_CONTEXT, createNoopMeter, isSpanContextValid, metrics, trace } from "@opentelemetry/api";
import type { Tracer } from "@opentelemetry/api";
import { createMetrics, noMetrics } from "./metrics.ts";
import type { Metrics } from "./metrics.ts";

/** Where what happens is told. */
export interface Telemetry {
  /** Undefined while nobody records spans: then nothing is made for them. */
  readonly tracer: Tracer | undefined;
  readonly metrics: Metrics;
  /** Whether spans have what models and tools were given and what they answered. */
  readonly capturesContent: boolean;
}

/** Whether anybody hears of anything at all. */
export const isHeard = ({ tracer, metrics: told }: Telemetry): boolean => tracer !== undefined || told !== noMetrics;

/** Nobody listens, and nothing is told. */
export const noTelemetry: Telemetry = { tracer: undefined, metrics: noMetrics, capturesContent: false };

const NAME = "holdpoint";

/** Tells what this process has registered with OpenTelemetry's API until now, whoever did; nobody where nobody has. */
export function registeredTelemetry({ capturesContent = false }: Partial<Telemetry> = {}): Telemetry {
  const meter = metrics.getMeter(NAME);
  const isMeasured = meter.constructor !== createNoopMeter().constructor;
  return {
    tracer: isTraced() ? trace.getTracer(NAME) : undefined,
    metrics: isMeasured ? createMetrics(meter) : noMetrics,
    capturesContent,
  };
}

/** Whether spans are made at all. A span that never ends is never told. */
export function isTraced(): boolean {
  return isSpanContextValid(trace.getTracer(NAME).startSpan("probe", {}, ROOT_CONTEXT).spanContext());
}
