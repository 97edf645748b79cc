/** The shipped agent: which tools a person releases, what the model is told, and what is paid. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { HumanMessage, ToolMessage } from "@langchain/core/messages";
import { describe, expect, it } from "vitest";
import { graph } from "../../graphs/tool-agent/graph.ts";
import { nextMessage } from "../../graphs/tool-agent/script.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import { eventually } from "../support/eventually.ts";
import { startService } from "../support/service.ts";

interface Message {
  readonly type: string;
  readonly content: string;
  readonly name?: string;
  readonly status?: string;
}

interface Review {
  readonly id: string;
  readonly digest: string;
  readonly action: string;
  readonly title: string;
  readonly args: { readonly order: string; readonly amount: number };
}

/** A ledger that has paid nothing yet. */
async function openBank() {
  const paid: { readonly key: string; readonly amount: number; readonly order: string }[] = [];
  let looks = 0;
  const server = createServer((request, response) => {
    if (request.method === "GET") {
      looks++;
      return void response.end(JSON.stringify({ refunds: [] }));
    }
    let text = "";
    request.on("data", (chunk) => (text += String(chunk)));
    request.on("end", () => {
      const refund = JSON.parse(text) as { readonly order: string; readonly amount: number; readonly currency: string };
      paid.push({ ...refund, key: String(request.headers["idempotency-key"]) });
      response.writeHead(201).end(JSON.stringify({ ...refund, reference: `R-${paid.length}`, paidAt: "2026-01-01" }));
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo; // it listens
  return {
    paid,
    looks: () => looks,
    url: `http://127.0.0.1:${port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

async function open() {
  await using opening = new AsyncDisposableStack();
  const bank = opening.use(await openBank());
  const passage = {
    documentId: "refunds.md",
    title: "Refunds",
    section: "",
    id: "1",
    score: 1,
    parts: {},
    labels: {},
    offsets: { start: 0, end: 1 },
  };
  const service = opening.use(
    await startService({
      graphs: createRegistry([registeredGraph("tool-agent", graph)]),
      services: { retriever: () => ({ search: async () => [{ ...passage, text: "Refunds take three days." }] }) },
    }),
  );
  const client = service.client("acme");
  const { thread_id: thread } = await client.threads.create();
  const opened = opening.move();
  const messages = async (): Promise<readonly Message[]> =>
    ((await client.threads.getState(thread)).values as { readonly messages: readonly Message[] }).messages;
  return {
    bank,
    messages,
    ask: (content: string) =>
      client.runs.wait(thread, "tool-agent", {
        input: { messages: [{ role: "user", content }] },
        config: { configurable: { ledger_url: bank.url } },
      }),
    async review(): Promise<Review> {
      const { items } = (await (await service.app.call("GET", "/v1/reviews")).json()) as {
        readonly items: readonly Review[];
      };
      const [review] = items;
      if (!review || items.length > 1) throw new Error(`${items.length} reviews are open`);
      return review;
    },
    decide: ({ id, digest }: Review, json: object) =>
      service.app.call("POST", `/v1/reviews/${id}/decisions`, { json: { digest, ...json } }),
    /** The last words of the agent, once it has them. */
    said: () =>
      eventually(async () => {
        const last = (await messages()).at(-1);
        return last?.type === "ai" && last.content !== "" ? last.content : undefined;
      }, "the agent to answer"),
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

describe("the tool agent", () => {
  it("answers a question with a tool that nobody has to release", async () => {
    await using agent = await open();
    await agent.ask("How long do refunds take?");
    expect(await agent.said()).toBe("Refunds says: Refunds take three days.");
  });

  it("stops at the tool that a person releases, keeps what the others have done, and pays once what was approved", async () => {
    await using agent = await open();
    await agent.ask("Please refund order A-1001, 45 EUR");
    const review = await agent.review();
    expect(review).toMatchObject({
      action: "issue-refund",
      title: "Refund EUR 45 on order A-1001",
      args: { order: "A-1001", amount: 45 },
    });
    expect([agent.bank.looks(), agent.bank.paid.length]).toEqual([1, 0]);
    const changed = { type: "edit", args: { ...review.args, amount: 40 }, comment: "a peg was there" };
    expect((await agent.decide(review, changed)).status).toBe(200);
    expect(await agent.said()).toBe("EUR 40 was refunded on order A-1001. The reference is R-1.");
    expect([agent.bank.looks(), agent.bank.paid.map(({ amount }) => amount)]).toEqual([1, [40]]);
    expect((await agent.messages()).map(({ type, name }) => name ?? type)).toEqual([
      "human",
      "ai",
      "list-refunds",
      "retrieve",
      "ai",
      "issue-refund",
      "ai",
    ]);
  });

  it("tells the model that a person said no, and pays nothing", async () => {
    await using agent = await open();
    await agent.ask("Please refund order A-1001, 45 EUR");
    await agent.decide(await agent.review(), { type: "reject", message: "too late", comment: "too late" });
    expect(await agent.said()).toBe("The refund was not made: too late");
    const answer = (await agent.messages()).find(({ name }) => name === "issue-refund");
    expect([answer?.status, agent.bank.paid.length]).toEqual(["error", 0]);
  });

  it("takes no change of a reviewer that the tool does not take", async () => {
    await using agent = await open();
    await agent.ask("Please refund order A-1001, 45 EUR");
    const review = await agent.review();
    const wrong = { type: "edit", args: { ...review.args, amount: -1 }, comment: "x" };
    expect((await agent.decide(review, wrong)).status).toBe(422);
  });
});

describe("its script", () => {
  it("asks for nothing it has been told already, and speaks last", () => {
    const asked = new HumanMessage("Refund order A-1001, 45 EUR");
    const first = nextMessage([asked]);
    expect(first.tool_calls?.map(({ name }) => name)).toEqual(["list-refunds", "retrieve"]);
    const looked =
      first.tool_calls?.map(({ id, name }) => new ToolMessage({ tool_call_id: id ?? "", name, content: "{}" })) ?? [];
    const second = nextMessage([asked, first, ...looked]);
    expect(second.tool_calls?.map(({ name }) => name)).toEqual(["issue-refund"]);
    const refused = new ToolMessage({ tool_call_id: "x", name: "issue-refund", content: "no", status: "error" });
    const last = nextMessage([asked, first, ...looked, second, refused]);
    expect([last.tool_calls, last.text]).toEqual([[], "The refund was not made: no"]);
  });
});
