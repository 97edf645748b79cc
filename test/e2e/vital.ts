/** What must go on however many runs are asked for: decisions, cancels and reads, once a second each. */
import { randomUUID } from "node:crypto";
import type { Crew } from "../crash/crew.ts";
import type { Told } from "../crash/evidence.ts";
import { atRate } from "../support/load.ts";
import type { Answer, Caller } from "../support/load.ts";
import { until } from "../support/process.ts";

export interface Vital {
  readonly answers: readonly Answer[];
  /** The runs that were decided, and those that were cancelled. */
  readonly told: readonly Told[];
}

interface Service {
  readonly crew: Crew;
  readonly caller: Caller;
}

interface Waiting {
  readonly threadId: string;
  readonly runId: string;
}

const TENANT = "acme";
const LATER = { input: { name: "later", steps: 1, pauseMs: 1, taken: 0 }, after_seconds: 3600 };

/** Makes reviews that wait and runs that are to begin later; the answer begins to decide the ones and cancel the others. */
export async function carryOn({ crew, caller }: Service, seconds: number): Promise<() => Promise<Vital>> {
  const headers = crew.headers(TENANT);
  const make = async (assistant: string, body: object): Promise<Waiting> => {
    const threadId = randomUUID();
    const run = { assistant_id: assistant, input: {}, if_not_exists: "create", stream_mode: [], ...body };
    const { text } = await caller.call("POST", `/threads/${threadId}/runs`, run, headers);
    return { threadId, runId: (JSON.parse(text) as { readonly run_id: string }).run_id };
  };
  const asking = await Promise.all(Array.from({ length: seconds }, () => make("ask", {})));
  const asleep = await Promise.all(Array.from({ length: seconds }, () => make("walk", LATER)));
  const open = await until("all reviews wait", () => reviews(caller, headers, seconds), 60_000);
  return async () => {
    const answers: Answer[] = [];
    const decided: Told[] = [];
    await atRate(1, seconds, async (n) => {
      const [asked, cancelled] = [asking[n], asleep[n]];
      if (!asked || !cancelled) return;
      const { id = "", digest = "" } = open.find((review) => review.id.startsWith(asked.threadId)) ?? {};
      const comment = `under load ${n}`;
      const [decision, ...others] = await Promise.all([
        caller.call("POST", `/v1/reviews/${id}/decisions`, { type: "approve", digest, comment }, headers),
        caller.call("POST", `/threads/${cancelled.threadId}/runs/${cancelled.runId}/cancel`, undefined, headers),
        caller.call("GET", `/threads/${asked.threadId}`, undefined, headers),
        caller.call("GET", "/v1/reviews", undefined, headers),
      ]);
      answers.push(decision, ...others);
      decided.push(toldOfDecision({ ...asked, reviewId: id, comment }, decision));
    });
    return { answers, told: [...decided, ...asleep.map(toldOfCancel)] };
  };
}

interface Review {
  readonly id: string;
  readonly digest: string;
}

/** All of them, once there are so many. */
async function reviews(
  caller: Caller,
  headers: Readonly<Record<string, string>>,
  count: number,
): Promise<readonly Review[] | undefined> {
  const { text } = await caller.call("GET", "/v1/reviews?limit=200", undefined, headers);
  const { items } = JSON.parse(text) as { readonly items: readonly Review[] };
  return items.length === count ? items : undefined;
}

interface Asked extends Waiting {
  readonly reviewId: string;
  readonly comment: string;
}

function toldOfDecision({ threadId, runId, reviewId, comment }: Asked, { status, text }: Answer): Told {
  const { decision } = JSON.parse(text) as { readonly decision?: { readonly continuation_run_id: string | null } };
  const continuation = decision?.continuation_run_id;
  const line = `approve 1 ${comment}`;
  return {
    tenant: TENANT,
    threadId,
    runs: [runId],
    decisions:
      status === 200 ? [{ reviewId, type: "approve", comment, ...(continuation ? { continuation } : {}) }] : [],
    effects: [line],
    log: [line, `acted on ${line}`],
    ends: ["held"],
  };
}

const toldOfCancel = ({ threadId, runId }: Waiting): Told => ({
  tenant: TENANT,
  threadId,
  runs: [runId],
  decisions: [],
  effects: [],
  ends: ["cancelled"],
});
