/**
 * From what was committed to deliveries. The commit stays findable until each endpoint that wants to know has a delivery
 * (I11): the end of a run by a mark on its item, a decision by its follow-up. A delivery's key follows from event and
 * endpoint, and it is put with `absent`: however often this is done, there is one.
 */
import { isHoldpointError } from "../../core/errors.ts";
import { isWait, namesHold } from "../../core/hold.ts";
import type { Hold } from "../../core/hold.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import type { Run } from "../../core/run.ts";
import { RUN_ENDPOINT, eventId, newDelivery, told, wants } from "../../core/webhook.ts";
import type { HookEvent } from "../../core/webhook.ts";
import type { TenantId } from "../../core/ids.ts";
import type { Deps } from "../deps.ts";
import { createStateReader } from "../state-reader.ts";
import { endOfRun, holdData, iso, runData } from "./event-data.ts";
import { ensureRunEndpoint } from "./run-endpoint.ts";
import { sealBody } from "./secrets.ts";

/** Longer ones are sent without the values of the thread: they are read through the API. */
const MAX_BODY_BYTES = 256 * 1024;

interface Told {
  readonly tenant: TenantId;
  readonly event: HookEvent;
  readonly data: JsonObject;
}

/** Tells of the end of a run, and of the reviews that it ended with; then, and not before, clears its mark. */
export async function tellOfEnd(deps: Deps, run: Run): Promise<void> {
  await makeDeliveriesOfEnd(deps, run).catch((error: unknown) => untellable(deps, run, error));
  await deps.runs.update(run, run.runId, told);
}

/** A tenant whose keys were dropped is told nothing any more, and what it had goes all the same. */
export function untellable({ log }: Deps, { threadId, runId }: Run, error: unknown): void {
  if (!isHoldpointError(error, "gone")) throw error;
  log.warn({ thread: threadId, run: runId, err: error }, "nobody can be told of the end of a run");
}

export async function makeDeliveriesOfEnd(deps: Deps, run: Run): Promise<void> {
  const { tenant, threadId, runId } = run;
  const at = run.end?.at ?? run.updatedAt;
  const event: HookEvent = {
    id: eventId("run.ended", [tenant, threadId, runId]),
    type: "run.ended",
    at,
    groups: [],
    threadId,
    runId,
  };
  if (run.settings.webhook !== undefined) await tellOwn(deps, run, event, run.settings.webhook);
  await tell(deps, { tenant, event, data: runData(run) });
  for (const { value: hold } of await deps.holds.getMany(run, run.end?.holds ?? []))
    if (namesHold(run, hold) && !isWait(hold)) await tell(deps, opened(hold));
}

function opened(hold: Hold): Told {
  const { tenant, threadId, holdId, runId, raisedAt } = hold;
  const id = eventId("review.opened", [tenant, threadId, holdId]);
  const groups = hold.request?.groups ?? [];
  return {
    tenant,
    event: { id, type: "review.opened", at: raisedAt, groups, threadId, runId },
    data: holdData(hold),
  };
}

/** Tells of a decision on a review, unless nobody wants to know. To be awaited before anything clears what makes the hold findable. */
export async function tellOfDecision(deps: Deps, hold: Hold): Promise<void> {
  const { tenant, threadId, holdId, runId, decision, state } = hold;
  if (!decision || state !== "decided" || isWait(hold) || !(await deps.interests.inDecisions(tenant))) return;
  const id = eventId("review.decided", [tenant, threadId, holdId, decision.id]);
  const groups = hold.request?.groups ?? [];
  const event: HookEvent = { id, type: "review.decided", at: decision.at, groups, threadId, runId };
  await tell(deps, { tenant, event, data: holdData(hold) });
}

/**
 * Tells of what time makes of a review that stays open, before that is written: it is due until then. `at`: the time that
 * had come, so that whoever does it again tells of the same event.
 */
export async function tellInTime(
  deps: Deps,
  hold: Hold,
  { type, at }: { readonly type: "review.escalated" | "review.reminded"; readonly at: number },
): Promise<void> {
  const { tenant, threadId, holdId, runId } = hold;
  const id = eventId(type, [tenant, threadId, holdId, at]);
  const groups = hold.request?.groups ?? [];
  await tell(deps, { tenant, event: { id, type, at, groups, threadId, runId }, data: holdData(hold) });
}

async function tell(deps: Deps, { tenant, event, data }: Told): Promise<void> {
  const endpoints = (await deps.webhooks.endpoints(tenant)).filter((endpoint) => wants(endpoint, event));
  if (endpoints.length === 0) return;
  const text = JSON.stringify({ type: event.type, timestamp: iso(event.at), data });
  const body = await sealBody(deps, tenant, event.id, text);
  const now = deps.table.now();
  await Promise.all(
    endpoints.map(({ endpointId }) =>
      deps.webhooks.putDelivery(newDelivery({ tenant, endpointId, event, body }, now), "absent"),
    ),
  );
}

/** To the address that the run names itself: the body that LangGraph's servers send. */
async function tellOwn(deps: Deps, run: Run, event: HookEvent, url: string): Promise<void> {
  const { tenant } = run;
  await ensureRunEndpoint(deps, tenant);
  const [metadata, values] = await Promise.all([metadataOf(deps, run), valuesOf(deps, run)]);
  const now = deps.table.now();
  const whole = JSON.stringify(endOfRun(run, { metadata, values, now }));
  const text =
    Buffer.byteLength(whole) <= MAX_BODY_BYTES
      ? whole
      : JSON.stringify({ ...endOfRun(run, { metadata: {}, values: null, now }), values_omitted: true });
  const body = await sealBody(deps, tenant, event.id, text);
  await deps.webhooks.putDelivery(newDelivery({ tenant, endpointId: RUN_ENDPOINT, event, body, url }, now), "absent");
}

async function metadataOf(deps: Deps, run: Run): Promise<JsonObject> {
  return (await deps.runs.payload(run).catch((error: unknown) => unreadable(deps, run, error)))?.metadata ?? {};
}

async function valuesOf(deps: Deps, run: Run): Promise<Json> {
  const checkpointId = run.end?.checkpointId;
  if (checkpointId === undefined) return null;
  const read = createStateReader(deps).valuesAt(run, { ns: "", checkpointId });
  return (await read.catch((error: unknown) => unreadable(deps, run, error))) ?? null;
}

/** What can never be read must not keep the rest from being told. */
function unreadable(deps: Deps, run: Run, error: unknown): undefined {
  if (isHoldpointError(error, "unavailable")) throw error;
  deps.log.warn({ thread: run.threadId, run: run.runId, err: error }, "a webhook goes without what cannot be read");
}
