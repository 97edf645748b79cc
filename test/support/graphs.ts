/** Small real graphs, each for one thing that a client can see. */
import { AIMessage, HumanMessage } from "@langchain/core/messages";
import { FakeListChatModel } from "@langchain/core/utils/testing";
import { Annotation, END, interrupt, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import type { LangGraphRunnableConfig } from "@langchain/langgraph";
import { review } from "../../src/graph/review.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import type { GraphRegistry } from "../../src/langgraph/registry.ts";

/** Stops a node until the test lets it go on. */
export interface Gate {
  /** Nodes that wait now. */
  readonly waiting: () => number;
  open(): void;
}

export interface TestGraphs {
  readonly registry: GraphRegistry;
  readonly gate: Gate;
}

const State = Annotation.Root({
  text: Annotation<string>(),
  log: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
});
type Text = typeof State.State;

/**
 * `echo`: two steps. `gated`: waits for its gate. `thrower`: throws what its text says. `asker`: a plain interrupt.
 * `refund`: a review. `chat`: a message, token by token. `nested`: a subgraph. `talker`: writes to the custom stream.
 * `headers`: shows what it finds in its configuration. `broken` is named and could not be loaded.
 */
export function createTestGraphs(): TestGraphs {
  const waiting = new Set<() => void>();
  const gate: Gate = {
    waiting: () => waiting.size,
    open() {
      for (const go of waiting) go();
      waiting.clear();
    },
  };
  const graphs = {
    echo: echoGraph(),
    gated: gatedGraph(waiting),
    thrower: throwerGraph(),
    asker: askerGraph(),
    refund: refundGraph(),
    chat: chatGraph(),
    nested: nestedGraph(),
    talker: talkerGraph(),
    headers: headersGraph(),
  };
  const failure = { graphId: "broken", file: "graphs/broken.ts", error: { name: "Error", message: "no such module" } };
  const registered = Object.entries(graphs).map(([graphId, graph]) => registeredGraph(graphId, graph));
  return { registry: createRegistry(registered, [failure]), gate };
}

function echoGraph() {
  return new StateGraph(State)
    .addNode("one", (state: Text) => ({ log: [`one ${state.text}`] }))
    .addNode("two", (state: Text) => ({ log: [`two ${state.text}`] }))
    .addEdge(START, "one")
    .addEdge("one", "two")
    .addEdge("two", END)
    .compile();
}

function gatedGraph(waiting: Set<() => void>) {
  return new StateGraph(State)
    .addNode("before", () => ({ log: ["before"] }))
    .addNode("gate", async (_state: Text, config: LangGraphRunnableConfig) => {
      await new Promise<void>((resolve) => {
        const go = (): void => {
          waiting.delete(go);
          resolve();
        };
        waiting.add(go);
        config.signal?.addEventListener("abort", go, { once: true });
      });
      config.signal?.throwIfAborted();
      return { log: ["through"] };
    })
    .addEdge(START, "before")
    .addEdge("before", "gate")
    .addEdge("gate", END)
    .compile();
}

function throwerGraph() {
  return new StateGraph(State)
    .addNode("throw", (state: Text): Partial<Text> => {
      // People do, and the run must end readably.
      const text: unknown = "a thrown string";
      if (state.text === "string") throw text;
      if (state.text === "unserialisable") return { log: [1n as unknown as string] };
      throw new TypeError("Boo!");
    })
    .addEdge(START, "throw")
    .compile();
}

function askerGraph() {
  return new StateGraph(State)
    .addNode("ask", (state: Text) => ({ log: [`answer ${String(interrupt({ question: state.text }))}`] }))
    .addEdge(START, "ask")
    .compile();
}

function refundGraph() {
  return new StateGraph(State)
    .addNode("propose", async (state: Text, config: LangGraphRunnableConfig) => {
      const answer = await review(config, { title: "Refund", action: "refund", args: { amount: Number(state.text) } });
      return { log: [answer.type === "edit" ? `edit ${JSON.stringify(answer.args)}` : answer.type] };
    })
    .addEdge(START, "propose")
    .compile();
}

function chatGraph() {
  const model = new FakeListChatModel({ responses: ["hello there"] });
  return new StateGraph(MessagesAnnotation)
    .addNode("model", async (state, config) => ({ messages: [await model.invoke(state.messages, config)] }))
    .addNode("note", () => ({ messages: [new AIMessage("noted"), new HumanMessage("thanks")] }))
    .addEdge(START, "model")
    .addEdge("model", "note")
    .compile();
}

function nestedGraph() {
  const inner = new StateGraph(State)
    .addNode("deep", (state: Text) => ({ log: [`deep ${state.text}`] }))
    .addEdge(START, "deep")
    .compile();
  return new StateGraph(State).addNode("inner", inner).addEdge(START, "inner").compile();
}

function talkerGraph() {
  return new StateGraph(State)
    .addNode("talk", (state: Text, config: LangGraphRunnableConfig) => {
      config.writer?.({ progress: state.text });
      return { log: ["talked"] };
    })
    .addEdge(START, "talk")
    .compile();
}

function headersGraph() {
  return new StateGraph(State)
    .addNode("show", (_state: Text, config: LangGraphRunnableConfig) => ({
      log: Object.keys(config.configurable ?? {}).filter((key) => key.startsWith("x-") || key === "user-agent"),
    }))
    .addEdge(START, "show")
    .compile();
}
