/** Pays an order at a real ledger, under the policy that it is told, and dies where it is told to, once. */
import { openSync } from "node:fs";
import { join } from "node:path";
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import { EffectRejected, effect, services } from "holdpoint/graph";
import type { EffectPolicy, Http, NodeConfig } from "holdpoint/graph";
import { FOLDER_VARIABLE, note } from "../witness.ts";

/** Within the call of the effect, where no write of the table is. */
export type Crash = "before the call" | "after the call";

const State = Annotation.Root({
  order: Annotation<string>(),
  policy: Annotation<EffectPolicy>(),
  crash: Annotation<Crash | null>(),
  reference: Annotation<string>(),
  told: Annotation<string>(),
});
type S = typeof State.State;

interface Payment {
  readonly reference: string;
  readonly key: string;
}

/** The ledger that makes its keys decisive is the one of idempotent effects; the other pays whatever it is asked. */
const ledgerOf = (policy: EffectPolicy): URL =>
  new URL(
    "/refunds",
    process.env[policy === "idempotent" ? "HOLDPOINT_TEST_LEDGER" : "HOLDPOINT_TEST_FORGETFUL_LEDGER"],
  );

async function pay({ order, policy, crash }: S, config: NodeConfig): Promise<Partial<S>> {
  const { http } = services(config);
  const url = ledgerOf(policy);
  const lookup = async (token: string): Promise<{ readonly result: string } | undefined> => {
    const refunds = await paymentsOf(http, new URL(`?order=${order}`, url));
    const found = refunds.find(({ key }) => key === token);
    return found && { result: found.reference };
  };
  const reference = await effect(config, { name: "pay", policy, args: { order }, lookup }, async () => {
    if (crash === "before the call") dieOnce(config);
    const body = JSON.stringify({ order, amount: 12.5, currency: "EUR" });
    const response = await http.fetch(url, { method: "POST", body });
    if (crash === "after the call") dieOnce(config);
    if (response.status === 422) throw new EffectRejected(await response.text());
    if (!response.ok) throw new Error(`the ledger answered ${response.status}`);
    return ((await response.json()) as Payment).reference;
  });
  return { reference };
}

const ASKS = 3;

/** Asks again where a question gets no answer: a connection that was idle may be closed as it is used again. */
async function paymentsOf(http: Http, url: URL, asked = 1): Promise<readonly Payment[]> {
  try {
    const response = await http.fetch(url);
    return ((await response.json()) as { readonly refunds: readonly Payment[] }).refunds;
  } catch (error) {
    if (asked === ASKS) throw error;
    return paymentsOf(http, url, asked + 1);
  }
}

function dieOnce({ configurable }: NodeConfig): void {
  const folder = process.env[FOLDER_VARIABLE] ?? "";
  const { thread_id: thread } = (configurable ?? {}) as { readonly thread_id?: string };
  try {
    openSync(join(folder, `died-${thread}`), "wx");
  } catch {
    return; // somebody has
  }
  note(folder, { is: "killed", ...(thread === undefined ? {} : { thread }) });
  process.kill(process.pid, "SIGKILL");
}

export const graph = new StateGraph(State)
  .addNode("pay", pay)
  .addNode("tell", ({ reference }) => ({ told: `paid: ${reference}` }))
  .addEdge(START, "pay")
  .addEdge("pay", "tell")
  .addEdge("tell", END)
  .compile();
