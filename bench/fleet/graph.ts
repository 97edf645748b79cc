/** Graphs that do nothing but wait: one notes when and where its steps began, the other says now and then what time it is. */
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import type { LangGraphRunnableConfig } from "@langchain/langgraph";

/** One superstep that was taken. */
interface Taken {
  readonly pid: number;
  /** Milliseconds since the epoch. */
  readonly at: number;
}

const State = Annotation.Root({
  /** How many supersteps to take, and how long each of them waits. */
  steps: Annotation<number>,
  pauseMs: Annotation<number>,
  taken: Annotation<Taken[]>({ reducer: (left, right) => [...left, ...right], default: () => [] }),
});

/** Takes as many supersteps as it is asked to. */
export const graph = new StateGraph(State)
  .addNode("wait", async ({ pauseMs }) => {
    const at = Date.now();
    await new Promise((resolve) => setTimeout(resolve, pauseMs));
    return { taken: [{ pid: process.pid, at }] };
  })
  .addEdge(START, "wait")
  .addConditionalEdges("wait", ({ taken, steps }) => (taken.length < steps ? "wait" : END))
  .compile();

const Speech = Annotation.Root({
  /** How many frames to say, and how long to wait before each. */
  frames: Annotation<number>,
  pauseMs: Annotation<number>,
  /** How much each carries besides; nothing when it is not given. */
  bytes: Annotation<number | undefined>,
});

/** Says frames, each of which carries the time at which it was said. */
export const speaking = new StateGraph(Speech)
  .addNode("speak", async ({ frames, pauseMs, bytes }, config: LangGraphRunnableConfig) => {
    const ballast = bytes === undefined ? {} : { ballast: "x".repeat(bytes) };
    for (let n = 0; n < frames; n += 1) {
      await new Promise((resolve) => setTimeout(resolve, pauseMs));
      config.writer?.({ at: Date.now(), ...ballast });
    }
    return {};
  })
  .addEdge(START, "speak")
  .addEdge("speak", END)
  .compile();
