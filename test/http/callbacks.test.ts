/** Callbacks over HTTP: the node hands a token out, another system answers with it, and the run goes on. */
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import type { Client } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import type { NodeConfig } from "../../src/graph/context.ts";
import { callback } from "../../src/graph/callback.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import { serviceEngines } from "../support/engines.ts";
import type { OpenTable } from "../support/engines.ts";
import { eventually } from "../support/eventually.ts";
import { TOPIC, createTopic } from "../support/sns-topic.ts";
import { startService } from "../support/service.ts";
import type { Service } from "../support/service.ts";

const State = Annotation.Root({
  ms: Annotation<number>(),
  log: Annotation<unknown[]>({ reducer: (a, b) => a.concat(b), default: () => [] }),
});
type S = typeof State.State;

const sent: string[] = [];
const Shipment = z.object({ parcel: z.string(), grams: z.number() });

const ship = new StateGraph(State)
  .addNode("ship", async ({ ms }: S, config: NodeConfig) => ({
    log: [
      await callback(config, {
        timeoutMs: ms,
        schema: Shipment,
        send: async (token) => void sent.push(token),
      }),
    ],
  }))
  .addEdge(START, "ship")
  .addEdge("ship", END)
  .compile();
const any = new StateGraph(State)
  .addNode("wait", async ({ ms }: S, config: NodeConfig) => ({
    log: [await callback(config, { timeoutMs: ms, send: async (token) => void sent.push(token) })],
  }))
  .addEdge(START, "wait")
  .addEdge("wait", END)
  .compile();

/** Hands its token out, and does not come to wait for the answer: it goes on sending, or fails. */
const hasty = new StateGraph(State)
  .addNode("hasten", async ({ ms }: S, config: NodeConfig) => ({
    log: [
      await callback(config, {
        timeoutMs: 60_000,
        send: async (token) => {
          sent.push(token);
          await new Promise((resolve) => setTimeout(resolve, ms));
          throw new Error("it could not be sent");
        },
      }),
    ],
  }))
  .addEdge(START, "hasten")
  .addEdge("hasten", END)
  .compile();

