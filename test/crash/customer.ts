/**
 * A customer of the policy desk who never gives up: every request carries an idempotency key and is repeated under it
 * until it is answered. What was acknowledged is written down, for the invariants that are checked afterwards.
 */
import { namedUuid } from "../../src/core/ids.ts";
import { createPatient, patiently } from "./patient.ts";

/** What the service acknowledged to one customer. */
export interface Acknowledged {
  readonly threadId: string;
  /** Every run that was accepted, with the turn it stands for. */
  readonly runs: { readonly runId: string; readonly turn: string }[];
  readonly payments: { readonly order: string; readonly amount: number }[];
  /** Orders on which nothing may be paid. */
  readonly rejected: string[];
  readonly decisions: {
    readonly reviewId: string;
    readonly winner: "approve" | "reject";
    readonly continuation: string;
  }[];
}

export interface CustomerOptions {
  /** Tells this customer from all others. */
  readonly name: string;
  /** Number of the customer's first order; two more follow it. */
  readonly firstOrder: number;
  readonly url: () => string;
}

const NAMESPACE = "3f1c1a52-8f0a-4d7e-9a43-5a0b7a0f6c11";

export interface Customer {
  /** A question, a small refund, and a large one that two reviewers decide at the same time. */
  story(): Promise<Acknowledged>;
}

export function createCustomer({ name, firstOrder, url }: CustomerOptions): Customer {
  const threadId = namedUuid(name, NAMESPACE);
  const acknowledged: Acknowledged = { threadId, runs: [], payments: [], rejected: [], decisions: [] };
  const thread = `/threads/${threadId}`;
  const { send } = createPatient({ url });

  const turn = async (question: string): Promise<Readonly<Record<string, unknown>>> => {
    const { body } = await send(`${thread}/runs`, {
      key: `${name}-turn-${acknowledged.runs.length + 1}`,
      body: { assistant_id: "policy-desk", input: { question } },
    });
    const runId = String(body["run_id"]);
    acknowledged.runs.push({ runId, turn: question });
    return ended(runId);
  };
  const ended = async (runId: string): Promise<Readonly<Record<string, unknown>>> =>
    patiently(`run ${runId} to end`, async () => {
      const { body } = await send(`${thread}/runs/${runId}`);
      return body["status"] === "pending" || body["status"] === "running" ? undefined : body;
    });

  const review = (): Promise<Readonly<Record<string, unknown>>> =>
    patiently(`the review of ${threadId}`, async () => {
      const { body } = await send("/v1/reviews?limit=1000");
      const items = body["items"] as readonly Readonly<Record<string, unknown>>[];
      return items.find((item) => item["thread_id"] === threadId);
    });
  /** The run that carries a decision on: where the follow-up was left to a worker it is known a little later. */
  const carrierOf = (id: string, first: Readonly<Record<string, unknown>>): Promise<string> => {
    let decision = first;
    return patiently(`the continuation of ${id}`, async () => {
      const named = decision["continuation_run_id"];
      if (typeof named === "string") return named;
      const { body } = await send(`/v1/reviews/${id}`);
      decision = body["decision"] as Readonly<Record<string, unknown>>;
      return undefined;
    });
  };
  /** Two reviewers at once. Each repeats until it knows whether it won. */
  const decide = async (order: string, amount: number): Promise<void> => {
    const { id, digest } = await review();
    const ask = (type: "approve" | "reject") =>
      send(`/v1/reviews/${String(id)}/decisions`, {
        key: `${name}-${type}`,
        body: { type, digest, comment: "decided" },
        answers: [200, 409],
      });
    const answers = await Promise.all([ask("approve"), ask("reject")]);
    const statuses = answers.map((answer) => answer.status);
    if (!statuses.includes(200) || !statuses.includes(409)) {
      throw new Error(`two decisions at once were answered ${statuses.join(" and ")}`);
    }
    const [approve, reject] = answers;
    const winner = approve?.status === 200 ? "approve" : "reject";
    const decision = (winner === "approve" ? approve : reject)?.body["decision"] as Readonly<Record<string, unknown>>;
    const continuation = await carrierOf(String(id), decision);
    acknowledged.decisions.push({ reviewId: String(id), winner, continuation });
    if (winner === "approve") acknowledged.payments.push({ order, amount });
    else acknowledged.rejected.push(order);
    await ended(continuation);
  };

  return {
    async story() {
      const [small, large] = [`A-${firstOrder}`, `A-${firstOrder + 1}`];
      await send("/threads", { key: `${name}-thread`, body: { thread_id: threadId, if_exists: "do_nothing" } });
      await turn("How long is a gift card valid?");
      acknowledged.payments.push({ order: small, amount: 45 });
      await turn(`Refund order ${small}, 45 EUR, because the tent pegs were missing.`);
      await turn(`Refund order ${large}, 249.90 EUR, because the tent arrived torn.`);
      await decide(large, 249.9);
      return acknowledged;
    },
  };
}
