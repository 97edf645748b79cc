/** The examples of docs/reviews.md are the files that are executed here. */
import { readFile } from "node:fs/promises";
import { expect, it } from "vitest";
import { keyAuthenticator } from "../../src/http/auth.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import { createTestKeys } from "../support/http.ts";
import { startService } from "../support/service.ts";
import { Client } from "@langchain/langgraph-sdk";
import { inbox } from "./guides/inbox.ts";
import { refunds } from "./guides/refunds.ts";

const textOf = (path: string): Promise<string> => readFile(new URL(path, import.meta.url), "utf8");

it.each(["./guides/refunds.ts", "./guides/inbox.ts"])("shows %s as it is", async (file) => {
  expect(await textOf("../../docs/reviews.md")).toContain(`\`\`\`ts\n${await textOf(file)}\`\`\`\n`);
});

const PEOPLE = ["sam", "ann", "bob"] as const;
const EDIT = { type: "edit", args: { order: "A-1", amount: 80 }, comment: "without shipping" };

/** The service with the graph of the guide, and one refund that waits. */
async function desk() {
  const { apiKeys, texts } = createTestKeys(
    PEOPLE.map((subject) => ({ tenant: "acme", subject, roles: ["admin"], groups: ["payments"] })),
  );
  const [sam = "", ann = "", bob = ""] = texts;
  const paid: object[] = [];
  const graph = refunds(async (_token, refund) => `receipt ${paid.push(refund)}`);
  const graphs = createRegistry([registeredGraph("refunds", graph)], []);
  const service = await startService({ graphs, app: { auth: keyAuthenticator(apiKeys) } });
  const { url } = service.app;
  const client = new Client({ apiUrl: url, apiKey: sam });
  const { thread_id: thread } = await client.threads.create();
  await client.runs.wait(thread, "refunds", { input: { asked: { order: "A-1", amount: 100 } } });
  const inboxes = { sam: inbox(url, sam), ann: inbox(url, ann), bob: inbox(url, bob) };
  return { service, client, thread, paid, ...inboxes };
}

it("pays once what two people agree on, corrected as they say", async () => {
  const { service, client, thread, paid, sam, ann, bob } = await desk();
  await using _ = service;
  const [review] = await ann.waiting("group=payments&risk=high&tag=tents");
  if (!review) throw new Error("nothing waits");
  await expect(sam.decide(review, EDIT, "sam")).rejects.toThrow(/403/);
  await ann.claim(review);
  await expect(bob.decide(review, EDIT, "bob")).rejects.toThrow(/409/);
  expect((await ann.decide(review, EDIT, "ann")).state).toBe("pending");
  const tooMuch = { ...EDIT, args: { order: "A-1", amount: 501 } };
  await expect(bob.decide(review, tooMuch, "bob-1")).rejects.toThrow(/422.*\/args\/amount/s);
  await bob.decide(review, EDIT, "bob");
  await bob.decide(review, EDIT, "bob");
  const runs = await client.runs.list(thread);
  await Promise.all(runs.map(({ run_id: run }) => client.runs.join(thread, run)));
  expect((await client.threads.getState(thread)).values).toMatchObject({ receipt: "receipt 1" });
  expect(paid).toEqual([{ order: "A-1", amount: 80 }]);
});