const topic = createTopic();
describe.each(serviceEngines())("on $name", (engine) => {
  let service: Service;
  let opened: OpenTable;
  let client: Client;

  beforeAll(async () => {
    opened = await engine.open();
    service = await startService({
      table: opened.table,
      graphs: createRegistry([
        registeredGraph("ship", ship),
        registeredGraph("any", any),
        registeredGraph("hasty", hasty),
      ]),
      sns: { signatures: "checked", certificates: topic.certificates },
    });
    client = service.client("acme");
  });
  afterAll(async () => {
    await service[Symbol.asyncDispose]();
    await opened[Symbol.asyncDispose]();
  });

  interface Waiting {
    readonly token: string;
    readonly thread: string;
    readonly run: string;
  }

  /** A run that waits for its callback. */
  async function waiting(graph: string, ms = 600_000): Promise<Waiting> {
    const { thread_id: thread } = await client.threads.create();
    const before = sent.length;
    const { run_id: run } = await client.runs.create(thread, graph, { input: { ms } });
    await eventually(async () => sent.length > before);
    await eventually(async () => {
      const { value } = (await service.deps.threads.get({ tenant: "acme" as never, threadId: thread as never })) ?? {};
      return value?.wakeAt !== undefined;
    });
    return { token: sent.at(-1) ?? "", thread, run };
  }

  const post = (token: string, json: unknown, headers: Record<string, string> = {}): Promise<Response> =>
    service.app.call("POST", `/v1/callbacks/${token}`, { json, as: "nobody", headers });
  const logOf = async ({ thread, run }: Waiting): Promise<unknown> =>
    ((await client.runs.join(thread, run)) as { readonly log: readonly unknown[] }).log;
  const BOX = { parcel: "p1", grams: 100 };

  describe("a callback", () => {
    it("says until when the run sleeps", async () => {
      const { thread, run } = await waiting("any");
      const { items } = (await (await service.app.call("GET", "/v1/waits?limit=1000")).json()) as {
        readonly items: readonly { readonly run_id: string; readonly due_at: string }[];
      };
      const due = items.find(({ run_id: id }) => id === run)?.due_at;
      expect(due).toBeDefined();
      expect(await client.runs.get(thread, run)).toMatchObject({ holdpoint: { sleep: { until: due } } });
      const timeline = await (await service.app.call("GET", `/v1/runs/${run}`)).json();
      expect(timeline).toMatchObject({ sleep: { until: due } });
    });

    it("releases the very run that waits, with what arrived, and needs no key", async () => {
      const asked = await waiting("ship");
      expect((await client.runs.get(asked.thread, asked.run)).status).toBe("pending");
      expect((await client.threads.get(asked.thread)).status).toBe("busy");
      const response = await post(asked.token, BOX);
      expect(response.status).toBe(200);
      expect(await response.json()).toMatchObject({ state: "accepted" });
      expect(await logOf(asked)).toEqual([{ kind: "arrived", result: BOX }]);
      expect((await client.runs.list(asked.thread)).map(({ run_id: id }) => id)).toEqual([asked.run]);
      // Executed again, its node is given the same token.
      expect(sent.filter((token) => token === asked.token)).toHaveLength(2);
    });

    it("is answered once: the same again is told the same, another 409, also while it is carried on", async () => {
      const asked = await waiting("ship");
      const first = await (await post(asked.token, BOX)).json();
      for (let n = 0; n < 3; n++) expect(await (await post(asked.token, BOX)).json()).toEqual(first);
      expect((await post(asked.token, { ...BOX, grams: 2 })).status).toBe(409);
      await logOf(asked);
      expect(await (await post(asked.token, BOX)).json()).toEqual(first);
      expect((await post(asked.token, { ...BOX, grams: 2 })).status).toBe(409);
    });

    it("takes one of many answers that come at once", async () => {
      const asked = await waiting("any");
      const answers = await Promise.all(Array.from({ length: 20 }, (_, n) => post(asked.token, { n })));
      const statuses = answers.map(({ status }) => status);
      expect(statuses.filter((status) => status === 200)).toHaveLength(1);
      expect(statuses.filter((status) => status === 409)).toHaveLength(19);
      const won = statuses.indexOf(200);
      expect(await logOf(asked)).toEqual([{ kind: "arrived", result: { n: won } }]);
    });

    it("refuses what does not fit its schema, says where, and waits on", async () => {
      const asked = await waiting("ship");
      const response = await post(asked.token, { parcel: "p1", grams: "many" });
      expect(response.status).toBe(422);
      expect(await response.json()).toMatchObject({ errors: [{ pointer: "/grams" }] });
      const whole = await post(asked.token, ["p1"]);
      expect([whole.status, await whole.json()]).toMatchObject([422, { errors: [{ pointer: "" }] }]);
      expect((await post(asked.token, BOX)).status).toBe(200);
      expect(await logOf(asked)).toEqual([{ kind: "arrived", result: BOX }]);
    });

    it("is given up at its time, and what comes later is told so", async () => {
      const asked = await waiting("any", 500);
      expect(await logOf(asked)).toEqual([{ kind: "timeout" }]);
      const response = await post(asked.token, {});
      expect(response.status).toBe(410);
      expect(JSON.stringify(await response.json())).toContain("given up");
    });

    it("of a deleted thread, and of a run that was cancelled, is 410", async () => {
      const asked = await waiting("any");
      await client.threads.delete(asked.thread);
      expect((await post(asked.token, {})).status).toBe(410);
      const other = await waiting("any");
      await client.runs.cancel(other.thread, other.run);
      expect((await post(other.token, {})).status).toBe(410);
    });

    it("of a thread that was deleted and made anew is 410, also while the new one is about to ask", async () => {
      const asked = await waiting("any");
      await client.threads.delete(asked.thread);
      await client.threads.create({ threadId: asked.thread });
      const before = sent.length;
      const { run_id: run } = await client.runs.create(asked.thread, "hasty", { input: { ms: 60_000 } });
      await eventually(() => sent.length > before, "the new token");
      const late = await post(asked.token, {});
      expect([late.status, await late.text()]).toEqual([410, expect.stringContaining("its thread was deleted")]);
      await client.runs.cancel(asked.thread, run, true);
    });

    it("of a run that was cancelled before it came to wait is 410, and of one that failed 503: it may be tried again", async () => {
      const { thread_id: thread } = await client.threads.create();
      const { run_id: run } = await client.runs.create(thread, "hasty", { input: { ms: 60_000 } });
      const before = sent.length;
      await eventually(() => sent.length > before, "the token");
      const token = sent.at(-1) ?? "";
      expect((await post(token, {})).status).toBe(503);
      await client.runs.cancel(thread, run, true);
      const late = await post(token, {});
      expect(late.status).toBe(410);
      expect(JSON.stringify(await late.json())).toContain("ended before it did");
      const { thread_id: other } = await client.threads.create();
      await client.runs.wait(other, "hasty", { input: { ms: 0 }, raiseError: false });
      expect((await post(sent.at(-1) ?? "", {})).status).toBe(503);
    });

    it("takes no more than 128 KB, and no token but its own", async () => {
      const asked = await waiting("any");
      expect((await post(asked.token, { text: "x".repeat(129 * 1024) })).status).toBe(413);
      const [version, said = "", signature = ""] = asked.token.split(".");
      const forged = Buffer.from(said, "base64url").toString().replace("acme", "globex");
      const tokens = [
        "c1",
        "nothing",
        `${version}.${said}.${signature.slice(1)}`,
        `${version}.${Buffer.from(forged).toString("base64url")}.${signature}`,
      ];
      for (const token of tokens) expect((await post(token, {})).status).toBe(404);
      expect((await post(asked.token, {})).status).toBe(200);
    });

    it("leaves its token in no log, whatever is answered", async () => {
      const asked = await waiting("any");
      expect((await post(asked.token, { text: "x".repeat(129 * 1024) })).status).toBe(413);
      expect((await post(asked.token, { taskToken: "another", output: "1" })).status).toBe(422);
      expect((await post(asked.token, 1)).status).toBe(200);
      expect((await post(asked.token, 2)).status).toBe(409);
      const lines = JSON.stringify(service.app.log.lines);
      expect(lines).toContain("/v1/callbacks/…");
      expect(lines).not.toContain(asked.token);
    });

    it("is not for people to decide, nor for a resume", async () => {
      const asked = await waiting("any");
      const waits = (await (await service.app.call("GET", "/v1/waits")).json()) as {
        readonly items: readonly { readonly id: string; readonly thread_id: string }[];
      };
      const id = waits.items.find(({ thread_id: thread }) => thread === asked.thread)?.id ?? "";
      const json = { type: "value", value: 1, digest: "" };
      expect((await service.app.call("POST", `/v1/reviews/${id}/decisions`, { json })).status).toBe(403);
      const resume = client.runs.create(asked.thread, "any", { command: { resume: 1 } });
      await expect(resume).rejects.toMatchObject({ status: 409 });
      const others = await service.app.call("GET", "/v1/waits", { as: "globex" });
      expect(await others.json()).toEqual({ items: [], next_cursor: null });
      expect((await post(asked.token, null)).status).toBe(200);
    });
  });

  describe("who answers a callback", () => {
    const SUBSCRIBE = "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription&Token=t1";
    const notice = (type: string, message: string) => ({
      Type: type,
      MessageId: "m1",
      TopicArn: TOPIC,
      Message: message,
      SubscribeURL: SUBSCRIBE,
    });

    it("may be a topic of SNS: its subscription is kept for an operator and never fetched, its message is the result", async () => {
      const asked = await waiting("ship");
      const headers = { "content-type": "text/plain; charset=UTF-8" };
      const subscribed = await post(asked.token, notice("SubscriptionConfirmation", "confirm"), headers);
      expect(await subscribed.json()).toMatchObject({ state: "kept" });
      const waits = (await (await service.app.call("GET", "/v1/waits")).json()) as {
        readonly items: readonly { readonly thread_id: string; readonly subscription: unknown }[];
      };
      expect(waits.items.find(({ thread_id: thread }) => thread === asked.thread)?.subscription).toMatchObject({
        topic_arn: TOPIC,
        subscribe_url: SUBSCRIBE,
      });
      expect((await post(asked.token, notice("Notification", JSON.stringify(BOX)), headers)).status).toBe(200);
      expect(await logOf(asked)).toEqual([{ kind: "arrived", result: BOX }]);
    });

    it.each([
      { SubscribeURL: "http://169.254.169.254/confirm" },
      { SubscribeURL: "https://sns.eu-central-1.amazonaws.com.example.com/" },
      { SubscribeURL: "https://sns.us-east-1.amazonaws.com/?Action=ConfirmSubscription" },
      { SubscribeURL: "https://example.com@sns.eu-central-1.amazonaws.com/" },
      { SubscribeURL: "https://sns.eu-central-1.amazonaws.com:8443/" },
      { SubscribeURL: "http://sns.eu-central-1.amazonaws.com/" },
      { TopicArn: "arn:aws:sqs:eu-central-1:123456789012:parcels" },
      { TopicArn: "parcels" },
    ])("is shown to no operator as a topic with %j, which is refused", async (other) => {
      const asked = await waiting("any");
      const headers = { "content-type": "text/plain; charset=UTF-8" };
      const json = { ...notice("SubscriptionConfirmation", "confirm"), ...other };
      expect((await post(asked.token, json, headers)).status).toBe(422);
      const waits = await (await service.app.call("GET", "/v1/waits?limit=1000")).text();
      expect(waits).toContain(asked.thread);
      expect(waits).not.toContain(Object.values(other)[0]);
      await client.runs.cancel(asked.thread, asked.run);
    });

    it("is a topic only with a signature that counts, where its message has one: otherwise the callback waits on", async () => {
      const asked = await waiting("ship");
      const headers = { "content-type": "text/plain" };
      const { SubscribeURL: _, ...message } = notice("Notification", JSON.stringify(BOX));
      const signed = topic.signed(message);
      const forged = await post(asked.token, { ...signed, Message: JSON.stringify({ ...BOX, grams: 1 }) }, headers);
      expect([forged.status, await forged.text()]).toEqual([403, expect.stringContaining("Amazon SNS")]);
      const elsewhere = await post(asked.token, { ...signed, SigningCertURL: "http://[::1]/" }, headers);
      expect(elsewhere.status).toBe(403);
      expect((await post("no-such-token", signed, headers)).status).toBe(404);
      expect((await post(asked.token, signed, headers)).status).toBe(200);
      expect(await logOf(asked)).toEqual([{ kind: "arrived", result: BOX }]);
    });

    it("may be a state machine of Step Functions, which passes its task token on", async () => {
      const done = await waiting("ship");
      expect((await post(done.token, { taskToken: "another", output: JSON.stringify(BOX) })).status).toBe(422);
      expect((await post(done.token, { taskToken: done.token, output: JSON.stringify(BOX) })).status).toBe(200);
      expect(await logOf(done)).toEqual([{ kind: "arrived", result: BOX }]);
      const failed = await waiting("ship");
      const json = { taskToken: failed.token, error: "NoStock", cause: "all sold" };
      expect((await post(failed.token, json)).status).toBe(200);
      expect(await logOf(failed)).toEqual([{ kind: "failed", error: "NoStock", cause: "all sold" }]);
    });

    it("may be anybody who sends JSON, or nothing", async () => {
      const asked = await waiting("any");
      const response = await service.app.call("POST", `/v1/callbacks/${asked.token}`, { as: "nobody" });
      expect(response.status).toBe(200);
      expect(await logOf(asked)).toEqual([{ kind: "arrived", result: null }]);
    });
  });
});
