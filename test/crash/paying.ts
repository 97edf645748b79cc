/** A customer who pays once, and the operator who looks where nobody knows. */
import type { EffectPolicy } from "holdpoint/graph";
import type { Run } from "../../src/core/run.ts";
import type { Crew, Tenant } from "./crew.ts";
import type { Crash } from "./graphs/pay.ts";
import type { Ledgers } from "./ledgers.ts";
import { placeOrder } from "./orders.ts";
import { createPatient, patiently } from "./patient.ts";
import { threadNamed } from "./story.ts";
import { endOf, start } from "./walking.ts";

/** Where its worker is killed, if it is: around the writes of the journal, or within the call. */
export type CrashPoint = Crash | "before the intent" | "before the result" | null;

export interface Payer {
  readonly tenant: Tenant;
  /** Tells it from all others. */
  readonly name: string;
  readonly policy: EffectPolicy;
  readonly crash: CrashPoint;
}

export interface Paid extends Payer {
  readonly threadId: string;
  readonly order: string;
  /** How its first run ended. */
  readonly first: Run;
  /** What an operator found, each time that it was parked. */
  readonly settled: readonly Verdict[];
  readonly last: Run;
}

type Verdict = "happened" | "not_happened";

interface EffectShown {
  readonly id: string;
  readonly state: string;
  readonly intent: number;
  readonly token: string;
  readonly settlement: { readonly continuation_run_id: string | null } | null;
}

/** Resolves when the order is paid, whoever had to look. */
export async function payOnce(crew: Crew, ledgers: Ledgers, payer: Payer): Promise<Paid> {
  const { tenant, name, policy, crash } = payer;
  const threadId = threadNamed(name);
  const named = { tenant, threadId };
  const order = `A-${threadId}`;
  const nth = { "before the intent": 1, "before the result": 2 };
  if (crash === "before the intent" || crash === "before the result")
    placeOrder(crew.folder, threadId, { do: "kill-at", kind: "effect", nth: nth[crash] });
  const within = crash === "before the call" || crash === "after the call" ? crash : null;
  const input = { order, policy, crash: within };
  const runId = await start(crew, named, { graph: "pay", name: "pay", input });
  const first = await endOf(crew, named, runId);
  let last = first;
  const settled: Verdict[] = [];
  // The run that goes on may lose its worker as well.
  while (last.status === "parked") {
    const looked = await lookInto(crew, ledgers, { tenant, threadId, runId: last.runId });
    settled.push(looked.settled);
    ({ last } = looked);
  }
  return { ...payer, threadId, order, first, settled, last };
}

/** What an operator does: reads the journal, asks the ledger by the token, and says what is true. */
async function lookInto(
  crew: Crew,
  ledgers: Ledgers,
  { tenant, threadId, runId }: { readonly tenant: Tenant; readonly threadId: string; readonly runId: string },
): Promise<{ readonly settled: Verdict; readonly last: Run }> {
  const client = createPatient({ url: crew.url, headers: crew.headers(tenant) });
  const list = await client.send(`/v1/effects?run_id=${runId}`);
  const { items } = list.body as unknown as { readonly items: readonly EffectShown[] };
  const effect = items.find(({ state }) => state === "parked");
  if (!effect) throw new Error(`nothing is parked of run ${runId}`);
  const outcomeNow = async () => {
    const payment = (await ledgers.payments()).find(({ key }) => key === effect.token);
    return payment
      ? ({ outcome: "happened", result: payment.reference } as const)
      : ({ outcome: "not_happened" } as const);
  };
  // Asked again each time: what was on its way may have arrived meanwhile.
  const settled = await patiently(`effect ${effect.id} to be settled`, async () => {
    const said = await outcomeNow();
    const body = { ...said, intent: effect.intent, reason: "asked the ledger" };
    const reply = await client.send(`/v1/effects/${effect.id}/settlement`, { body, answers: [200, 409] });
    return reply.status === 200 ? { said, shown: reply.body as unknown as EffectShown } : undefined;
  });
  const next = await patiently(`a run to go on with effect ${effect.id}`, async () => {
    const { body } = await client.send(`/v1/effects/${effect.id}`);
    return (body as unknown as EffectShown).settlement?.continuation_run_id ?? undefined;
  });
  return { settled: settled.said.outcome, last: await endOf(crew, { tenant, threadId }, next) };
}
