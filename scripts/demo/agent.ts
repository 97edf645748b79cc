/** The scene of the second graph: an agent whose tools a person releases. */
import { STEP_MS, orderNumber, within } from "./steps.ts";
import type { Story } from "./story.ts";

/** @throws CheckFailed, or Error when a step takes too long */
export async function agent({
  narrator,
  desk,
  firstOrder,
}: Pick<Story, "narrator" | "desk" | "firstOrder">): Promise<void> {
  narrator.step("An agent with tools");
  narrator.say(
    "Another graph, tool-agent: a model that calls tools. Looking is free; paying is for a person to release.",
  );
  const order = orderNumber(firstOrder + 4);
  const wish = `Refund order ${order}, 30 EUR, because the mug came broken.`;
  narrator.quote("customer", wish);
  const threadId = await desk.newThread();
  await within(STEP_MS, "the run to end", () => desk.tellAgent(threadId, wish));
  const first = await desk.agentSaid(threadId);
  const looked = first.flatMap(({ type, name }) => (type === "tool" ? [name ?? ""] : []));
  const review = (await desk.reviews()).find((one) => one.thread_id === threadId);
  narrator.check(
    "it has looked things up by itself, and waits for a person before it pays",
    looked.length === 2 && review?.args.order === order && (await desk.payments(order)).length === 0,
    { looked, review },
  );
  if (!review) throw new Error("there is no review");
  const { body } = await desk.decide(review.id, { type: "approve", digest: review.digest });
  await within(STEP_MS, "the payment", () => desk.outcome(threadId, body.decision?.continuation_run_id ?? ""));
  const all = await desk.agentSaid(threadId);
  narrator.quote("agent", all.at(-1)?.content ?? "");
  const payments = await desk.payments(order);
  narrator.check("it pays once, and tells the customer", payments.length === 1 && payments[0]?.calls === 1, payments);
  const tools = all.flatMap(({ type, name }) => (type === "tool" ? [name ?? ""] : []));
  narrator.check(
    "no tool was called again because another one waited for a person",
    tools.join() === [...looked, "issue-refund"].join(),
    tools,
  );
}
