/** What the fake model says, as Converse answers it and as ConverseStream sends it. */
import { eventFrame } from "./event-stream.ts";
import type { ConverseBody } from "./fake-bedrock-rules.ts";

export interface FakeTurn {
  /** Several: one delta each. */
  readonly text?: string | readonly string[];
  readonly reasoning?: { readonly text: string; readonly signature: string };
  readonly tools?: readonly FakeCall[];
  /** `tool_use` when there are tools, else `end_turn`. */
  readonly stopReason?: string;
  readonly usage?: FakeUsage;
  readonly guardrail?: { readonly message: string };
  /** Milliseconds before the head of the answer, and between its frames. */
  readonly delayMs?: number;
  readonly betweenMs?: number;
}

export interface FakeCall {
  readonly id: string;
  readonly name: string;
  /** A text is sent as it is by ConverseStream, whatever it is. */
  readonly input: unknown;
}

export interface FakeUsage {
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly cacheReadInputTokens?: number;
  readonly cacheWriteInputTokens?: number;
}

const USAGE: FakeUsage = { inputTokens: 10, outputTokens: 5 };

const textsOf = ({ text = [], guardrail }: FakeTurn): readonly string[] =>
  guardrail ? [guardrail.message] : typeof text === "string" ? [text] : text;

function stopOf({ stopReason, guardrail, tools = [] }: FakeTurn): string {
  if (stopReason !== undefined) return stopReason;
  if (guardrail) return "guardrail_intervened";
  return tools.length > 0 ? "tool_use" : "end_turn";
}

/** Bedrock's total leaves the tokens of its cache out or in, by model; here it has all of them in it. */
function usageOf({ usage = USAGE }: FakeTurn): object {
  const { inputTokens, outputTokens, cacheReadInputTokens = 0, cacheWriteInputTokens = 0 } = usage;
  return { ...usage, totalTokens: inputTokens + outputTokens + cacheReadInputTokens + cacheWriteInputTokens };
}

/** Told only to who has asked for it. */
const traceOf = ({ guardrail }: FakeTurn, asked: string | undefined): object =>
  guardrail && asked === "enabled"
    ? {
        trace: {
          guardrail: {
            outputAssessments: { fake: [{ wordPolicy: { customWords: [{ match: "tents", action: "BLOCKED" }] } }] },
          },
        },
      }
    : {};

/** The body of an answer of Converse. */
export function messageOf(turn: FakeTurn, { guardrailConfig }: ConverseBody): object {
  const text = textsOf(turn).join("");
  const content = [
    ...(turn.reasoning ? [{ reasoningContent: { reasoningText: turn.reasoning } }] : []),
    ...(text === "" ? [] : [{ text }]),
    ...(turn.tools ?? []).map(({ id, name, input }) => ({ toolUse: { toolUseId: id, name, input } })),
  ];
  return {
    output: { message: { role: "assistant", content } },
    stopReason: stopOf(turn),
    usage: usageOf(turn),
    metrics: { latencyMs: 1 },
    ...traceOf(turn, guardrailConfig?.trace),
  };
}

/** The frames of a stream. The input of a tool comes in deltas that cut through its values. */
export function framesOf(turn: FakeTurn, { guardrailConfig }: ConverseBody = {}): readonly Buffer[] {
  const blocks: (readonly Buffer[])[] = [];
  const add = (deltas: readonly object[], start?: object): void => {
    const contentBlockIndex = blocks.length;
    blocks.push([
      // Blocks of text have no start.
      ...(start ? [eventFrame("contentBlockStart", { contentBlockIndex, start })] : []),
      ...deltas.map((delta) => eventFrame("contentBlockDelta", { contentBlockIndex, delta })),
      eventFrame("contentBlockStop", { contentBlockIndex }),
    ]);
  };
  if (turn.reasoning) {
    const { text, signature } = turn.reasoning;
    add([{ reasoningContent: { text } }, { reasoningContent: { signature } }]);
  }
  const texts = textsOf(turn);
  if (texts.length > 0) add(texts.map((text) => ({ text })));
  for (const { id, name, input } of turn.tools ?? []) {
    const json = typeof input === "string" ? input : JSON.stringify(input);
    add(
      pieces(json).map((piece) => ({ toolUse: { input: piece } })),
      { toolUse: { toolUseId: id, name } },
    );
  }
  return [
    eventFrame("messageStart", { role: "assistant" }),
    ...blocks.flat(),
    eventFrame("messageStop", { stopReason: stopOf(turn) }),
    eventFrame("metadata", {
      usage: usageOf(turn),
      metrics: { latencyMs: 1 },
      ...traceOf(turn, guardrailConfig?.trace),
    }),
  ];
}

const PIECE = 6;

const pieces = (text: string): readonly string[] => ["", ...(text.match(new RegExp(`.{1,${PIECE}}`, "gs")) ?? [])];
