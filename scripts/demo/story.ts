/** The story, one step after the other. Every claim that it makes is checked; a claim that fails ends it. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { agent } from "./agent.ts";
import { away } from "./away.ts";
import type { Cast } from "./cast.ts";
import type { Citation, Desk, Review } from "./desk.ts";
import type { Narrator } from "./narrator.ts";
import { STEP_MS, orderNumber, within } from "./steps.ts";

export interface Story {
  readonly narrator: Narrator;
  readonly cast: Cast;
  readonly desk: Desk;
  readonly documents: string;
  /** Asked of the documents in the first scene; undefined for a folder about which nothing is known. */
  readonly question: string | undefined;
  /** Number of the first order, so that a story told twice on one ledger does not meet its own refunds. */
  readonly firstOrder: number;
}

const OFF_TOPIC = "Who won the football world cup in 2018?";

/** Tells it all. @throws CheckFailed, or Error when a step takes too long */
export async function tell(story: Story): Promise<void> {
  await ingestion(story);
  await citedAnswer(story);
  await honestRefusal(story);
  await smallRefund(story);
  const held = await largeRefund(story);
  await killedWorker(story, held);
  await approval(story, held);
  await decidedTwice(story, held);
  await ledgerOf(story, held);
  await history(story, held);
  await away(story);
  await agent(story);
}

/** A refund that waits for a person. */
interface Held {
  readonly threadId: string;
  readonly order: string;
  readonly review: Review;
}

async function ingestion({ narrator, cast, documents }: Story): Promise<void> {
  narrator.step("The documents");
  narrator.say(`The worker reads the folder ${documents} and builds a search index.`);
  const read = await within(600_000, "the documents to be ingested", () =>
    cast.ingested(({ documents: done, total, passages }) =>
      narrator.progress(`${done} of ${total} documents, ${passages} passages`),
    ),
  );
  narrator.check(`all ${read.total} documents are searchable`, read.total > 0 && read.documents === read.total, read);
}

async function citedAnswer({ narrator, desk, documents, question }: Story): Promise<void> {
  narrator.step("A question");
  const asked = question ?? (await aboutTheFirstDocument(documents));
  narrator.quote("customer", asked);
  const threadId = await desk.newThread();
  const values = await within(STEP_MS, "an answer", () => desk.ask(threadId, asked));
  narrator.quote("desk", values.answer ?? "");
  const citations = values.citations ?? [];
  const trueQuotes = await Promise.all(citations.map((citation) => isInDocument(documents, citation)));
  if (question === undefined && values.outcome === "abstained") {
    narrator.say("The offline model found no sentence in these documents that answers it, and says so.");
    return;
  }
  narrator.check(
    "the question is answered, and the answer cites its source",
    values.outcome === "answered" && citations.length > 0,
    values,
  );
  narrator.check(
    "what it quotes stands word for word in the document that it names",
    trueQuotes.every(Boolean),
    citations,
  );
}

async function honestRefusal({ narrator, desk }: Story): Promise<void> {
  narrator.step("A question that the documents do not answer");
  narrator.quote("customer", OFF_TOPIC);
  const threadId = await desk.newThread();
  const values = await within(STEP_MS, "an answer", () => desk.ask(threadId, OFF_TOPIC));
  narrator.quote("desk", values.answer ?? "");
  narrator.check(
    "it says that it does not know, and cites nothing",
    values.outcome === "abstained" && (values.citations ?? []).length === 0,
    values,
  );
}

async function smallRefund({ narrator, desk, firstOrder }: Story): Promise<void> {
  narrator.step("A small refund");
  const order = orderNumber(firstOrder);
  const wish = `Refund order ${order}, 45 EUR, because the tent pegs were missing.`;
  narrator.quote("customer", wish);
  const threadId = await desk.newThread();
  const values = await within(STEP_MS, "the refund", () => desk.ask(threadId, wish));
  narrator.quote("desk", values.answer ?? "");
  const payments = await desk.payments(order);
  narrator.check(
    "up to EUR 100 nobody has to approve: the ledger has paid it, once",
    payments.length === 1 && payments[0]?.amount === 45,
    payments,
  );
}

