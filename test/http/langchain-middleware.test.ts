/** LangChain's own agent with its humanInTheLoopMiddleware, unchanged, from the question to what its tool has done. */
import { BaseChatModel } from "@langchain/core/language_models/chat_models";
import { AIMessage, ToolMessage } from "@langchain/core/messages";
import type { BaseMessage } from "@langchain/core/messages";
import { createAgent, humanInTheLoopMiddleware, tool } from "langchain";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { keyAuthenticator } from "../../src/http/auth.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import type { CompiledGraph } from "../../src/langgraph/registry.ts";
import { createTestKeys } from "../support/http.ts";
import { startService } from "../support/service.ts";
import type { Service } from "../support/service.ts";
import { bodyOf } from "../support/review-desk.ts";
import type { Page, Review } from "../support/review-desk.ts";

/** Asks for two tools at once, and then says what came of it. */
class ScriptedModel extends BaseChatModel {
  constructor() {
    super({});
  }

  _llmType(): string {
    return "scripted";
  }

  override bindTools(): this {
    return this;
  }

  async _generate(messages: readonly BaseMessage[]) {
    const answers = messages.filter((message) => ToolMessage.isInstance(message));
    const message =
      answers.length === 0
        ? new AIMessage({ content: "", tool_calls: CALLS.map((call) => ({ ...call, type: "tool_call" as const })) })
        : new AIMessage(answers.map(({ name, text }) => `${name}: ${text}`).join("; "));
    return { generations: [{ text: message.text, message }] };
  }
}

const CALLS = [
  { name: "look", args: { order: "A-1" }, id: "call-1" },
  { name: "refund", args: { order: "A-1", amount: 100 }, id: "call-2" },
] as const;

const paid: object[] = [];
const look = tool(() => "sold for 100", {
  name: "look",
  description: "Looks an order up.",
  schema: z.object({ order: z.string() }),
});
const refund = tool(
  (args: { readonly order: string; readonly amount: number }) => {
    paid.push(args);
    return `refunded ${args.amount}`;
  },
  { name: "refund", description: "Pays.", schema: z.object({ order: z.string(), amount: z.number() }) },
);

/** Its types are not made for `exactOptionalPropertyTypes`. */
const askingFirst = humanInTheLoopMiddleware as unknown as (options: object) => never;

const agent = createAgent({
  model: new ScriptedModel(),
  tools: [look, refund],
  middleware: [
    askingFirst({
      interruptOn: { refund: { allowedDecisions: ["approve", "edit", "reject"], description: "Pay it?" }, look: false },
    }),
  ],
});

let service: Service;
const { apiKeys, texts } = createTestKeys(
  ["sam", "ann"].map((subject) => ({ tenant: "acme", subject, roles: ["admin"], groups: [] })),
);
const [sam = "", ann = ""] = texts;

beforeAll(async () => {
  const graph = agent.graph as unknown as CompiledGraph; // a graph like any other, with types of its own
  const graphs = createRegistry([registeredGraph("agent", graph)], []);
  service = await startService({ graphs, app: { auth: keyAuthenticator(apiKeys) } });
});
afterAll(() => service[Symbol.asyncDispose]());

const call = (method: string, path: string, json?: object, key = sam): Promise<Response> =>
  service.app.call(method, path, { headers: { "x-api-key": key }, ...(json === undefined ? {} : { json }) });

async function raised(): Promise<Review> {
  const { thread_id: thread } = await bodyOf<{ readonly thread_id: string }>(await call("POST", "/threads", {}));
  const input = { messages: [{ role: "user", content: "refund A-1" }] };
  const run = await call("POST", `/threads/${thread}/runs/wait`, { assistant_id: "agent", input });
  expect(run.status).toBe(200);
  const { items } = await bodyOf<Page>(await call("GET", "/v1/reviews?limit=1000"));
  const found = items.find((item) => item.thread_id === thread);
  if (!found) throw new Error("nothing is asked");
  return found;
}

const decide = ({ id, digest }: Review, answer: object): Promise<Response> =>
  call("POST", `/v1/reviews/${id}/decisions`, { digest, comment: "seen", ...answer }, ann);

/** What the agent says at last, once everything on the thread has ended. */
async function lastOf({ thread_id: thread }: Review): Promise<string> {
  const runs = await bodyOf<readonly { readonly run_id: string }[]>(await call("GET", `/threads/${thread}/runs`));
  await Promise.all(runs.map(({ run_id: run }) => call("GET", `/threads/${thread}/runs/${run}/join`)));
  const { values, next } = await bodyOf<{
    readonly values: { readonly messages: readonly { readonly content: string }[] };
    readonly next: readonly string[];
  }>(await call("GET", `/threads/${thread}/state`));
  expect(next).toEqual([]);
  return values.messages.at(-1)?.content ?? "";
}

describe("an agent of LangChain with its humanInTheLoopMiddleware", () => {
  it("shows the one call that a person releases, and pays once what was approved", async () => {
    const review = await raised();
    expect(review).toMatchObject({
      origin: "middleware",
      graph_id: "agent",
      actions: [
        {
          name: "refund",
          args: { order: "A-1", amount: 100 },
          description: "Pay it?",
          allowed_decisions: ["approve", "edit", "reject"],
        },
      ],
    });
    const before = paid.length;
    expect((await decide(review, { type: "approve" })).status).toBe(200);
    expect((await decide(review, { type: "reject" })).status).toBe(409);
    expect(await lastOf(review)).toBe("look: sold for 100; refund: refunded 100");
    expect(paid.slice(before)).toEqual([{ order: "A-1", amount: 100 }]);
  });

  it("pays what a reviewer made of it", async () => {
    const review = await raised();
    expect((await decide(review, { type: "edit", args: { order: "A-1", amount: 80 } })).status).toBe(200);
    expect(await lastOf(review)).toContain("refunded 80");
    expect(paid.at(-1)).toEqual({ order: "A-1", amount: 80 });
  });

  it("pays nothing that was rejected, and is told why", async () => {
    const review = await raised();
    const before = paid.length;
    expect((await decide(review, { type: "reject", message: "ask for the receipt first" })).status).toBe(200);
    expect(await lastOf(review)).toContain("ask for the receipt first");
    expect(paid.length).toBe(before);
  });

  it.each([
    [{ decisions: [{ type: "approve" }] }, "refunded 100"],
    [
      { decisions: [{ type: "edit", edited_action: { name: "refund", args: { order: "A-1", amount: 7 } } }] },
      "refunded 7",
    ],
    [[{ type: "ignore", args: null }], "refund: "],
  ])("is answered by an approval interface with %j", async (resume, said) => {
    const review = await raised();
    const body = { assistant_id: "agent", command: { resume } };
    expect((await call("POST", `/threads/${review.thread_id}/runs/wait`, body)).status).toBe(200);
    expect(await lastOf(review)).toContain(said);
  });

  it("never hears of what would fail its task for good, and goes on with the answer after it", async () => {
    const review = await raised();
    const wrong = [
      { decisions: [{ type: "approve" }, { type: "approve" }] },
      { decisions: [{ type: "edit", editedAction: { name: "pay", args: {} } }] },
      { decisions: [{ type: "respond", message: "hm" }] },
    ];
    for (const resume of wrong) {
      const body = { assistant_id: "agent", command: { resume } };
      expect((await call("POST", `/threads/${review.thread_id}/runs`, body)).status).toBe(422);
    }
    expect((await decide(review, { type: "approve" })).status).toBe(200);
    expect(await lastOf(review)).toContain("refunded 100");
  });
});
