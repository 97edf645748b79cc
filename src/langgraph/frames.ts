/**
 * From LangGraph's stream to the frames of the event log. `values` become references to the checkpoint that holds
 * them, so that a superstep costs the same however large the state is; what no checkpoint holds is kept as data.
 */
import type { BaseMessageChunk } from "@langchain/core/messages";
import { isCheckpointEnvelope } from "@langchain/langgraph";
import type { StreamMode as LibraryMode } from "@langchain/langgraph";
import { HoldpointError, isHoldpointError } from "../core/errors.ts";
import type { ErrorInfo } from "../core/errors.ts";
import type { Frame } from "../core/event.ts";
import type { Json } from "../core/json.ts";
import { plainJson } from "../core/plain-json.ts";
import type { Run, StreamMode } from "../core/run.ts";
import { shownMetadata } from "./event-frames.ts";
import { createMessageFrames } from "./message-frames.ts";
import type { MessageFrames } from "./message-frames.ts";
import { isHidden } from "./visible.ts";

/** One chunk of LangGraph's stream: namespace, mode, payload. */
export type Chunk = readonly [readonly string[], string, unknown];

/** The stream modes to ask LangGraph for: those from which what is wanted can be made, and no other. */
export function libraryModes(wanted: readonly StreamMode[]): LibraryMode[] {
  const modes = new Set<LibraryMode>();
  for (const mode of wanted) {
    switch (mode) {
      case "values":
      case "updates":
      case "custom":
        modes.add(mode);
        break;
      case "messages-tuple":
        modes.add("messages");
        break;
      case "messages":
        modes.add("messages").add("values");
        break;
      case "events":
        // Callbacks say them, and not LangGraph's stream.
        break;
    }
  }
  return [...modes];
}

export interface FramesOf {
  readonly modes: readonly StreamMode[];
  readonly subgraphs: boolean;
  /** Messages at the end of the first state that are this run's own input: the legacy mode announces them. */
  readonly inputMessages: number;
  /** Whether the first values hold an update that no checkpoint has yet. */
  readonly updatesFirst: boolean;
  /** Whether checkpoints of this namespace go through the saver. */
  readonly isKept: (ns: string) => boolean;
}

/** A frame to be emitted, after the checkpoint that it refers to has landed. */
export interface FrameToEmit {
  readonly frame: Frame;
  /** Undefined when LangGraph has already waited for the checkpoint. */
  readonly after: { readonly ns: string; readonly checkpointId: string } | undefined;
}

/** What LangGraph says right before a `values` chunk: the checkpoint that it shows. */
interface Envelope {
  readonly id: string;
  readonly source: unknown;
}

/** Turns the chunks of one delivery into frames. Holds what one chunk must know of the one before. */
export class Frames {
  readonly #of: FramesOf;
  readonly #wanted: ReadonlySet<StreamMode>;
  readonly #envelopes = new Map<string, Envelope>();
  /** Namespaces that have stopped: values that follow hold what the interrupted tasks' siblings have done. */
  readonly #interrupted = new Set<string>();
  #begun = false;
  readonly #messages: MessageFrames;

  constructor(of: FramesOf) {
    this.#of = of;
    this.#wanted = new Set(of.modes);
    this.#messages = createMessageFrames(of.inputMessages);
  }

  /** @throws HoldpointError `invalid` for data that contains itself */
  take([path, mode, payload]: Chunk): readonly FrameToEmit[] {
    const ns = path.join("|");
    const isNested = ns !== "" && !this.#of.subgraphs;
    if (isNested && mode !== "custom") return [];
    const event = (name: string): string => (ns === "" || isNested ? name : `${name}|${ns}`);
    switch (mode) {
      case "checkpoints":
        this.#saw(ns, payload);
        return [];
      case "values":
        return [...this.#completed(ns, payload), ...this.#values(ns, event("values"), payload)];
      case "updates":
        return data(event("updates"), shownUpdates(payload));
      case "custom":
        return data(event("custom"), written(payload));
      case "messages":
        return this.#message(event, payload);
      default:
        return [];
    }
  }

  #saw(ns: string, payload: unknown): void {
    if (!isCheckpointEnvelope(payload) || !isRecord(payload) || typeof payload["id"] !== "string") return;
    this.#envelopes.set(ns, { id: payload["id"], source: payload["source"] });
  }

