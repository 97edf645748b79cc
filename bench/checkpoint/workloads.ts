/** What agents keep, as graphs: each turn is one invocation of the same thread, and every saver is given the same turns. */
import { AIMessage, HumanMessage } from "@langchain/core/messages";
import { Annotation, END, MessagesAnnotation, START, Send, StateGraph } from "@langchain/langgraph";
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import { randomOf, wordsOf } from "./words.ts";

export interface Workload {
  readonly name: string;
  /** One turn, with every step stored before the next; answers the state after it. */
  turn(saver: BaseCheckpointSaver, turn: number): Promise<unknown>;
}

export const THREAD = "conversation";
const CONFIG = { configurable: { thread_id: THREAD }, durability: "sync" } as const;

const MESSAGE = 1000;
const FILES = 40;
const FILE = 2000;
const EDITED = 2;
const DOCUMENT = 2_000_000;
const REPLACED = 200;
/** Sends of one turn of `fan-out`. */
const SENDS = 50;
const LARGE = 5_000_000;

/** Others for each turn and node, and the same for every saver. */
const randomAt = (turn: number, node: number): (() => number) => randomOf(turn * 1009 + node * 31 + 1);

/** One message of a human and one of each of three nodes, about 1 KB each. */
const chat: Workload = {
  name: "chat",
  turn(saver, turn) {
    const say = (node: number) => () => ({
      messages: [new AIMessage({ id: crypto.randomUUID(), content: wordsOf(MESSAGE, randomAt(turn, node)) })],
    });
    const asked = new HumanMessage({ id: crypto.randomUUID(), content: wordsOf(MESSAGE, randomAt(turn, 0)) });
    return new StateGraph(MessagesAnnotation)
      .addNode("a", say(1))
      .addNode("b", say(2))
      .addNode("c", say(3))
      .addEdge(START, "a")
      .addEdge("a", "b")
      .addEdge("b", "c")
      .addEdge("c", END)
      .compile({ checkpointer: saver })
      .invoke({ messages: [asked] }, CONFIG);
  },
};

type Files = Readonly<Record<string, string>>;
const pathOf = (n: number): string => `/src/module-${n}.ts`;
const allFiles = (): Files =>
  Object.fromEntries(Array.from({ length: FILES }, (_, n) => [pathOf(n), wordsOf(FILE, randomAt(0, n))]));

/** A dictionary of files of 2 KB, of which a node writes two anew. */
const files: Workload = {
  name: "files",
  turn(saver, turn) {
    const State = Annotation.Root({
      turn: Annotation<number>,
      files: Annotation<Files>({ reducer: (old, edited) => ({ ...old, ...edited }), default: () => ({}) }),
    });
    const edit = (): { files: Files } => {
      const random = randomAt(turn, 1);
      const edited = Array.from({ length: EDITED }, () => Math.floor(random() * FILES));
      return { files: Object.fromEntries(edited.map((n) => [pathOf(n), wordsOf(FILE, random)])) };
    };
    return new StateGraph(State)
      .addNode("edit", edit)
      .addEdge(START, "edit")
      .addEdge("edit", END)
      .compile({ checkpointer: saver })
      .invoke(turn === 1 ? { turn, files: allFiles() } : { turn }, CONFIG);
  },
};

/** A text of 2 MB; a node replaces 200 characters somewhere and returns it whole. */
const document: Workload = {
  name: "document",
  turn(saver, turn) {
    const State = Annotation.Root({ turn: Annotation<number>, text: Annotation<string> });
    const edit = ({ text }: { readonly text: string }): { text: string } => {
      const random = randomAt(turn, 1);
      const at = Math.floor(random() * (DOCUMENT - REPLACED));
      return { text: text.slice(0, at) + wordsOf(REPLACED, random) + text.slice(at + REPLACED) };
    };
    return new StateGraph(State)
      .addNode("edit", edit)
      .addEdge(START, "edit")
      .addEdge("edit", END)
      .compile({ checkpointer: saver })
      .invoke(turn === 1 ? { turn, text: wordsOf(DOCUMENT, randomAt(0, 1)) } : { turn }, CONFIG);
  },
};

/** Tasks that are sent at once, and a node that joins what they found. */
const fanOut: Workload = {
  name: "fan-out",
  turn(saver, turn) {
    const State = Annotation.Root({
      turn: Annotation<number>,
      found: Annotation<Readonly<Record<string, string>>>({
        reducer: (old, found) => ({ ...old, ...found }),
        default: () => ({}),
      }),
      joined: Annotation<number>,
    });
    const sends = (): Send[] => Array.from({ length: SENDS }, (_, n) => new Send("look", { n }));
    const look = ({ n }: { readonly n: number }): { found: Readonly<Record<string, string>> } => ({
      found: { [`source-${n}`]: wordsOf(100, randomAt(turn, n)) },
    });
    return new StateGraph(State)
      .addNode("plan", () => ({}))
      .addNode("look", look as (state: object) => ReturnType<typeof look>) // A Send brings a state of its own.
      .addNode("join", ({ found }) => ({ joined: Object.keys(found).length }))
      .addEdge(START, "plan")
      .addConditionalEdges("plan", sends, ["look"])
      .addEdge("look", "join")
      .addEdge("join", END)
      .compile({ checkpointer: saver })
      .invoke({ turn }, CONFIG);
  },
};

/** A value of 5 MB that is set once, and small steps beside it. */
const large: Workload = {
  name: "large",
  turn(saver, turn) {
    const State = Annotation.Root({ turn: Annotation<number>, value: Annotation<string>, note: Annotation<string> });
    return new StateGraph(State)
      .addNode("small", () => ({ note: wordsOf(100, randomAt(turn, 1)) }))
      .addEdge(START, "small")
      .addEdge("small", END)
      .compile({ checkpointer: saver })
      .invoke(turn === 1 ? { turn, value: wordsOf(LARGE, randomAt(0, 1)) } : { turn }, CONFIG);
  },
};

export const WORKLOADS: readonly Workload[] = [chat, files, document, fanOut, large];
