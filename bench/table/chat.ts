/** Graphs that converse: one whose model speaks token by token, and one for thousands of turns. */
import { SimpleChatModel } from "@langchain/core/language_models/chat_models";
import type { CallbackManagerForLLMRun } from "@langchain/core/callbacks/manager";
import { AIMessage, AIMessageChunk } from "@langchain/core/messages";
import type { BaseMessage } from "@langchain/core/messages";
import { ChatGenerationChunk } from "@langchain/core/outputs";
import { Annotation, END, MessagesAnnotation, START, StateGraph } from "@langchain/langgraph";
import type { Clock } from "../../src/core/clock.ts";

/** Words that nobody can guess from those before, so that nothing is stored for less than a model's would be. */
function* newWords(seed: number): Generator<string, never> {
  for (let state = seed; ;) {
    state = (state * 48_271) % 2_147_483_647;
    yield `${state.toString(36).slice(0, 4)} `;
  }
}

/** Text of about a KB. */
export function aboutOneKilobyte(seed: number): string {
  const words = newWords(seed + 1);
  return Array.from({ length: 200 }, () => words.next().value).join("");
}

/** What a model says, and how fast. */
export interface Speech {
  readonly clock: Clock;
  readonly tokens: number;
  readonly tokensPerSecond: number;
  /** Called when a token is said. */
  readonly onToken: (n: number) => void;
}

class SpeakingModel extends SimpleChatModel {
  readonly #speech: Speech;

  constructor(speech: Speech) {
    super({});
    this.#speech = speech;
  }

  _llmType(): string {
    return "speaking";
  }

  async _call(): Promise<string> {
    throw new Error("this model only streams");
  }

  override async *_streamResponseChunks(
    _messages: readonly BaseMessage[],
    _options: this["ParsedCallOptions"],
    runManager?: CallbackManagerForLLMRun,
  ): AsyncGenerator<ChatGenerationChunk> {
    const { clock, tokens, tokensPerSecond, onToken } = this.#speech;
    const words = newWords(1);
    const began = clock.monotonic();
    for (let n = 0; n < tokens; n += 1) {
      await clock.sleep(began + ((n + 1) * 1000) / tokensPerSecond - clock.monotonic());
      onToken(n);
      const text = words.next().value;
      yield new ChatGenerationChunk({ text, message: new AIMessageChunk({ content: text }) });
      await runManager?.handleLLMNewToken(text);
    }
  }
}

/** One node, whose model streams. */
export function speakingGraph(speech: Speech) {
  const model = new SpeakingModel(speech);
  return new StateGraph(MessagesAnnotation)
    .addNode("model", async ({ messages }, config) => ({ messages: [await model.invoke(messages, config)] }))
    .addEdge(START, "model")
    .addEdge("model", END)
    .compile();
}

const Conversation = Annotation.Root({
  /** What was said last. */
  said: Annotation<BaseMessage>,
  /** What the conversation has been about; grows with every turn. */
  topics: Annotation<string[]>({ reducer: (left, right) => [...left, ...right], default: () => [] }),
});

/**
 * Three nodes, each of which says a message of about a KB and notes what it was about. Only the notes pile up: what is said is
 * as long in every turn, and thousands of turns can be had in a minute.
 */
export function conversationGraph() {
  const says =
    (part: number) =>
    ({ topics }: typeof Conversation.State) => {
      const content = aboutOneKilobyte(topics.length + part);
      return { said: new AIMessage(content), topics: [content.slice(0, 10)] };
    };
  return new StateGraph(Conversation)
    .addNode("think", says(1))
    .addNode("look", says(2))
    .addNode("reply", says(3))
    .addEdge(START, "think")
    .addEdge("think", "look")
    .addEdge("look", "reply")
    .addEdge("reply", END)
    .compile();
}
