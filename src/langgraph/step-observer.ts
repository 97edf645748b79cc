import { isGraphBubbleUp } from "@langchain/langgraph";
import { SpanKind } from "@opentelemetry/api";
import type { Clock } from "../core/clock.ts";
import { ATTRIBUTES, errorType, inSpan, markFailed } from "../telemetry/spans.ts";
import { isHidden } from "./visible.ts";
import { isHeard } from "../telemetry/open-telemetry.ts";
import type { Telemetry } from "../telemetry/open-telemetry.ts";

/** One attempt of a node, or of a functional task. */
export interface Step {
  readonly node: string;
  /** From 1 on, over deliveries. */
  readonly attempt: number;
}

/** Hears of the steps of one delivery. */
export interface StepObserver {
  observe<T>(step: Step, execute: () => Promise<T>): Promise<T>;
  retried(node: string): void;
}

/** Undefined where nobody listens. */
export function stepObserver(telemetry: Telemetry, clock: Clock, graph: string): StepObserver | undefined {
  if (!isHeard(telemetry)) return undefined;
  const { tracer, metrics } = telemetry;
  return {
    retried: (node) => metrics.stepRetried({ graph, node }),
    observe({ node, attempt }, execute) {
      if (isHidden(node)) return execute();
      const began = clock.monotonic();
      const ended = (outcome: string): void =>
        metrics.stepEnded({ graph, node, outcome, ms: clock.monotonic() - began });
      const attributes = { [ATTRIBUTES.graph]: graph, [ATTRIBUTES.node]: node, [ATTRIBUTES.attempt]: attempt };
      return inSpan(tracer, { name: `node ${node}`, kind: SpanKind.INTERNAL, attributes }, async (span) => {
        const come = await execute().then(
          (value) => ({ value }),
          (error: unknown) => ({ error }),
        );
        const outcome = "value" in come ? "success" : outcomeOf(come.error);
        ended(outcome);
        span?.setAttribute(ATTRIBUTES.outcome, outcome);
        if ("value" in come) return come;
        if (span && outcome === "error") markFailed(span, errorType(come.error));
        return come;
      }).then((come) => {
        if ("value" in come) return come.value;
        throw come.error;
      });
    },
  };
}

/** A question, a drain and a Command to a graph above leave a node by being thrown, and are no errors. */
const outcomeOf = (error: unknown): "interrupted" | "error" => (isGraphBubbleUp(error) ? "interrupted" : "error");