async function largeRefund({ narrator, desk, firstOrder }: Story): Promise<Held> {
  narrator.step("A refund above the limit");
  const order = orderNumber(firstOrder + 1);
  const wish = `Refund order ${order}, 249.90 EUR, because the tent arrived torn.`;
  narrator.quote("customer", wish);
  const threadId = await desk.newThread();
  const values = await within(STEP_MS, "the run to end", () => desk.ask(threadId, wish));
  narrator.say(
    "The run ends at the review, and the worker is free. GET /v1/reviews now shows what waits for a person:",
  );
  const review = (await desk.reviews()).find((one) => one.thread_id === threadId);
  if (review) narrator.quote("review", `${review.title}\n${review.description.split("\n\n").slice(0, 2).join("\n")}`);
  narrator.check("the run stopped for a person", values.__interrupt__?.length === 1, values);
  narrator.check(
    "the review names this order and this amount",
    review?.args.order === order && review.args.amount === 249.9,
    review,
  );
  narrator.check("nothing has been paid on this order", (await desk.payments(order)).length === 0);
  if (!review) throw new Error("there is no review");
  return { threadId, order, review };
}

/** A run whose worker was killed after the payment and before it learned of it. */
interface Orphan {
  readonly threadId: string;
  readonly runId: string;
  readonly order: string;
  /** The key under which the worker that is dead now has paid. */
  readonly key: string | undefined;
  readonly killedAt: number;
}

async function killedWorker(story: Story, held: Held): Promise<void> {
  const { narrator, desk } = story;
  narrator.step("kill -9, at the worst moment");
  await recovery(story, await killMidway(story));
  const waits = (await desk.reviews()).some((one) => one.id === held.review.id);
  narrator.check("the review still waits: it was never in the worker's memory", waits);
}

async function killMidway({ narrator, cast, desk, firstOrder }: Story): Promise<Orphan> {
  const order = orderNumber(firstOrder + 2);
  const wish = `Refund order ${order}, 80 EUR, because a pole was bent.`;
  narrator.quote("another customer", wish);
  narrator.say("This time the network is slow: the ledger pays, but its answer does not reach the worker.");
  const threadId = await desk.newThread();
  const kept = cast.gate.keepNextAnswer();
  const runId = await desk.begin(threadId, wish);
  const { key } = await within(STEP_MS, "the payment", () => kept);
  const paid = await desk.payments(order);
  const { status } = await desk.client.runs.get(threadId, runId);
  const victim = cast.worker();
  await victim.stop("SIGKILL");
  const killedAt = performance.now();
  cast.gate.open();
  narrator.say(`Now: kill -9 of the worker, process ${victim.pid}. It has paid and will never know it.`);
  narrator.check("the ledger had paid, and the run was still going on", paid.length === 1 && status === "running", {
    paid,
    status,
  });
  return { threadId, runId, order, key, killedAt };
}

async function recovery(
  { narrator, cast, desk }: Story,
  { threadId, runId, order, key, killedAt }: Orphan,
): Promise<void> {
  const successor = await within(STEP_MS, "another worker", () => cast.hireWorker());
  const values = await within(STEP_MS, "the recovery", () => desk.outcome(threadId, runId));
  const seconds = ((performance.now() - killedAt) / 1000).toFixed(1);
  narrator.say(
    `A new worker, process ${successor.pid}, took the run over. ${seconds} s after the kill, its own start included, the customer has an answer:`,
  );
  narrator.quote("desk", values.answer ?? "");
  narrator.check("the run went on and told the customer", values.outcome === "refunded", values);
  narrator.say(
    `The new worker asked the ledger again, under the key that the first one had written down before it paid: ${key?.slice(0, 16)}…`,
  );
  const [payment, ...more] = await desk.payments(order);
  narrator.check("asked twice, paid once", payment?.calls === 2 && payment.key === key && more.length === 0, {
    payment,
    more,
  });
}

