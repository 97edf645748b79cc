/** The scene of the tool node and its retry edge: the ledger is away for longer than the desk waits, and a person is asked. */
import { STEP_MS, orderNumber, within } from "./steps.ts";
import type { Story } from "./story.ts";

const ATTEMPTS = 3;

/** @throws CheckFailed, or Error when a step takes too long */
export async function away({ narrator, cast, desk, firstOrder }: Story): Promise<void> {
  narrator.step("The ledger is away");
  narrator.say(
    "Before it proposes a refund, the desk has a tool node ask the ledger what was paid on the order before. A retry edge waits and asks again, on durable timers; at last it ends at a person.",
  );
  const order = orderNumber(firstOrder + 3);
  const wish = `Refund order ${order}, 60 EUR, because the stove leaks.`;
  narrator.quote("customer", wish);
  const asked = cast.gate.close();
  const threadId = await desk.newThread();
  const values = await within(STEP_MS, "the desk to give up", () => desk.ask(threadId, wish));
  narrator.check(`the desk has asked the ledger ${ATTEMPTS} times, and then stopped`, asked() === ATTEMPTS, {
    asked: asked(),
    values,
  });
  const review = (await desk.reviews()).find((one) => one.thread_id === threadId);
  if (review) narrator.quote("review", `${review.title}\n${review.description}`);
  narrator.check("a person is asked, and nothing is paid", review?.title === "The ledger does not answer", review);
  if (!review) throw new Error("there is no review");
  cast.gate.open();
  narrator.say("The ledger is back, and the person has it asked again.");
  const { body } = await desk.decide(review.id, { type: "approve", digest: review.digest });
  const after = await within(STEP_MS, "the refund", () =>
    desk.outcome(threadId, body.decision?.continuation_run_id ?? ""),
  );
  narrator.quote("desk", after.answer ?? "");
  const payments = await desk.payments(order);
  narrator.check(
    "the refund is paid, once",
    after.outcome === "refunded" && payments.length === 1 && payments[0]?.calls === 1,
    { after, payments },
  );
  const steps = (await desk.client.threads.getHistory(threadId, { limit: 100 })).flatMap(({ next }) => next);
  narrator.check(
    "every attempt of the tool node is a step that is remembered",
    steps.filter((step) => step === "check").length === ATTEMPTS + 1,
    steps,
  );
}