  #values(ns: string, event: string, payload: unknown): readonly FrameToEmit[] {
    if (!this.#wanted.has("values")) return [];
    if (isInterrupts(payload)) {
      this.#interrupted.add(ns);
      return data(event, payload);
    }
    const at = this.#envelopes.get(ns);
    const isFirst = this.#of.updatesFirst && ns === "" && !this.#begun;
    this.#begun = true;
    if (at === undefined || isFirst || this.#interrupted.has(ns) || !this.#of.isKept(ns))
      return data(event, shownValues(payload));
    const frame: Frame = { kind: "state", event, ns, checkpointId: at.id };
    return [{ frame, after: at.source === "loop" ? undefined : { ns, checkpointId: at.id } }];
  }

  #completed(ns: string, payload: unknown): readonly FrameToEmit[] {
    if (!this.#wanted.has("messages") || ns !== "" || isInterrupts(payload)) return [];
    return this.#messages.completed(payload).flatMap(([name, frameData]) => data(name, frameData));
  }

  #message(event: (name: string) => string, payload: unknown): readonly FrameToEmit[] {
    const [message, metadata]: readonly unknown[] = Array.isArray(payload) ? (payload as readonly unknown[]) : [];
    const shown = shownMetadata(metadata);
    const tuple = this.#wanted.has("messages-tuple") ? data(event("messages"), [message, shown]) : [];
    if (!this.#wanted.has("messages") || !isChunk(message)) return tuple;
    return [
      ...tuple,
      ...this.#messages.partial(message, shown).flatMap(([name, frameData]) => data(event(name), frameData)),
    ];
  }
}

const data = (event: string, value: unknown): readonly FrameToEmit[] => [
  { frame: { kind: "data", event, data: plainJson(value) }, after: undefined },
];

/** What a node has given to `config.writer`. */
function written(value: unknown): Json {
  try {
    return plainJson(value);
  } catch (error) {
    if (!isHoldpointError(error, "invalid")) throw error;
    throw new HoldpointError("invalid", `what a node gave to config.writer: ${error.message}`, { cause: error });
  }
}

const isInterrupts = (payload: unknown): boolean =>
  typeof payload === "object" && payload !== null && "__interrupt__" in payload;

function shownValues(payload: unknown): unknown {
  return isRecord(payload) ? Object.fromEntries(Object.entries(payload).filter(([key]) => !isHidden(key))) : payload;
}

function shownUpdates(payload: unknown): unknown {
  if (!isRecord(payload)) return payload;
  return Object.fromEntries(
    Object.entries(payload).map(([node, update]) => [node, node.startsWith("__") ? update : shownValues(update)]),
  );
}

/** A piece of a streamed message: by what it can do, whichever copy of LangChain made it. */
const isChunk = (message: unknown): message is BaseMessageChunk =>
  typeof message === "object" && message !== null && "concat" in message && "toDict" in message;

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** The first frame of a delivery. */
export function metadataFrame(run: Pick<Run, "runId">, attempt: number): Frame {
  return { kind: "data", event: "metadata", data: { run_id: run.runId, attempt } };
}

/** The last frame of a run that failed. */
export function errorFrame(error: ErrorInfo): Frame {
  return { kind: "data", event: "error", data: { error: error.name, message: error.message } };
}

/** A frame as readers get it: a reference is filled in with the values of its checkpoint. */
export async function fillFrame(
  frame: Exclude<Frame, { readonly kind: "blob" }>,
  readState: (ns: string, checkpointId: string) => Promise<Json>,
): Promise<{ readonly event: string; readonly data: Json }> {
  const filled = frame.kind === "state" ? await readState(frame.ns, frame.checkpointId) : frame.data;
  return { event: frame.event, data: filled };
}
