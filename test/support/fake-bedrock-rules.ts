/** The rules of Converse that a client can break, with Bedrock's own words where they are known. */

/** What Bedrock answers in place of a result. */
export class BedrockRefusal extends Error {
  readonly status: number;
  readonly type: string;

  constructor(status: number, type: string, message: string) {
    super(message);
    this.status = status;
    this.type = type;
  }
}

export interface Block {
  readonly text?: string;
  readonly toolUse?: { readonly toolUseId: string; readonly name: string; readonly input: unknown };
  readonly toolResult?: { readonly toolUseId: string; readonly content: readonly unknown[] };
  readonly reasoningContent?: unknown;
  readonly cachePoint?: unknown;
}

export interface WireMessage {
  readonly role: string;
  readonly content: readonly Block[];
}

export interface ConverseBody {
  readonly messages?: readonly WireMessage[];
  readonly system?: readonly { readonly text?: string }[];
  readonly inferenceConfig?: { readonly maxTokens?: number; readonly temperature?: number };
  readonly toolConfig?: {
    readonly tools: readonly {
      readonly toolSpec?: {
        readonly name: string;
        readonly inputSchema: { readonly json: { readonly type?: string } };
      };
    }[];
  };
  readonly guardrailConfig?: { readonly guardrailIdentifier: string; readonly trace?: string };
}

const invalid = (message: string): BedrockRefusal => new BedrockRefusal(400, "ValidationException", message);

/** @throws BedrockRefusal as the service would refuse it */
export function checkConverse(body: ConverseBody): void {
  const { messages = [], system = [], inferenceConfig, toolConfig } = body;
  if (messages.length === 0 || messages[0]?.role !== "user")
    throw invalid(
      "A conversation must start with a user message. Try again with a conversation that starts with a user message.",
    );
  for (const [at, message] of messages.entries()) checkMessage(at, message, messages[at - 1]);
  if (system.some(({ text }) => text !== undefined && text.trim() === ""))
    throw invalid("The text field in the ContentBlock object at system.0 is blank.");
  if (inferenceConfig?.maxTokens !== undefined && inferenceConfig.maxTokens < 1)
    throw invalid(
      "Value at 'inferenceConfig.maxTokens' failed to satisfy constraint: Member must have value greater than or equal to 1",
    );
  checkTools(toolConfig, messages);
}

function checkMessage(at: number, { role, content }: WireMessage, before: WireMessage | undefined): void {
  if (content.length === 0)
    throw invalid(
      `The content field in the Message object at messages.${at} is empty. Add a ContentBlock object to the content field and try again.`,
    );
  if (before?.role === role)
    throw invalid(
      `messages.${at}: roles must alternate between "user" and "assistant", but found multiple "${role}" roles in a row`,
    );
  for (const [block, { text }] of content.entries())
    if (text !== undefined && text.trim() === "")
      throw invalid(
        `The text field in the ContentBlock object at messages.${at}.content.${block} is blank. Add text to the text field, and try again.`,
      );
  const asked = before?.content.flatMap(({ toolUse }) => (toolUse ? [toolUse.toolUseId] : [])) ?? [];
  const answered = content.flatMap(({ toolResult }) => (toolResult ? [toolResult.toolUseId] : []));
  const missing = asked.filter((id) => !answered.includes(id));
  if (missing.length > 0)
    throw invalid(`Expected toolResult blocks at messages.${at}.content for the following Ids: ${missing.join(", ")}`);
  if (answered.length > asked.length)
    throw invalid(
      `The number of toolResult blocks at messages.${at}.content exceeds the number of toolUse blocks of previous turn.`,
    );
}

const TOOL_NAME = /^[a-zA-Z0-9_-]{1,64}$/;

function checkTools(config: ConverseBody["toolConfig"], messages: readonly WireMessage[]): void {
  const used = messages.flatMap(({ content }) => content).some(({ toolUse, toolResult }) => toolUse || toolResult);
  if (config === undefined) {
    if (used) throw invalid("The toolConfig field must be defined when using toolUse and toolResult content blocks.");
    return;
  }
  const names = config.tools.flatMap(({ toolSpec }) => (toolSpec ? [toolSpec.name] : []));
  for (const [at, name] of names.entries()) {
    if (!TOOL_NAME.test(name))
      throw invalid(
        `Value '${name}' at 'toolConfig.tools.${at}.member.toolSpec.name' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_-]+`,
      );
    if (names.indexOf(name) !== at)
      throw invalid(
        `The tool name ${name} is already defined at toolConfig.tools.${names.indexOf(name)}. Rename the tool, and try again.`,
      );
  }
  for (const [at, { toolSpec }] of config.tools.entries())
    if (toolSpec && toolSpec.inputSchema.json.type !== "object")
      throw invalid(
        `The value at toolConfig.tools.${at}.toolSpec.inputSchema.json.type must be one of the following: object.`,
      );
}
