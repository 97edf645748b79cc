/** Reviews over HTTP, from the graph that raises one to the run that carries its decision on. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Client } from "@langchain/langgraph-sdk";
import { createTestGraphs } from "../support/graphs.ts";
import { startService } from "../support/service.ts";
import type { Service } from "../support/service.ts";

interface Review {
  readonly id: string;
  readonly thread_id: string;
  readonly state: string;
  readonly digest: string;
  readonly decision: { readonly type: string; readonly by: string; readonly continuation_run_id: string } | null;
  readonly [field: string]: unknown;
}

let service: Service;
let client: Client;

beforeAll(async () => {
  service = await startService({ graphs: createTestGraphs().registry });
  client = service.client("acme");
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
});

async function list(query: string): Promise<Review[]> {
  const items: Review[] = [];
  let cursor = "";
  for (;;) {
    const page = await service.app.call("GET", `/v1/reviews?${query}${cursor}`);
    expect(page.status).toBe(200);
    const body = (await page.json()) as { readonly items: Review[]; readonly next_cursor: string | null };
    items.push(...body.items);
    if (body.next_cursor === null) return items;
    cursor = `&cursor=${body.next_cursor}`;
  }
}

async function raise(amount = 100): Promise<Review> {
  const { thread_id: thread } = await client.threads.create();
  await client.runs.wait(thread, "refund", { input: { text: String(amount) } });
  const found = (await list("state=open&limit=2")).find((review) => review.thread_id === thread);
  if (!found) throw new Error("no review was raised");
  return found;
}

const decide = (review: Review, json: object, headers: Record<string, string> = {}): Promise<Response> =>
  service.app.call("POST", `/v1/reviews/${review.id}/decisions`, { json, headers });

describe("a review", () => {
  it("shows what it is about and what it was asked with", async () => {
    const review = await raise(250);
    expect(review).toMatchObject({
      graph_id: "refund",
      node: "propose",
      state: "pending",
      title: "Refund",
      action: "refund",
      args: { amount: 250 },
      groups: [],
      decision: null,
    });
    const one = await service.app.call("GET", `/v1/reviews/${review.id}`);
    expect(await one.json()).toEqual(review);
  });

  it.each([
    [{ type: "approve" }, ["approve"]],
    [{ type: "edit", args: { amount: 7 }, comment: "less" }, ['edit {"amount":7}']],
    [{ type: "reject", message: "no", comment: "too much" }, ["reject"]],
  ])("takes %j, and its run goes on with it", async (answer, log) => {
    const review = await raise();
    const response = await decide(review, { ...answer, digest: review.digest });
    expect(response.status).toBe(200);
    const decided = (await response.json()) as Review;
    expect(decided).toMatchObject({ id: review.id, decision: { type: answer.type, by: "alice" } });
    const values = await client.runs.join(review.thread_id, decided.decision?.continuation_run_id ?? "");
    expect(values).toMatchObject({ log });
    expect((await list("state=open")).map(({ id }) => id)).not.toContain(review.id);
    expect((await list("state=done&limit=1")).map(({ id }) => id)).toContain(review.id);
  });

  it("answers the same decision with the same words, and another with 409", async () => {
    const review = await raise();
    const approve = { type: "approve", digest: review.digest };
    const headers = { "idempotency-key": "k1" };
    const first = await decide(review, approve, headers);
    const again = await decide(review, approve, headers);
    expect([first.status, again.status]).toEqual([200, 200]);
    const [one, two] = [(await first.json()) as Review, (await again.json()) as Review];
    expect(two.decision).toEqual(one.decision);
    const other = await decide(review, { type: "reject", comment: "no", digest: review.digest });
    expect(other.status).toBe(409);
    expect(other.headers.get("content-type")).toContain("application/problem+json");
    expect(await other.json()).toMatchObject({ title: "Conflict", status: 409 });
  });

  it("is won by one of many", async () => {
    const review = await raise();
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => decide(review, { type: "approve", digest: review.digest })),
    );
    expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([
      200,
      ...Array<number>(19).fill(409),
    ]);
  });
});

describe("a decision that cannot be taken", () => {
  const cases: readonly [string, object, number][] = [
    ["without a digest", { type: "approve" }, 428],
    ["with another digest", { type: "approve", digest: "0".repeat(64) }, 412],
    ["without a type", { digest: "DIGEST" }, 422],
    ["of an unknown type", { type: "maybe", digest: "DIGEST" }, 422],
    ["an edit without arguments", { type: "edit", digest: "DIGEST", comment: "c" }, 422],
    ["a response without a message", { type: "response", digest: "DIGEST" }, 422],
  ];
  it.each(cases)("%s", async (_name, json, status) => {
    const review = await raise();
    const body = JSON.parse(JSON.stringify(json).replace("DIGEST", review.digest)) as object;
    const response = await decide(review, body);
    expect(response.status).toBe(status);
    expect(await response.json()).toMatchObject({ status, detail: expect.stringMatching(/./) as string });
    expect(await (await service.app.call("GET", `/v1/reviews/${review.id}`)).json()).toMatchObject({
      state: "pending",
    });
  });

  it("about a review that does not exist", async () => {
    for (const id of ["nothing", "0190c3a0-0000-7000-8000-000000000001.00", "..%2f", "a".repeat(300)]) {
      const response = await service.app.call("POST", `/v1/reviews/${id}/decisions`, {
        json: { type: "approve", digest: "d" },
      });
      expect([404, 422]).toContain(response.status);
    }
  });
});

it("a review whose thread was deleted is gone with it", async () => {
  const review = await raise();
  await client.threads.delete(review.thread_id);
  expect((await list("state=open")).map(({ id }) => id)).not.toContain(review.id);
  expect((await service.app.call("GET", `/v1/reviews/${review.id}`)).status).toBe(404);
  expect((await decide(review, { type: "approve", digest: review.digest })).status).toBe(404);
});
