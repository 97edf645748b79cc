/** Graphs that take their worker with them, each in its way, whenever they are executed. */
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import type { NodeConfig } from "holdpoint/graph";
import { noteStep } from "../witness.ts";

const State = Annotation.Root({ log: Annotation<string[]>() });
const FOR_EVER_MS = 600_000;

const poison = (deed: () => void) =>
  new StateGraph(State)
    .addNode("drink", async (_state, config: NodeConfig) => {
      noteStep(config, "drink");
      deed();
      await new Promise((resolve) => setTimeout(resolve, FOR_EVER_MS));
      return {};
    })
    .addEdge(START, "drink")
    .addEdge("drink", END)
    .compile();

export const exits = poison(() => process.exit(7));

export const hoards = poison(() => {
  const hoard: number[][] = [];
  for (;;) hoard.push(Array.from({ length: 100_000 }, (_, i) => i));
});

export const spins = poison(() => {
  for (;;);
});

export const throws = poison(() => {
  setTimeout(() => {
    throw new Error("thrown in a timer");
  }, 10);
});
