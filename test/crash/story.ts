/** A customer of the reference graph: one run, two reviews that are decided at the same time, and the end. */
import type { Hold } from "../../src/core/hold.ts";
import { namedUuid } from "../../src/core/ids.ts";
import type { Crew, Tenant } from "./crew.ts";
import type { Told, ToldDecision } from "./evidence.ts";
import { EFFECTS, logOf } from "./graphs/reference.ts";
import type { Named } from "./look.ts";
import { createPatient, patiently } from "./patient.ts";
import type { Patient } from "./patient.ts";

const NAMESPACE = "3f1c1a52-8f0a-4d7e-9a43-5a0b7a0f6c11";

/** The thread of a customer, known before it is used. */
export const threadNamed = (name: string): string => namedUuid(name, NAMESPACE);

/** Resolves when nothing waits or runs on the thread. */
export async function restOf(crew: Crew, named: Named): Promise<void> {
  const atRest = async (): Promise<true | undefined> => (await crew.look.isAtRest(named)) || undefined;
  await patiently(`thread ${named.threadId} to come to rest`, atRest, () => crew.explain(named));
}

export interface Customer {
  readonly tenant: Tenant;
  readonly threadId: string;
  /** How long each of the two rounds takes. */
  readonly pauseMs?: number;
  /** How long a value each of them leaves in the state. */
  readonly ballastBytes?: number;
  /**
   * Asks in the end, under the same keys, which run carried each decision on. Who decides while the table cannot be
   * reached leaves the rest to a worker, who may find that the continuation of another decision does.
   */
  readonly asksAgain?: boolean;
}

/** The story as it was acknowledged, once it is over. */
export async function tell(
  crew: Crew,
  { tenant, threadId, pauseMs = 0, ballastBytes = 0, asksAgain = false }: Customer,
): Promise<Told> {
  const client = createPatient({ url: crew.url, headers: crew.headers(tenant) });
  const named = { tenant, threadId };
  const { body } = await client.send(`/threads/${threadId}/runs`, {
    key: `${threadId}-run`,
    body: { assistant_id: "reference", input: { pauseMs, ballastBytes }, if_not_exists: "create" },
  });
  const bothReviews = async (): Promise<readonly Hold[] | undefined> => {
    const found = await crew.look.waiting(named);
    return found.length === 2 ? found : undefined;
  };
  const holds = await patiently(`the reviews of ${threadId}`, bothReviews, () => crew.explain(named));
  const decideBoth = () =>
    Promise.all(
      holds.map(({ holdId, request }) =>
        decide(client, { threadId, id: `${threadId}.${holdId}`, title: request?.title }),
      ),
    );
  const first = await decideBoth();
  await restOf(crew, named);
  const decisions = asksAgain ? await decideBoth() : first;
  return { ...named, runs: [String(body["run_id"])], decisions, effects: EFFECTS, log: logOf() };
}

interface Review {
  readonly threadId: string;
  readonly id: string;
  readonly title: string | undefined;
}

async function decide(client: Patient, { threadId, id, title = "" }: Review): Promise<ToldDecision> {
  const answer = title === "first" ? ({ type: "edit", args: { amount: 2 } } as const) : ({ type: "approve" } as const);
  const comment = `comment on ${title}`;
  const { digest } = (await client.send(`/v1/reviews/${id}`)).body;
  const { body } = await client.send(`/v1/reviews/${id}/decisions`, {
    key: `${threadId}-${title}`,
    body: { ...answer, digest, comment },
  });
  const { continuation_run_id: continuation } = body["decision"] as { readonly continuation_run_id: string | null };
  return { reviewId: id, type: answer.type, comment, ...(continuation === null ? {} : { continuation }) };
}
