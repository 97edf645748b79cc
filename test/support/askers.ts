/** A graph whose nodes all ask, side by side, with a plain interrupt that says who asks. */
import { Annotation, START, StateGraph, interrupt } from "@langchain/langgraph";

const State = Annotation.Root({
  text: Annotation<string>(),
  log: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
});

/** `shown`: how the log has what a node was answered. */
export function askers(names: readonly string[], shown: (answer: unknown) => string = JSON.stringify) {
  const ask = (name: string) => () => ({ log: [`${name} ${shown(interrupt({ from: name }))}`] });
  const graph = new StateGraph(State);
  for (const name of names) graph.addNode(name, ask(name)).addEdge(START, name);
  return graph.compile();
}