async function approval({ narrator, desk }: Story, held: Held): Promise<void> {
  narrator.step("The approval");
  const { review, threadId, order } = held;
  const stale = await desk.decide(review.id, { type: "approve", digest: "0".repeat(64) });
  narrator.check("an approval of something else than what is shown is refused (412)", stale.status === 412, stale);
  narrator.say(
    `POST /v1/reviews/${review.id}/decisions with the digest of what was shown: ${review.digest.slice(0, 16)}…`,
  );
  const decided = await desk.decide(review.id, { type: "approve", digest: review.digest }, keyOf(held));
  const continuation = decided.body.decision?.continuation_run_id;
  narrator.check(
    "the decision is accepted (200) and names the run that carries it on",
    decided.status === 200 && continuation !== undefined,
    decided,
  );
  const values = await within(STEP_MS, "the refund", () => desk.outcome(threadId, continuation ?? ""));
  narrator.quote("desk", values.answer ?? "");
  const payments = await desk.payments(order);
  narrator.check(
    "the ledger has paid EUR 249.90",
    values.outcome === "refunded" && payments.length === 1 && payments[0]?.amount === 249.9,
    { values, payments },
  );
}

async function decidedTwice({ narrator, desk }: Story, held: Held): Promise<void> {
  narrator.step("The same decision again, and another one");
  const { review } = held;
  const again = await desk.decide(review.id, { type: "approve", digest: review.digest }, keyOf(held));
  const by = again.body.decision?.by;
  narrator.check(
    "the same request again gets the same answer (200), and starts nothing",
    again.status === 200 && by !== undefined,
    again,
  );
  const other = await desk.decide(review.id, {
    type: "reject",
    message: "Too much.",
    comment: "Too much.",
    digest: review.digest,
  });
  narrator.check("whoever decides otherwise afterwards is told who decided before (409)", other.status === 409, other);
  narrator.quote("API", other.body.detail ?? "");
}

async function ledgerOf({ narrator, desk, firstOrder }: Story, { order }: Held): Promise<void> {
  narrator.step("The ledger");
  const orders = [firstOrder, firstOrder + 1, firstOrder + 2].map(orderNumber);
  const payments = (await desk.payments()).filter((payment) => orders.includes(payment.order));
  for (const payment of payments) {
    narrator.say(
      `${payment.reference}  order ${payment.order}  EUR ${payment.amount.toFixed(2).padStart(7)}  asked for ${times(payment.calls)}`,
    );
  }
  const approved = payments.filter((payment) => payment.order === order);
  narrator.check(
    "exactly one payment for the refund that was approved",
    approved.length === 1 && approved[0]?.calls === 1,
    approved,
  );
  narrator.check("exactly one payment for each of the others", payments.length === 3, payments);
}

async function history({ narrator, desk }: Story, { threadId }: Held): Promise<void> {
  narrator.step("What is remembered");
  const states = await desk.client.threads.getHistory(threadId, { limit: 100 });
  const steps = states.toReversed().flatMap((state) => (state.next.length > 0 ? [state.next.join(", ")] : ["end"]));
  narrator.say(`The thread has ${states.length} checkpoints. What came next at each of them: ${steps.join(" → ")}.`);
  const nodes = ["retrieve", "decide", "check", "assess", "approve", "pay", "reply"];
  narrator.check("every step of the refund is there, in order", inOrder(steps, nodes), steps);
  const runs = await desk.client.runs.list(threadId);
  narrator.check(
    "two runs: the one that stopped for a person, and the one that the decision started",
    runs.length === 2,
    runs,
  );
}

const keyOf = (held: Held): string => `demo-${held.review.id}`;
const times = (n: number): string => (n === 1 ? "once" : `${n} times`);

function inOrder(all: readonly string[], some: readonly string[]): boolean {
  let from = 0;
  return some.every((one) => {
    const at = all.indexOf(one, from);
    from = at + 1;
    return at >= 0;
  });
}

/** The quotation, read again from the file itself. */
async function isInDocument(folder: string, { documentId, quote, offsets }: Citation): Promise<boolean> {
  const text = await readFile(join(folder, documentId), "utf8").catch(() => undefined);
  // A line of a JSONL file is a document of its own, and no file.
  return text === undefined ? quote !== "" : text.slice(offsets.start, offsets.end) === quote;
}

async function aboutTheFirstDocument(folder: string): Promise<string> {
  const { openFolder } = await import("../../src/retrieval/folder.ts");
  for await (const { title } of (await openFolder(folder)).documents()) return `What is said about ${title}?`;
  throw new Error(`${folder} holds no documents`);
}
