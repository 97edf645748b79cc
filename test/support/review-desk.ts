/** A service with several people, and graphs that ask what their input says: what tests of reviews stand on. */
import { Annotation, END, interrupt, START, StateGraph } from "@langchain/langgraph";
import { Client } from "@langchain/langgraph-sdk";
import { afterAll, beforeAll } from "vitest";
import { keyAuthenticator } from "../../src/http/auth.ts";
import { review } from "../../src/graph/review.ts";
import type { ReviewSpec } from "../../src/graph/review.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import type { RegisteredGraph } from "../../src/langgraph/registry.ts";
import type { NodeConfig } from "../../src/graph/context.ts";
import { sqliteEngine } from "./engines.ts";
import type { Engine } from "./engines.ts";
import { createTestKeys } from "./http.ts";
import type { TestKey } from "./http.ts";
import { eventually } from "./eventually.ts";
import { startService } from "./service.ts";
import type { Service } from "./service.ts";

const KEYS = {
  /** Starts runs. */
  sam: { tenant: "acme", subject: "sam", roles: ["admin"] },
  ann: { tenant: "acme", subject: "ann", roles: ["reviewer"], groups: ["payments"] },
  bob: { tenant: "acme", subject: "bob", roles: ["reviewer"], groups: ["payments"] },
  /** In no group. */
  cleo: { tenant: "acme", subject: "cleo", roles: ["reviewer"] },
  /** Starts and resumes runs, and decides no review. */
  dora: { tenant: "acme", subject: "dora", roles: ["developer"] },
  /** Reads only. */
  vic: { tenant: "acme", subject: "vic", roles: ["viewer"] },
  /** Hands out links, and decides nothing. */
  nora: { tenant: "acme", subject: "nora", roles: ["notifier"] },
  gustav: { tenant: "globex", subject: "gustav", roles: ["admin"] },
} as const satisfies Readonly<Record<string, TestKey>>;

export type Person = keyof typeof KEYS;

export interface Review {
  readonly id: string;
  readonly thread_id: string;
  readonly state: string;
  readonly digest: string;
  readonly version: string;
  readonly interrupt_id: string;
  readonly decision: { readonly type: string; readonly by: string; readonly continuation_run_id: string | null } | null;
  readonly [field: string]: unknown;
}

export interface ReviewDesk extends AsyncDisposable {
  readonly service: Service;
  client(as?: Person): Client;
  call(as: Person, method: string, path: string, init?: CallInit): Promise<Response>;
  /** A review on a thread of its own; `spec` stands over what is asked by default. */
  raise(spec?: Partial<ReviewSpec>, graph?: string): Promise<Review>;
  /** Those of a thread that are open. */
  openOf(thread: string): Promise<readonly Review[]>;
  get(id: string): Promise<Review>;
  decide(as: Person, review: Review, answer: object, headers?: Readonly<Record<string, string>>): Promise<Response>;
  /** What the graph wrote once the decision was carried on. */
  logOf(review: Pick<Review, "id" | "thread_id">): Promise<readonly string[]>;
}

export interface CallInit {
  readonly json?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly signal?: AbortSignal;
}

const State = Annotation.Root({
  spec: Annotation<object>(),
  log: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
});
type Asked = typeof State.State;

const graphOf = (node: (state: Asked, config: NodeConfig) => Promise<Partial<Asked>>) =>
  new StateGraph(State).addNode("ask", node).addEdge(START, "ask").addEdge("ask", END).compile();

/** Asks one review, and writes down what it was answered. */
const asks = graphOf(async ({ spec }, config) => {
  const asked = { title: "Refund", action: "refund", args: { amount: 100 }, ...spec };
  return { log: [JSON.stringify(await review(config, asked))] };
});

/** A plain interrupt with what its input says. */
const plain = graphOf(async ({ spec }) => ({ log: [JSON.stringify(interrupt(spec))] }));

/** A plain interrupt, and then a review. */
const both = graphOf(async ({ spec }, config) => {
  interrupt("whom to?");
  return { log: [JSON.stringify(await review(config, { title: "Pay", action: "pay", args: {}, ...spec }))] };
});

export interface ReviewDeskOptions {
  /** SQLite unless given. */
  readonly engine?: Engine;
  /** Beside its own. */
  readonly graphs?: readonly RegisteredGraph[];
}

async function startReviewDesk({
  engine = sqliteEngine,
  graphs: more = [],
}: ReviewDeskOptions = {}): Promise<ReviewDesk> {
  await using opening = new AsyncDisposableStack();
  const { table } = opening.use(await engine.open());
  const people = Object.keys(KEYS) as readonly Person[]; // its own keys
  const { apiKeys, texts } = createTestKeys(Object.values(KEYS));
  const keyOf = (person: Person): string => texts[people.indexOf(person)] ?? "";
  const graphs = createRegistry(
    [registeredGraph("asks", asks), registeredGraph("plain", plain), registeredGraph("both", both), ...more],
    [],
  );
  const service = opening.use(await startService({ graphs, table, app: { auth: keyAuthenticator(apiKeys) } }));
  const opened = opening.move();
  const client = (as: Person = "sam"): Client =>
    new Client({ apiUrl: service.app.url, apiKey: keyOf(as), callerOptions: { maxRetries: 0 } });
  const call: ReviewDesk["call"] = (as, method, path, { headers, ...init } = {}) =>
    service.app.call(method, path, { ...init, headers: { "x-api-key": keyOf(as), ...headers } });
  const get = async (id: string): Promise<Review> => bodyOf(await call("sam", "GET", `/v1/reviews/${id}`));
  const openOf = async (thread: string): Promise<readonly Review[]> => {
    const { items } = await bodyOf<Page>(await call("sam", "GET", "/v1/reviews?limit=1000&snoozed=with"));
    return items.filter((item) => item.thread_id === thread);
  };
  return {
    service,
    client,
    call,
    get,
    openOf,
    async raise(spec = {}, graph = "asks") {
      const { thread_id: thread } = await client().threads.create();
      await client().runs.wait(thread, graph, { input: { spec } });
      const [found] = await openOf(thread);
      if (!found) throw new Error("no review was raised");
      return found;
    },
    decide: (as, { id, digest }, answer, headers = {}) =>
      call(as, "POST", `/v1/reviews/${id}/decisions`, { json: { digest, ...answer }, headers }),
    async logOf({ id, thread_id: thread }) {
      // Queued a moment after the decision.
      const run = await eventually(async () => (await get(id)).decision?.continuation_run_id ?? undefined);
      const values = (await client().runs.join(thread, run)) as { readonly log?: readonly string[] };
      return values.log ?? [];
    },
    [Symbol.asyncDispose]: () => opened.disposeAsync(),
  };
}

/** The desk of the tests around: opened before the first of them, closed after the last. */
export function sharedDesk(options: ReviewDeskOptions = {}): ReviewDesk {
  const desk = {} as ReviewDesk; // what it has comes before any test asks for it
  let opened: ReviewDesk | undefined;
  beforeAll(async () => {
    opened = await startReviewDesk(options);
    Object.assign(desk, opened);
  });
  afterAll(() => opened?.[Symbol.asyncDispose]());
  return desk;
}

export interface Page {
  readonly items: readonly Review[];
  readonly next_cursor: string | null;
}

/** The body of an answer that must be good. */
export async function bodyOf<T = Review>(response: Response): Promise<T> {
  if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
  return (await response.json()) as T;
}
