import { Annotation, StateGraph, interrupt } from "@langchain/langgraph";
import { callback } from "../../src/graph/callback.ts";
import { effect } from "../../src/graph/effect.ts";
import { contextOf } from "../../src/graph/context.ts";
import type { NodeConfig } from "../../src/graph/context.ts";
import { review } from "../../src/graph/review.ts";
import { until } from "../../src/graph/until.ts";
import type { CompiledGraph, RegisteredGraph } from "../../src/langgraph/registry.ts";
import type { Outside } from "./effects.ts";
import type { SimProcess } from "./scheduler.ts";
import { inputOfLog } from "./script.ts";
import type { Script, Task } from "./script.ts";

const State = Annotation.Root({
  script: Annotation<Script>({ reducer: (_, next) => next, default: () => [] }),
  pc: Annotation<number>({ reducer: (_, next) => next, default: () => 0 }),
  log: Annotation<readonly string[]>({ reducer: (before, more) => [...before, ...more], default: () => [] }),
});

export interface GraphHost {
  readonly process: SimProcess;
  readonly outside: Outside;
  readonly heard: (tag: string) => void;
}

/** A real graph with one node in a loop, which does what the next line of the script in its state says. */
export function createLangGraphOfScript(host: GraphHost): RegisteredGraph {
  const act = async ({ script, pc, log }: typeof State.State, config: NodeConfig) => {
    const task = script[pc]?.[0];
    return { pc: pc + 1, log: task ? [await perform(host, { task, pc, of: inputOfLog(log) }, config)] : [] };
  };
  const next = ({ script, pc }: typeof State.State) => (pc < script.length ? "act" : "__end__");
  // Pregel's type parameters are invariant, so that any graph but its own is foreign to it.
  const compile = (): unknown =>
    new StateGraph(State)
      .addNode("act", act, { retryPolicy: RETRIES })
      .addConditionalEdges("__start__", next)
      .addConditionalEdges("act", next)
      .compile();
  return {
    graphId: "script",
    version: "1",
    pool: "default",
    priority: 5,
    pinned: false,
    limits: {},
    compiled: async () => compile() as CompiledGraph,
  };
}

/** The first failure is tried again in the same delivery, the second in another one. */
const RETRIES = {
  maxAttempts: 4,
  initialInterval: 1500,
  backoffFactor: 1,
  jitter: false,
  logWarning: false,
  retryOn: (error: unknown) => error instanceof Error && error.message === FLAKY,
};
const FLAKY = "flaky, as scripted";

/** What a model says is another thing each time, until it has settled. */
const moodOf = (outside: Outside, of: string): number => Math.min(outside.attempt(`mood of ${of}`), 3);

async function perform(
  { process, outside, heard }: GraphHost,
  { task, pc, of }: { readonly task: Task; readonly pc: number; readonly of: string },
  config: NodeConfig,
): Promise<string> {
  const { clock, signal, run } = contextOf(config, "a script");
  switch (task.do) {
    case "step":
      await clock.sleep(task.ms, signal);
      return `step ${pc}`;
    case "effect": {
      const { name, policy, irreversible = false, ms } = task;
      const what = `${of} ${pc}`;
      await effect(config, { name, policy, irreversible }, (token) =>
        outside.call(process, { token, run: run.runId, policy, ms, what }),
      );
      return `effect ${name}`;
    }
    case "review": {
      const answer = await review(config, {
        title: "Script",
        action: "go",
        args: { shown: task.wavers === true ? `${task.shown} ${moodOf(outside, `${of} ${pc}`)}` : task.shown },
        ...(task.quorum === undefined ? {} : { quorum: task.quorum }),
        ...(task.dueInMs === undefined ? {} : { dueInMs: task.dueInMs }),
      });
      heard(answer.comment ?? "");
      if (task.fails === true) throw new Error("as scripted");
      return `answer ${run.root}.${pc} ${answer.type} ${answer.comment ?? answer.decidedBy}`;
    }
    case "timer":
      await until(config, contextOf(config, "a script").now() + task.ms);
      return `answer ${run.root}.${pc} timer`;
    case "callback": {
      const { timeoutMs } = task;
      const came = await callback<string>(config, { timeoutMs, send: async (token) => outside.handOut(token) });
      const tag = came.kind === "arrived" ? came.result : came.kind;
      heard(tag);
      return `answer ${run.root}.${pc} value ${tag}`;
    }
    case "ask": {
      const tag = String(interrupt({ question: pc }));
      heard(tag);
      return `answer ${run.root}.${pc} value ${tag}`;
    }
    case "flaky":
      if (outside.attempt(`${run.runId} ${pc}`) <= task.failures) throw new Error(FLAKY);
      return `step ${pc}`;
    case "fail":
      throw new Error("as scripted");
  }
}
