/**
 * What our model layer costs over the bare `@langchain/aws` client, both before the same fake of Bedrock in this process:
 * the median of what a call takes longer than the other side's right beside it, so that whatever slows the machine slows both.
 */
import { parseArgs } from "node:util";
import { BedrockRuntimeClient } from "@aws-sdk/client-bedrock-runtime";
import { ChatBedrockConverse } from "@langchain/aws";
import type { BaseChatModel } from "@langchain/core/language_models/chat_models";
import { HumanMessage } from "@langchain/core/messages";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { startFakeBedrock } from "../test/support/fake-bedrock.ts";
import { CLAUDE, routed } from "../test/support/routed-models.ts";
import { percentile } from "./retrieval-metrics.ts";

const HELP = "Usage: models [--calls 300]";
const WARM_UP = 50;
const ASK = [new HumanMessage("Hello?")];
const WORDS = Array.from({ length: 40 }, (_, n) => `word${n} `);

/** Milliseconds of one call. */
type Measure = (model: BaseChatModel) => Promise<number>;

const whole: Measure = async (model) => {
  const started = performance.now();
  await model.invoke(ASK);
  return performance.now() - started;
};
const streamed: Measure = async (model) => {
  const started = performance.now();
  for await (const _ of await model.stream(ASK));
  return performance.now() - started;
};
const firstToken: Measure = async (model) => {
  const started = performance.now();
  let ms = 0;
  for await (const { text } of await model.stream(ASK)) if (ms === 0 && text !== "") ms = performance.now() - started;
  return ms;
};

const FIGURES: readonly (readonly [string, Measure, number])[] = [
  ["whole answer", whole, 2],
  ["streamed answer", streamed, 2],
  ["first token", firstToken, 3],
];

/** `--calls`: of each figure and each side. Exit code 1 when a bar is missed. */
export async function main(argv: readonly string[]): Promise<number> {
  const { values } = parseArgs({
    args: [...argv],
    options: { calls: { type: "string", default: "300" }, help: { type: "boolean" } },
  });
  if (values.help === true) {
    console.log(HELP);
    return 0;
  }
  const calls = Number(values.calls);
  await using bedrock = await startFakeBedrock();
  bedrock.says(() => ({ text: WORDS }));
  using client = disposable(
    new BedrockRuntimeClient({
      region: bedrock.region,
      endpoint: bedrock.endpoint,
      credentials: { accessKeyId: "local", secretAccessKey: "local" },
      maxAttempts: 1,
      requestHandler: new NodeHttpHandler(),
    }),
  );
  const bare = new ChatBedrockConverse({
    model: CLAUDE,
    region: bedrock.region,
    client: client.client,
    maxTokens: 1000,
  });
  using models = routed(bedrock);
  const ours = models.chat("alone");
  let missed = 0;
  for (const [name, measure, barMs] of FIGURES) {
    const pairs = await inPairs({ bare, ours, measure, calls });
    const p50 = (figure: (pair: Pair) => number): number => percentile(pairs.map(figure), 0.5);
    const over = p50((pair) => pair.ours - pair.bare);
    if (over > barMs) missed += 1;
    const sides = `bare ${p50((pair) => pair.bare).toFixed(2)} ms  ours ${p50((pair) => pair.ours).toFixed(2)} ms`;
    console.log(`${name.padEnd(16)} ${sides}  over it ${over.toFixed(2)} ms (bar: ${barMs})`);
  }
  return missed === 0 ? 0 : 1;
}

interface Pair {
  readonly bare: number;
  readonly ours: number;
}

interface Pairing {
  readonly bare: BaseChatModel;
  readonly ours: BaseChatModel;
  readonly measure: Measure;
  readonly calls: number;
}

/** One call of each side right after the other; who goes first takes turns. */
async function inPairs({ bare, ours, measure, calls }: Pairing): Promise<readonly Pair[]> {
  const pairs: Pair[] = [];
  for (let call = -WARM_UP; call < calls; call++) {
    const first = await measure(call % 2 === 0 ? bare : ours);
    const second = await measure(call % 2 === 0 ? ours : bare);
    const pair = call % 2 === 0 ? { bare: first, ours: second } : { bare: second, ours: first };
    if (call >= 0) pairs.push(pair);
  }
  return pairs;
}

const disposable = (client: BedrockRuntimeClient) => ({ client, [Symbol.dispose]: () => client.destroy() });
