/**
 * The names of OpenTelemetry's semantic conventions for generative AI that are used here, at the revision v1.41.0 of
 * https://github.com/open-telemetry/semantic-conventions/tree/v1.41.0/docs/gen-ai: the last one in which they stood in
 * that repository. They are in development, and change between revisions: this file is the only one to follow them.
 */

export const GEN_AI = {
  operation: "gen_ai.operation.name",
  provider: "gen_ai.provider.name",
  requestModel: "gen_ai.request.model",
  responseModel: "gen_ai.response.model",
  finishReasons: "gen_ai.response.finish_reasons",
  inputTokens: "gen_ai.usage.input_tokens",
  outputTokens: "gen_ai.usage.output_tokens",
  tokenType: "gen_ai.token.type",
  /** Of the thread. */
  conversation: "gen_ai.conversation.id",
  /** Of the graph. */
  workflow: "gen_ai.workflow.name",
  toolName: "gen_ai.tool.name",
  toolType: "gen_ai.tool.type",
  toolCall: "gen_ai.tool.call.id",
  /** Content: only when somebody asked for it. */
  inputMessages: "gen_ai.input.messages",
  outputMessages: "gen_ai.output.messages",
  toolArguments: "gen_ai.tool.call.arguments",
  toolResult: "gen_ai.tool.call.result",
} as const;

/** Values of `gen_ai.operation.name`, with which the names of spans begin. */
export const OPERATIONS = {
  workflow: "invoke_workflow",
  chat: "chat",
  embeddings: "embeddings",
  tool: "execute_tool",
} as const;

/** Of a class of errors, low in number and never a message. */
export const ERROR_TYPE = "error.type";

/** The boundaries that the conventions ask for, in tokens and in seconds. */
export const TOKEN_BUCKETS: number[] = Array.from({ length: 14 }, (_, i) => 4 ** i);
export const DURATION_BUCKETS: number[] = Array.from({ length: 14 }, (_, i) => 2 ** i / 100);
