/**
 * A model writes `{"amount":100000}` and is cut after `{"amount":10`. First what the stock stack makes of it: LangChain's
 * client and LangGraph's own tool node pay 10. Then that ours pays nothing, for every place at which a turn can be cut.
 */
import { BedrockRuntimeClient } from "@aws-sdk/client-bedrock-runtime";
import { ChatBedrockConverse } from "@langchain/aws";
import { HumanMessage } from "@langchain/core/messages";
import type { AIMessage, AIMessageChunk } from "@langchain/core/messages";
import { tool } from "@langchain/core/tools";
import { ToolNode } from "@langchain/langgraph/prebuilt";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { reasonOf } from "../../src/models/failure.ts";
import { startFakeBedrock } from "../support/fake-bedrock.ts";
import type { BedrockFault, FakeBedrock } from "../support/fake-bedrock.ts";
import { framesOf } from "../support/fake-bedrock-turns.ts";
import { CLAUDE, routed } from "../support/routed-models.ts";

const paid: number[] = [];
const pay = tool(
  async ({ amount }) => {
    paid.push(amount);
    return "paid";
  },
  { name: "pay", description: "Pays.", schema: z.object({ amount: z.number() }) },
);
const ASK = [new HumanMessage("Pay 100000.")];
const TURN = { tools: [{ id: "t1", name: "pay", input: { amount: 100_000 } }] };
/** messageStart, contentBlockStart, and the deltas "", `{"amou`, `nt":10`. */
const IN_THE_AMOUNT = 5;

let bedrock: FakeBedrock;
beforeAll(async () => {
  bedrock = await startFakeBedrock();
  bedrock.says(() => TURN);
});
afterAll(() => bedrock[Symbol.asyncDispose]());

const execute = (message: AIMessage | AIMessageChunk): Promise<unknown> =>
  new ToolNode([pay]).invoke({ messages: [message] });

describe("the stock stack", () => {
  const stock = () =>
    new ChatBedrockConverse({
      model: CLAUDE,
      region: "us-east-1",
      streaming: true,
      client: new BedrockRuntimeClient({
        region: "us-east-1",
        endpoint: bedrock.endpoint,
        credentials: { accessKeyId: "local", secretAccessKey: "local" },
        maxAttempts: 1,
        requestHandler: new NodeHttpHandler(),
      }),
    }).bindTools([pay]);

  it("pays 10 when the stream ends in the middle of 100000", async () => {
    bedrock.fault(() => ({ kind: "end", after: IN_THE_AMOUNT }));
    paid.length = 0;
    await execute(await stock().invoke(ASK));
    expect(paid).toEqual([10]);
  });

  it("pays 10 when the token limit was hit there", async () => {
    bedrock.fault(() => undefined);
    bedrock.says(() => ({ tools: [{ id: "t1", name: "pay", input: '{"amount":10' }], stopReason: "max_tokens" }));
    paid.length = 0;
    await execute(await stock().invoke(ASK));
    bedrock.says(() => TURN);
    expect(paid).toEqual([10]);
  });
});

describe("ours", () => {
  const frames = framesOf(TURN).length;
  const cuts = Array.from({ length: frames }, (_, after) => after);
  /** What the client was told last, and whatever it could have taken for a call on the way. */
  async function ask(): Promise<{ readonly reason: string | undefined; readonly calls: number }> {
    using models = routed(bedrock, { policies: { attempts: 1 } });
    let seen: AIMessageChunk | undefined;
    try {
      for await (const chunk of await models.chat("alone").bindTools([pay]).stream(ASK))
        seen = seen === undefined ? chunk : seen.concat(chunk);
    } catch (error) {
      return { reason: reasonOf(error), calls: seen?.tool_calls?.length ?? 0 };
    }
    if (seen) await execute(seen);
    return { reason: undefined, calls: seen?.tool_calls?.length ?? 0 };
  }

  it.each(cuts)("calls nothing when the stream is cut after %i of its frames, however", async (after) => {
    // The last frame is that of the counts: without it the turn was whole.
    const isWhole = after === frames - 1;
    const faults: readonly BedrockFault[] = [
      { kind: "end", after },
      { kind: "resetInStream", after },
      { kind: "badCrc", after },
      { kind: "exception", type: "modelStreamErrorException", after },
    ];
    for (const fault of faults) {
      if (isWhole && fault.kind !== "end") continue;
      bedrock.fault(() => fault);
      paid.length = 0;
      const { reason, calls } = await ask();
      expect({ fault, reason: reason === undefined, calls, paid: [...paid] }).toEqual({
        fault,
        reason: isWhole,
        calls: isWhole ? 1 : 0,
        paid: isWhole ? [100_000] : [],
      });
    }
  });

  it.each(["max_tokens", "end_turn", "stop_sequence", "model_context_window_exceeded"])(
    "calls nothing when the model stopped with %s",
    async (stopReason) => {
      bedrock.fault(() => undefined);
      bedrock.says(() => ({ ...TURN, stopReason }));
      paid.length = 0;
      const streamed = await ask();
      using models = routed(bedrock, { policies: { attempts: 1 } });
      const whole = await models.chat("alone").bindTools([pay]).invoke(ASK).then(execute, reasonOf);
      bedrock.says(() => TURN);
      const reason = /max|context/.test(stopReason) ? "max_tokens" : "malformed";
      expect([streamed, whole, paid]).toEqual([{ reason, calls: 0 }, reason, []]);
    },
  );
});
