/** A customer of the graph that waits: its callback is answered by two systems at once, and both ask again in the end. */
import { isWait } from "../../src/core/hold.ts";
import type { Crew, Tenant } from "./crew.ts";
import type { Told } from "./evidence.ts";
import type { Violation } from "./invariants.ts";
import { createPatient, patiently } from "./patient.ts";
import type { Reply } from "./patient.ts";
import { restOf } from "./story.ts";

const ANSWERS = ["one", "another"] as const;

interface Waited {
  readonly told: Told;
  /** What the callers of the callback were told that must not be. */
  readonly found: readonly Violation[];
}

/** Resolves when nothing waits any more. */
export async function waitThrough(crew: Crew, tenant: Tenant, threadId: string): Promise<Waited> {
  const named = { tenant, threadId };
  const client = createPatient({ url: crew.url, headers: crew.headers(tenant) });
  const { body } = await client.send(`/threads/${threadId}/runs`, {
    key: `${threadId}-run`,
    body: { assistant_id: "waits", input: {}, if_not_exists: "create" },
  });
  const handedOut = `${threadId} token `;
  const token = await patiently(
    `the token of ${threadId}`,
    () =>
      crew.outside
        .effects()
        .find(({ what }) => what.startsWith(handedOut))
        ?.what.slice(handedOut.length),
    () => crew.explain(named),
  );
  // Whoever has the token needs no key.
  const { send } = createPatient({ url: crew.url });
  const answer = (body: string) => send(`/v1/callbacks/${token}`, { body, answers: [200, 409] });
  const first = await Promise.all(ANSWERS.map(answer));
  await restOf(crew, named);
  const again = await Promise.all(ANSWERS.map(answer));
  const taken = ANSWERS.filter((_, i) => first[i]?.status === 200);
  const line = `came ${taken[0]}`;
  const acted = `acted after ${line}`;
  const holds = await crew.look.at(named).then((seen) => seen.holds);
  const review = holds.find((hold) => !isWait(hold));
  const told: Told = {
    ...named,
    runs: [String(body["run_id"])],
    decisions: holds.map((hold) => ({
      reviewId: `${threadId}.${hold.holdId}`,
      type: hold === review ? "approve" : "value",
    })),
    effects: [`token ${token}`, acted],
    log: ["woke", "expired as approve", "lapsed as timeout", line, acted],
  };
  return { told, found: [...doubted(threadId, first, again), ...tooMany(threadId, holds.length)] };
}

const INVARIANT = "one answer to a callback is taken, and told so whenever it is given again";

function doubted(threadId: string, first: readonly Reply[], again: readonly Reply[]): readonly Violation[] {
  const shown = (replies: readonly Reply[]): string => replies.map(({ status }) => status).join(" and ");
  const isOne = first.filter(({ status }) => status === 200).length === 1;
  const isSame = JSON.stringify(first.map(essence)) === JSON.stringify(again.map(essence));
  if (isOne && isSame) return [];
  return [{ invariant: INVARIANT, what: `${threadId}: ${shown(first)}, and again ${shown(again)}` }];
}

/** A refusal names its request, which is another one. */
const essence = ({ status, body }: Reply): unknown => (status === 200 ? body : status);

/** Four waits, each raised once, whoever dies. */
function tooMany(threadId: string, holds: number): readonly Violation[] {
  return holds === 4 ? [] : [{ invariant: "a wait is raised once", what: `${threadId}: ${holds} holds` }];
}
