/** What customers of the policy desk must find after any number of kills, read through the API and the ledger. */
import { expect } from "vitest";
import { Client } from "@langchain/langgraph-sdk";
import type { Acknowledged } from "./customer.ts";

interface Payment {
  readonly order: string;
  readonly amount: number;
  readonly key: string;
  readonly calls: number;
}

export interface DeskChecked {
  readonly runs: number;
  readonly payments: number;
  /** Payments of an order that had been paid. */
  readonly doubled: number;
  /** Payments that were asked for more than once, and so would have been made twice without the journal. */
  readonly askedAgain: number;
}

/** @throws when anything acknowledged was lost, or anything was done twice */
export async function checkDesk(
  url: string,
  ledgerUrl: string,
  customers: readonly Acknowledged[],
): Promise<DeskChecked> {
  const client = new Client({ apiUrl: url });
  for (const customer of customers) await checkCustomer(client, url, customer);

  const { refunds } = (await (await fetch(new URL("refunds", ledgerUrl))).json()) as {
    readonly refunds: readonly Payment[];
  };
  const paid = refunds.map(({ order, amount }) => `${order} ${amount}`).toSorted();
  const owed = customers
    .flatMap(({ payments }) => payments.map(({ order, amount }) => `${order} ${amount}`))
    .toSorted();
  expect(paid, "each approved refund is paid once, and nothing else is").toEqual(owed);
  return {
    runs: customers.reduce((sum, { runs, decisions }) => sum + runs.length + decisions.length, 0),
    payments: paid.length,
    doubled: paid.length - new Set(refunds.map(({ order }) => order)).size,
    askedAgain: refunds.filter(({ calls }) => calls > 1).length,
  };
}

interface Message {
  readonly type: string;
  readonly tool_calls?: readonly { readonly id: string }[];
  readonly tool_call_id?: string;
}

async function checkCustomer(client: Client, url: string, customer: Acknowledged): Promise<void> {
  const { threadId, runs, decisions } = customer;
  const accepted = [...runs.map(({ runId }) => runId), ...decisions.map(({ continuation }) => continuation)];
  const listed = await client.runs.list(threadId, { limit: 100 });
  expect(listed.map((run) => run.run_id).toSorted(), "the runs that were accepted are there, and no others").toEqual(
    accepted.toSorted(),
  );
  expect(
    listed.map((run) => run.status),
    "every run has ended well",
  ).toEqual(accepted.map(() => "success"));

  for (const { reviewId, winner } of decisions) {
    const review = (await (await fetch(`${url}/v1/reviews/${reviewId}`)).json()) as {
      readonly state: string;
      readonly decision: { readonly type: string };
    };
    expect([review.state, review.decision.type], "an acknowledged decision stands, and is applied").toEqual([
      "applied",
      winner,
    ]);
  }

  const { values, next } = await client.threads.getState(threadId);
  const { messages, outcome } = values as {
    readonly messages: readonly Message[];
    readonly outcome: string;
  };
  expect(next, "nothing is left to do").toEqual([]);
  expect(outcome).toBe(decisions[0]?.winner === "approve" ? "refunded" : "not-approved");
  // A superstep that was executed again leaves no trace: one message of the customer and one answer for each turn.
  const calls = messages.flatMap(({ tool_calls = [] }) => tool_calls.map(({ id }) => id));
  const spoken = messages.filter(({ type, tool_calls = [] }) => type !== "tool" && tool_calls.length === 0);
  expect(spoken.map(({ type }) => type)).toEqual(runs.flatMap(() => ["human", "ai"]));
  expect(new Set(calls).size, "each tool call is there once").toBe(calls.length);
  expect(
    messages.flatMap(({ type, tool_call_id }) => (type === "tool" ? [tool_call_id] : [])),
    "and is answered once",
  ).toEqual(calls);
  expect((await client.threads.get(threadId)).status).toBe("idle");
}
