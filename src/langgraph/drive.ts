/** One delivery of one run: LangGraph.js driven with a saver that is bound to the fence. */
import type { ErrorInfo } from "../core/errors.ts";
import type { Frame } from "../core/event.ts";
import type { RaisedBy } from "../core/hold.ts";
import type { Json, JsonObject } from "../core/json.ts";
import type { Run, RunPayload } from "../core/run.ts";
import type { FencedSaver } from "../checkpoint/saver.ts";
import type { RegisteredGraph } from "./registry.ts";

/** What a delivery starts from. */
export type DriveInput =
  /** New input (or a command that is no resume), which begins a new lineage. */
  | { readonly kind: "input"; readonly payload: RunPayload }
  /** Decisions, by interrupt id: always a map, never a bare value. */
  | { readonly kind: "resume"; readonly answers: Readonly<Record<string, Json>>; readonly update?: Json; readonly goto?: Json }
  /** Go on from the checkpoint: a later delivery, or a run without input. */
  | { readonly kind: "continue" };

/** An interrupt that waits at the end of a delivery. */
export interface WaitingInterrupt {
  readonly id: string;
  readonly value: Json;
  /** Undefined for a static breakpoint, which no task raised. */
  readonly raisedBy: RaisedBy | undefined;
  readonly node: string;
}

export type DriveOutcome =
  | { readonly kind: "done" }
  | { readonly kind: "interrupted"; readonly interrupts: readonly WaitingInterrupt[] }
  /** Stopped at a superstep because it was asked to; the run is to be delivered again. */
  | { readonly kind: "drained" }
  | { readonly kind: "aborted" }
  | { readonly kind: "failed"; readonly error: ErrorInfo; readonly parks: boolean }
  /** Another holder has the thread: nothing may be recorded. */
  | { readonly kind: "lost" };

export interface Drive {
  readonly graph: RegisteredGraph;
  readonly saver: FencedSaver;
  readonly run: Run;
  readonly payload: RunPayload;
  readonly input: DriveInput;
  readonly recursionLimit: number;
  /** Assistant's configuration and context, under the run's own. */
  readonly assistant: { readonly config: JsonObject; readonly context: JsonObject };
  /** What graph code reaches through `configurable.__holdpoint`: see graph/context.ts. */
  readonly context: object;
  readonly signal: AbortSignal;
  /** Resolves when the worker wants the graph to stop at the next superstep. */
  readonly drain: AbortSignal;
  /** Receives frames in their order; must not block. */
  readonly emit: (frame: Frame) => void;
}
