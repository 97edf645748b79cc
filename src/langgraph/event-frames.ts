/**
 * The stream mode `events`: LangChain's events (v2) of everything that a graph calls, as LangGraph's servers send them;
 * agent-inbox reads in them which node is at work. Without the inputs and outputs of chains: those are the graph's state
 * again and again, which `values` shows once for each superstep.
 */
import { BaseCallbackHandler } from "@langchain/core/callbacks/base";
import { AIMessageChunk } from "@langchain/core/messages";
import type { Frame } from "../core/event.ts";
import type { JsonObject } from "../core/json.ts";
import { plainJson } from "../core/plain-json.ts";
import { isHidden } from "./visible.ts";

/** What is known of something that has started, until it has ended. */
interface Started {
  readonly kind: "chain" | "chat_model" | "tool";
  readonly name: string;
  readonly tags: readonly string[];
  readonly metadata: JsonObject;
}

/** What is called, as LangChain writes it down. */
interface Called {
  readonly name?: string;
  readonly id: readonly string[];
}

/** What LangChain passes to each of its handlers: what is called, its input, and by which names it goes. */
type Call = readonly [called: Called, input: unknown, id: string, ...rest: readonly unknown[]];

/** Emits a frame for each event, in the order in which they happen, until it is disposed: what was aborted may go on for a while. */
export class EventFrames extends BaseCallbackHandler implements Disposable {
  override readonly name = "holdpoint-events";
  /** Frames are in the order of what happens, and a slow table slows it. */
  override readonly awaitHandlers = true;
  /** Models stream what they say for the sake of it. */
  readonly lc_prefer_streaming = true;
  readonly #emit: (frame: Frame) => void | Promise<void>;
  readonly #started = new Map<string, Started>();
  #isOver = false;

  constructor(emit: (frame: Frame) => void | Promise<void>) {
    super();
    this.#emit = emit;
  }

  [Symbol.dispose](): void {
    this.#isOver = true;
  }

  /** LangChain passes the parent's id, tags, metadata, type and name, whatever the names in its types are. */
  override async handleChainStart(...call: Call): Promise<void> {
    const [called, , id, , tags, metadata, , name] = call;
    await this.#start(id, { kind: "chain", called, name, tags, metadata }, {});
  }

  override async handleChainEnd(_output: unknown, id: string): Promise<void> {
    await this.#end(id, {});
  }

  override handleChainError(_error: unknown, id: string): void {
    this.#started.delete(id);
  }

  override async handleChatModelStart(...call: Call): Promise<void> {
    const [called, , id, , , tags, metadata, name] = call;
    await this.#start(id, { kind: "chat_model", called, name, tags, metadata }, {});
  }

  override async handleLLMNewToken(
    token: string,
    _at: unknown,
    ...[id, , , fields]: readonly [id: string, parent?: string, tags?: string[], fields?: { readonly chunk?: unknown }]
  ): Promise<void> {
    const piece = fields?.chunk;
    const isMessage = typeof piece === "object" && piece !== null && "message" in piece;
    await this.#say(id, "stream", { chunk: isMessage ? piece.message : new AIMessageChunk(token) });
  }

  override async handleLLMEnd(
    { generations }: { readonly generations: readonly (readonly object[])[] },
    id: string,
  ): Promise<void> {
    const [first] = generations[0] ?? [];
    await this.#end(id, first !== undefined && "message" in first ? { output: first.message } : {});
  }

  override handleLLMError(_error: unknown, id: string): void {
    this.#started.delete(id);
  }

  override async handleToolStart(...call: Call): Promise<void> {
    const [called, input, id, , tags, metadata, name] = call;
    await this.#start(id, { kind: "tool", called, name, tags, metadata }, { input });
  }

  override async handleToolEnd(output: unknown, id: string): Promise<void> {
    await this.#end(id, { output });
  }

  override handleToolError(_error: unknown, id: string): void {
    this.#started.delete(id);
  }

  async #start(
    id: string,
    of: Pick<Started, "kind"> & Readonly<Record<"called" | "name" | "tags" | "metadata", unknown>>,
    data: object,
  ): Promise<void> {
    const { kind } = of;
    const tags = Array.isArray(of.tags) ? of.tags.map(String) : [];
    const metadata = shownMetadata(of.metadata);
    const node = metadata["langgraph_node"];
    if (tags.includes("langsmith:hidden") || (typeof node === "string" && isHidden(node))) return;
    this.#started.set(id, { kind, name: nameOf(of.name, of.called as Called), tags, metadata });
    await this.#say(id, "start", data);
  }

  async #end(id: string, data: object): Promise<void> {
    await this.#say(id, "end", data);
    this.#started.delete(id);
  }

  async #say(id: string, what: "start" | "stream" | "end", said: object): Promise<void> {
    const started = this.#started.get(id);
    if (!started || this.#isOver) return;
    const { kind, name, tags, metadata } = started;
    const data = plainJson({ event: `on_${kind}_${what}`, name, run_id: id, tags, metadata, data: said });
    await this.#emit({ kind: "data", event: "events", data });
  }
}

function nameOf(name: unknown, called: Called | undefined): string {
  if (typeof name === "string") return name;
  return called?.name ?? called?.id.at(-1) ?? "Unnamed";
}

/** Metadata without what belongs to the runtime or to the caller's credentials. */
export function shownMetadata(metadata: unknown): JsonObject {
  if (typeof metadata !== "object" || metadata === null || Array.isArray(metadata)) return {};
  const shown = Object.entries(metadata).filter(([key]) => !key.startsWith("__") && !key.startsWith("langgraph_auth"));
  return plainJson(Object.fromEntries(shown)) as JsonObject; // an object comes back as an object
}
