/** The bodies that docs/api.md and docs/reviews.md show, sent as they stand there. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { bodyOf, sharedDesk } from "../support/review-desk.ts";

const desk = sharedDesk();

/** Blocks of JSON of a page, those that show what is answered among them. */
const blocksOf = (page: string): readonly string[] =>
  [...readFileSync(join(import.meta.dirname, "../../docs", page), "utf8").matchAll(/^```json\n(.*?)^```/gms)].map(
    ([, text = ""]) => text.trim(),
  );

const decisions = (blocksOf("api.md").find((text) => text.startsWith('{ "type": "approve"')) ?? "").split("\n");

it("has an approval, an edit and a rejection", () => {
  expect(decisions.map((line) => (JSON.parse(line) as { readonly type: string }).type)).toEqual([
    "approve",
    "edit",
    "reject",
  ]);
});

it.each(decisions)("%s decides a review", async (line) => {
  const review = await desk.raise({ args: { order: "A-1001", amount: 200 } });
  const { digest: _, ...answer } = JSON.parse(line) as Readonly<Record<string, unknown>>;
  await bodyOf(await desk.decide("ann", review, answer));
  const { message = answer["comment"], args } = answer;
  const [log = ""] = await desk.logOf(review);
  expect(JSON.parse(log)).toMatchObject({ type: answer["type"], ...(args === undefined ? {} : { args }) });
  expect(JSON.stringify(await desk.get(review.id))).toContain(String(message));
});

it("the policy is taken as it stands, and can be tried", async () => {
  const policy = JSON.parse(blocksOf("reviews.md").find((text) => text.includes('"max_risk"')) ?? "") as object;
  await bodyOf(await desk.call("sam", "PUT", "/v1/policies/small-refunds", { json: policy }));
  const answer = await desk.call("sam", "POST", "/v1/policies/dry-run", { json: { policy, last: 10 } });
  expect(await bodyOf<{ readonly agreements: number }>(answer)).toMatchObject({ agreements: 0 });
});
