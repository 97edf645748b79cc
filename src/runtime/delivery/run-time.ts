/** The time that a run may take, from its first delivery on: back-offs included, timers and callbacks not. */
import type { Clock } from "../../core/clock.ts";
import { errorInfo } from "../../core/errors.ts";
import type { ErrorInfo } from "../../core/errors.ts";
import { attributed, limitError, setByGraph } from "../../core/limits.ts";
import type { RunLimits } from "../../core/limits.ts";
import type { Run } from "../../core/run.ts";
import type { RegisteredGraph } from "../../langgraph/registry.ts";
import type { Deps } from "../deps.ts";

export interface TimedOut {
  readonly kind: "timeout";
  readonly error: ErrorInfo;
}

/** The settings' bounds under the graph's own. */
export const limitsOf = ({ settings }: Deps, graph: RegisteredGraph): RunLimits => ({
  ...settings.limits,
  ...graph.limits,
});

/** What is left of a run's time, in milliseconds. */
export function leftMs(deps: Deps, run: Run, graph: RegisteredGraph): number {
  const now = deps.table.now();
  return (run.startedAt ?? now) + (run.pausedMs ?? 0) + limitsOf(deps, graph).runTimeoutMs - now;
}

export function timedOut(deps: Deps, graph: RegisteredGraph): TimedOut {
  const { runTimeoutMs } = limitsOf(deps, graph);
  const error = attributed(limitError("runTimeoutMs", "the run took too long", runTimeoutMs), setByGraph(graph));
  return { kind: "timeout", error: errorInfo(error) };
}

/** The longest that a timer of the machine can be set to. */
const LONGEST_MS = 2 ** 31 - 1;

/** Aborts after a time, unless it is disposed of before. */
export function timer(clock: Clock, ms: number): Disposable & { readonly signal: AbortSignal } {
  const [over, stop] = [new AbortController(), new AbortController()];
  void clock.sleep(Math.min(ms, LONGEST_MS), stop.signal).then(() => {
    if (!stop.signal.aborted) over.abort(new Error("the run took too long"));
  });
  return { signal: over.signal, [Symbol.dispose]: () => stop.abort() };
}
