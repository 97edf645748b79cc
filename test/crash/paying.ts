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

/** What an operator did about a parked run: said what became of its effect, or let it go on, since there was nothing to say. */
export type Looked = "happened" | "not_happened" | "resumed";

export interface Paid extends Payer {
  readonly threadId: string;
  readonly order: string;
  /** How its runs ended, each of which was parked but for the last one. */
  readonly ends: readonly [Run, ...Run[]];
  /** What an operator did, each time that one was parked. */
  readonly looked: readonly Looked[];
}

interface EffectShown {
  readonly id: string;
  readonly state: string;
  readonly intent: number;
  readonly token: string;
  /** Its outcome may come late, from a worker that lost the thread. */
  readonly result?: unknown;
  readonly not_happened_from: string | null;
  readonly settlement: { readonly continuation_run_id: string | null } | null;
}

/** How its last run ended. */
export const lastOf = ({ ends }: Paid): Run => ends.at(-1) ?? ends[0];

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
  const ends: [Run, ...Run[]] = [await endOf(crew, named, runId)];
  const looked: Looked[] = [];
  // The run that goes on may lose its worker as well.
  for (let last = ends[0]; last.status === "parked"; ends.push(last)) {
    const operator = operatorOf(crew, ledgers, tenant);
    // One that lost five workers in a row is parked whatever it did; its effect, if it has one, is looked into afterwards.
    const isPoison = last.error?.name === "poison";
    const done = isPoison ? await operator.resume(last.runId) : await operator.lookInto(last.runId);
    looked.push(done.looked);
    last = await endOf(crew, named, done.next);
  }
  return { ...payer, threadId, order, ends, looked };
}

interface Done {
  readonly looked: Looked;
  /** The run that goes on. */
  readonly next: string;
}

/** What an operator does: reads the journal, asks the ledger by the token, and says what is true. */
function operatorOf(crew: Crew, ledgers: Ledgers, tenant: Tenant) {
  const { url, patienceMs } = crew;
  const client = createPatient({ url, headers: crew.headers(tenant), patienceMs });
  const patient = <T>(what: string, probe: () => Promise<T | undefined>): Promise<T> =>
    patiently(what, probe, undefined, patienceMs);

  const verdictOn = async ({ token, result, not_happened_from: from }: EffectShown) => {
    if (result !== undefined) return { outcome: "happened" } as const;
    // Asked before the answer: that nothing is found says nothing while the call may still be on its way.
    const isDefinite = Date.now() > Date.parse(from ?? "");
    const payment = (await ledgers.payments()).find(({ key }) => key === token);
    if (payment) return { outcome: "happened", result: payment.reference } as const;
    return isDefinite ? ({ outcome: "not_happened" } as const) : undefined;
  };
  return {
    async lookInto(runId: string): Promise<Done> {
      const list = await client.send(`/v1/effects?run_id=${runId}`);
      const { items } = list.body as unknown as { readonly items: readonly EffectShown[] };
      const id = items.find(({ state }) => state === "parked")?.id;
      if (id === undefined) throw new Error(`nothing is parked of run ${runId}`);
      const shown = async () => (await client.send(`/v1/effects/${id}`)).body as unknown as EffectShown;
      const settled = await patient(`effect ${id} to be settled`, async () => {
        const effect = await shown();
        const said = await verdictOn(effect);
        const body = said && { ...said, intent: effect.intent, reason: "asked the ledger" };
        const reply = body && (await client.send(`/v1/effects/${id}/settlement`, { body, answers: [200, 409] }));
        return reply?.status === 200 ? said : undefined;
      });
      const next = await patient(
        `a run to go on with effect ${id}`,
        async () => (await shown()).settlement?.continuation_run_id ?? undefined,
      );
      return { looked: settled.outcome, next };
    },
    async resume(runId: string): Promise<Done> {
      const ask = { key: `${runId}-resume`, body: { reason: "its workers were killed" }, answers: [202] };
      const { body } = await client.send(`/v1/runs/${runId}/resume`, ask);
      return { looked: "resumed", next: String(body["run_id"]) };
    },
  };
}
