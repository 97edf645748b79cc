/** The story's view of the service: the official SDK for what is LangGraph's, `fetch` for what is Holdpoint's own. */
import { Client } from "@langchain/langgraph-sdk";

export interface Citation {
  readonly number: number;
  readonly documentId: string;
  readonly title: string;
  readonly quote: string;
  readonly offsets: { readonly start: number; readonly end: number };
}

/** What the policy desk leaves in the thread's state. */
export interface DeskValues {
  readonly answer?: string | null;
  readonly outcome?: string | null;
  readonly citations?: readonly Citation[];
  readonly receipt?: { readonly reference: string; readonly amount: number } | null;
  readonly __interrupt__?: readonly { readonly value?: unknown }[];
}

export interface Review {
  readonly id: string;
  readonly thread_id: string;
  readonly title: string;
  readonly description: string;
  readonly state: string;
  readonly args: { readonly order: string; readonly amount: number };
  readonly digest: string;
  readonly decision: { readonly continuation_run_id: string; readonly by: string } | null;
}

export interface Payment {
  readonly reference: string;
  readonly key: string;
  readonly order: string;
  readonly amount: number;
  /** How often it was asked for. */
  readonly calls: number;
}

export interface Answered<T> {
  readonly status: number;
  readonly body: T;
}

export interface Decision {
  readonly type: "approve" | "reject";
  readonly digest: string;
  readonly message?: string;
  readonly comment?: string;
}

export interface Desk {
  readonly client: Client;
  newThread(): Promise<string>;
  /** One turn on the thread, until the run has ended. */
  ask(threadId: string, question: string): Promise<DeskValues>;
  /** Begins a turn and returns the run's id. */
  begin(threadId: string, question: string): Promise<string>;
  /** The run's outcome, once it has ended. */
  outcome(threadId: string, runId: string): Promise<DeskValues>;
  reviews(): Promise<readonly Review[]>;
  decide(
    reviewId: string,
    decision: Decision,
    idempotencyKey?: string,
  ): Promise<Answered<Review & { readonly detail?: string }>>;
  payments(order?: string): Promise<readonly Payment[]>;
  /** One turn with the agent, until its run has ended. */
  tellAgent(threadId: string, words: string): Promise<void>;
  /** What was said by now, tools included. */
  agentSaid(threadId: string): Promise<readonly AgentMessage[]>;
}

export interface AgentMessage {
  readonly type: string;
  readonly content: string;
  /** Of a tool's answer. */
  readonly name?: string | null;
}

const GRAPH = "policy-desk";
const AGENT = "tool-agent";

const messagesIn = (values: unknown): readonly AgentMessage[] =>
  (values as { readonly messages?: readonly AgentMessage[] }).messages ?? [];

export function openDesk(url: string, ledgerUrl: string): Desk {
  const client = new Client({ apiUrl: url, apiKey: null });
  return {
    client,
    newThread: async () => (await client.threads.create()).thread_id,
    ask: async (threadId, question) => (await client.runs.wait(threadId, GRAPH, { input: { question } })) as DeskValues,
    begin: async (threadId, question) => (await client.runs.create(threadId, GRAPH, { input: { question } })).run_id,
    outcome: async (threadId, runId) => (await client.runs.join(threadId, runId)) as DeskValues,
    async reviews() {
      const { items } = (await (await fetch(`${url}/v1/reviews`)).json()) as { readonly items: readonly Review[] };
      return items;
    },
    async decide(reviewId, decision, idempotencyKey) {
      const answer = await fetch(`${url}/v1/reviews/${reviewId}/decisions`, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          ...(idempotencyKey === undefined ? {} : { "idempotency-key": idempotencyKey }),
        },
        body: JSON.stringify(decision),
      });
      return { status: answer.status, body: (await answer.json()) as Review & { readonly detail?: string } };
    },
    async payments(order) {
      const query = order === undefined ? "" : `?order=${encodeURIComponent(order)}`;
      const answer = await fetch(new URL(`refunds${query}`, ledgerUrl));
      return ((await answer.json()) as { readonly refunds: readonly Payment[] }).refunds;
    },
    async tellAgent(threadId, words) {
      const input = { messages: [{ role: "user", content: words }] };
      await client.runs.wait(threadId, AGENT, { input });
    },
    agentSaid: async (threadId) => messagesIn((await client.threads.getState(threadId)).values),
  };
}
