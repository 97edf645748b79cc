/** Nothing of one tenant can be reached by another: asked over HTTP, with the ids of real threads (I8). */
import type { Crew } from "./crew.ts";
import { TENANTS } from "./crew.ts";
import type { Told } from "./evidence.ts";
import type { Violation } from "./invariants.ts";
import { createPatient } from "./patient.ts";

/** So many threads of each tenant are asked for. */
const SAMPLE = 3;

/** What the other tenant of each thread got to see. */
export async function reachableByOthers(crew: Crew, told: readonly Told[]): Promise<readonly Violation[]> {
  const found: Violation[] = [];
  for (const tenant of TENANTS) {
    const theirs = told.filter((one) => one.tenant !== tenant).slice(0, SAMPLE);
    const { send } = createPatient({ url: crew.url, headers: crew.headers(tenant) });
    const paths = theirs.flatMap(({ threadId, runs, decisions }) => [
      `/threads/${threadId}`,
      `/threads/${threadId}/state`,
      `/threads/${threadId}/history`,
      `/threads/${threadId}/runs`,
      ...runs.flatMap((run) => [`/threads/${threadId}/runs/${run}`, `/threads/${threadId}/runs/${run}/join`]),
      ...decisions.map(({ reviewId }) => `/v1/reviews/${reviewId}`),
    ]);
    for (const path of paths) {
      const { status } = await send(path, { answers: [200, 404] });
      if (status !== 404) found.push({ invariant: INVARIANT, what: `${tenant} was answered ${status} to ${path}` });
    }
    const { body } = await send("/v1/reviews?limit=1000&state=done");
    const listed = JSON.stringify(body);
    for (const { threadId } of theirs)
      if (listed.includes(threadId)) found.push({ invariant: INVARIANT, what: `${tenant} was shown ${threadId}` });
  }
  return found;
}

const INVARIANT = "nothing of a tenant can be reached by another";
