/**
 * Spans at the seams of the runtime. What a run item or a hold keeps of one is its W3C `traceparent`, so that the trace of
 * a later delivery, in another process and perhaps days later, can be linked to it: no span stays open across a hold.
 */
import { SpanStatusCode, TraceFlags, context, isSpanContextValid, trace } from "@opentelemetry/api";
import type { Attributes, Context, Link, Span, SpanContext, SpanKind, Tracer } from "@opentelemetry/api";
import { isHoldpointError } from "../core/errors.ts";
import { ERROR_TYPE } from "./gen-ai.ts";

/** Names of Holdpoint's own attributes. Ids are never content; a span may have them, a metric may not. */
export const ATTRIBUTES = {
  run: "holdpoint.run.id",
  graph: "holdpoint.graph.id",
  graphVersion: "holdpoint.graph.version",
  delivery: "holdpoint.delivery",
  /** What a delivery came to, or the status that its run ended with. */
  outcome: "holdpoint.outcome",
  node: "holdpoint.node",
  attempt: "holdpoint.attempt",
} as const;

export interface SpanOf {
  readonly name: string;
  readonly kind: SpanKind;
  readonly attributes?: Attributes;
  /** What it is a part of; what is going on unless given. */
  readonly parent?: Context;
}

/** Does the work within a span of its own, which ends with it; without a tracer only the work. */
export async function inSpan<T>(
  tracer: Tracer | undefined,
  { name, kind, attributes, parent = context.active() }: SpanOf,
  work: (span: Span | undefined) => Promise<T>,
): Promise<T> {
  if (!tracer) return work(undefined);
  const span = tracer.startSpan(name, { kind, ...(attributes === undefined ? {} : { attributes }) }, parent);
  try {
    return await context.with(trace.setSpan(parent, span), work, undefined, span);
  } catch (error) {
    markFailed(span, errorType(error));
    throw error;
  } finally {
    span.end();
  }
}

/** The span failed, with an error of this class. What the error said may be content, and is not told. */
export function markFailed(span: Span, type: string): void {
  span.setAttribute(ERROR_TYPE, type).setStatus({ code: SpanStatusCode.ERROR });
}

/** The class of an error, by which errors can be counted. */
export function errorType(error: unknown): string {
  if (isHoldpointError(error)) return error.code;
  return error instanceof Error ? error.name : "_OTHER";
}

/** What is to be kept of the span that is going on; undefined when nothing is. */
export function activeTraceparent(): string | undefined {
  const of = trace.getSpanContext(context.active());
  return of && isSpanContextValid(of) ? traceparentOf(of) : undefined;
}

export function traceparentOf({ traceId, spanId, traceFlags }: SpanContext): string {
  return `00-${traceId}-${spanId}-${traceFlags & TraceFlags.SAMPLED ? "01" : "00"}`;
}

const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

/** Links a span to those that were kept, each once. What is not a traceparent is passed over: a link is never worth a run. */
export function linkTo(span: Span | undefined, kept: readonly (string | undefined)[]): void {
  if (!span) return;
  const own = span.spanContext();
  const links = [...new Set(kept)].flatMap((one) => linkOf(one) ?? []);
  for (const link of links) if (link.context.spanId !== own.spanId) span.addLink(link);
}

function linkOf(traceparent: string | undefined): Link | undefined {
  const [, traceId = "", spanId = "", flags = ""] = TRACEPARENT.exec(traceparent ?? "") ?? [];
  const of = { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true };
  return isSpanContextValid(of) ? { context: of } : undefined;
}
