/** What the tasks of a script ask, and what they make of the answers: as `holdpoint/graph` does it. */
import { callbackKey } from "../../src/core/callback-token.ts";
import { BY_TIME } from "../../src/core/hold-time.ts";
import { reviewTimesValue } from "../../src/core/hold-times.ts";
import { reviewDigest } from "../../src/core/hold.ts";
import { sha256 } from "../../src/core/ids.ts";
import type { Json, JsonObject } from "../../src/core/json.ts";
import { carriedAnswer, reviewValue } from "../../src/core/review-value.ts";
import { callbackValue, outcomeOf, timerValue } from "../../src/core/wait-value.ts";
import type { Task } from "./script.ts";

export type Asking = Extract<Task, { readonly do: "review" | "timer" | "ask" | "callback" }>;

/** Where and when a task asks. */
export interface AskedAt {
  readonly taskId: string;
  readonly pc: number;
  /** Table time. */
  readonly now: number;
  /** Differs from one execution to the next, as what a model says does. */
  readonly mood: string;
  /** The answers that the task has had. */
  readonly had: readonly Json[];
}

export interface Question {
  readonly value: JsonObject;
  /** Whether its code is content with an answer; otherwise it asks again. */
  takes(answer: Json): boolean;
}

export const interruptIdOf = (taskId: string, had: readonly Json[]): string =>
  sha256(`${taskId} interrupt${had.length === 0 ? "" : ` ${had.length}`}`).slice(0, 32);

export const keyOf = (taskId: string, had: readonly Json[]): string => callbackKey(taskId, had.length);

const anything = (): boolean => true;

export function questionOf(task: Asking, at: AskedAt): Question {
  switch (task.do) {
    case "review":
      return reviewOf(task, at);
    case "timer":
      // Executed again it asks for another time: the first one stands.
      return { value: timerValue(at.now + task.ms), takes: anything };
    case "callback":
      return { value: callbackValue({ key: keyOf(at.taskId, at.had), timeoutMs: task.timeoutMs }), takes: anything };
    case "ask":
      return { value: { question: at.pc }, takes: anything };
  }
}

function reviewOf(task: Extract<Asking, { readonly do: "review" }>, { mood, had }: AskedAt): Question {
  const { shown, wavers = false, quorum, dueInMs } = task;
  const request = {
    number: 1,
    title: "Script",
    action: "go",
    args: { shown: wavers ? `${shown} ${mood}` : shown },
    ...(quorum === undefined ? {} : { quorum }),
  };
  const digest = reviewDigest(request);
  const last = carriedAnswer(had.at(-1));
  return {
    value: {
      ...reviewValue(request, last && { supersedes: last.digest }),
      ...(dueInMs === undefined ? {} : reviewTimesValue({ dueInMs })),
    },
    takes: (answer) => carriedAnswer(answer)?.digest === digest,
  };
}

/** What an answer is told by: its comment, what a callback brought, or, where time has decided, the interrupt. */
export function tagOfAnswer(answer: Json, interruptId: string): string {
  const carried = carriedAnswer(answer);
  if (carried) return carried.decidedBy === BY_TIME ? `${BY_TIME} ${interruptId}` : (carried.comment ?? "");
  const outcome = outcomeOf(answer);
  if (outcome?.kind === "arrived") return JSON.stringify(outcome.result).replaceAll('"', "");
  return outcome ? `${BY_TIME} ${interruptId}` : JSON.stringify(answer).replaceAll('"', "");
}
