import { context } from "@opentelemetry/api";
import type { Clock } from "../../core/clock.ts";
import { toolContext } from "../../langgraph/gen-ai-callbacks.ts";
import type { Model, ModelDelta, ModelReply, ModelRequest } from "../../models/model.ts";
import { beginChat } from "../../telemetry/gen-ai-spans.ts";
import type { ChatReply, OpenCall } from "../../telemetry/gen-ai-spans.ts";
import { isHeard } from "../../telemetry/open-telemetry.ts";
import type { Telemetry } from "../../telemetry/open-telemetry.ts";

/** The same model, whose calls are told. `name`: as its callers call it. */
export function observedModel(model: Model, name: string, told: { telemetry: Telemetry; clock: Clock }): Model {
  const { telemetry, clock } = told;
  if (!isHeard(telemetry)) return model;
  const begin = ({ messages }: ModelRequest): OpenCall<ChatReply> =>
    beginChat(telemetry, clock, { model: name, parent: toolContext(), input: () => messages.map(messageOf) });
  return {
    description: model.description,
    async complete(request) {
      const call = begin(request);
      try {
        const reply = await context.with(call.context, () => model.complete(request));
        call.end(tellOf(reply));
        return reply;
      } catch (error) {
        call.fail(error);
        throw error;
      }
    },
    stream: (request) => observedStream(model, request, begin),
  };
}

async function* observedStream(
  model: Model,
  request: ModelRequest,
  begin: (request: ModelRequest) => OpenCall<ChatReply>,
): AsyncGenerator<ModelDelta> {
  const call = begin(request);
  let reply: ModelReply | undefined;
  const deltas = context.with(call.context, () => model.stream(request)[Symbol.asyncIterator]());
  try {
    for (;;) {
      const next = await context.with(call.context, () => deltas.next());
      if (next.done === true) break;
      if (next.value.type === "reply") ({ reply } = next.value);
      yield next.value;
    }
  } catch (error) {
    call.fail(error);
    throw error;
  } finally {
    // Who reads no further ends the stream, and with it the call; one that has failed has ended.
    call.end(reply ? tellOf(reply) : {});
    await deltas.return?.();
  }
}

const tellOf = (reply: ModelReply): ChatReply => ({
  model: reply.model,
  provider: reply.provider,
  inputTokens: reply.usage.inputTokens,
  outputTokens: reply.usage.outputTokens,
  costUsd: reply.usage.costUsd,
  output: () => [{ role: "assistant", parts: [{ type: "text", content: reply.text }] }],
});

const messageOf = ({ role, content }: ModelRequest["messages"][number]) => ({
  role,
  parts: [{ type: "text", content }],
});
