/**
 * Webhooks: what happened is told to an address, signed as Standard Webhooks says (https://www.standardwebhooks.com).
 * A delivery exists once for each event and endpoint; it is sent until the target has taken it, under one and the same id.
 */
import { createHmac } from "node:crypto";
import type { TenantId, ThreadId, RunId } from "./ids.ts";
import { namedUuid } from "./ids.ts";
import { canonicalJson } from "./json.ts";
import type { Run } from "./run.ts";
import { isEnded } from "./run.ts";

export const HOOK_EVENTS = [
  "run.ended",
  "review.opened",
  "review.escalated",
  "review.reminded",
  "review.decided",
] as const;
/** `webhook.test` is only ever sent on request. */
export type HookEventType = (typeof HOOK_EVENTS)[number] | "webhook.test";

/** The endpoint whose secret signs what is sent to the `webhook` of runs. */
export const RUN_ENDPOINT = "run";

/** A secret as it is stored: sealed, and written as base64. */
export interface HookSecret {
  readonly sealed: string;
  /** Table time until which a secret that was replaced signs along. */
  readonly until?: number;
}

/** `disabled`: the target said that it is gone. */
export type EndpointState = "active" | "paused" | "disabled";

/** An address that a tenant wants to be told at. */
export interface Endpoint {
  readonly tenant: TenantId;
  readonly endpointId: string;
  readonly url: string;
  readonly description: string;
  readonly events: readonly string[];
  /** Not empty: of reviews, only those that one of these groups decides. */
  readonly groups: readonly string[];
  readonly state: EndpointState;
  readonly reason?: string;
  /** Newest first; never shown again. */
  readonly secrets: readonly HookSecret[];
  readonly createdBy: string;
  readonly createdAt: number;
  readonly updatedAt: number;
}

/** Something that happened, as endpoints are told of it. */
export interface HookEvent {
  /** The same however often it is told. */
  readonly id: string;
  readonly type: HookEventType;
  /** Table time of the commit. */
  readonly at: number;
  /** Groups that decide the review it is about. */
  readonly groups: readonly string[];
  readonly threadId?: ThreadId;
  readonly runId?: RunId;
}

export type DeliveryState = "pending" | "delivered" | "dead";

/** One try. `status` is what the target answered; nothing else of its answer is kept. */
export interface Attempt {
  readonly at: number;
  readonly ms: number;
  readonly status?: number;
  readonly error?: string;
}

export interface HookDelivery {
  readonly tenant: TenantId;
  readonly endpointId: string;
  readonly deliveryId: string;
  readonly event: HookEvent;
  /** Of runs that name their own address. */
  readonly url?: string;
  readonly state: DeliveryState;
  readonly reason?: string;
  /** Table time at which it is to be sent next, or, while it is being sent, to be looked at again. */
  readonly nextAt: number;
  /** Its time has come, and it stands among what is ready. */
  readonly ready?: true;
  /** Table time after which it is not tried again. */
  readonly deadline: number;
  readonly tries: number;
  /** Tries since it was last asked for. */
  readonly round: number;
  /** The latest. */
  readonly attempts: readonly Attempt[];
  readonly createdAt: number;
  readonly updatedAt: number;
  /** Sealed. */
  readonly body: Uint8Array;
}

const NAMESPACE = "0f2d0d5e-3c0c-5d0f-9a51-7d1f5f0f4a10";
const DAY_MS = 24 * 3_600_000;
const KEPT_ATTEMPTS = 20;
/** Longer than a try may take: who does not say by then how it went has died. */
export const CLAIM_MS = 60_000;
const PAUSED_AGAIN_MS = 600_000;
const MAX_RETRY_AFTER_MS = 4 * 3_600_000;
const OLD_SECRET_MS = DAY_MS;

/** The id of an event: the same for every party that tells of it. */
export function eventId(type: HookEventType, subject: readonly (string | number)[]): string {
  return namedUuid(canonicalJson([type, ...subject]), NAMESPACE);
}

/** The id of the one delivery of an event to an endpoint; it is the `webhook-id` of every try. */
export function deliveryId(event: string, tenant: TenantId, endpoint: string): string {
  return namedUuid(canonicalJson([event, tenant, endpoint]), NAMESPACE);
}

/** Whether an endpoint wants to be told. */
export function wants(endpoint: Pick<Endpoint, "state" | "events" | "groups">, event: HookEvent): boolean {
  if (endpoint.state === "disabled" || !endpoint.events.includes(event.type)) return false;
  if (event.type === "run.ended" || endpoint.groups.length === 0) return true;
  return endpoint.groups.some((group) => event.groups.includes(group));
}

/** The end of a run, findable until everybody who wants to know has a delivery of their own (I11). */
export function announced(run: Run, wanted: boolean): Run {
  const isTold = isEnded(run.status) && run.status !== "refused" && (wanted || run.settings.webhook !== undefined);
  return isTold ? { ...run, hooksDue: true } : run;
}

/** Undefined when there was nothing left to tell. */
export function told(run: Run): Run | undefined {
  const { hooksDue, ...rest } = run;
  return hooksDue === undefined ? undefined : rest;
}

export function newDelivery(
  fields: Pick<HookDelivery, "tenant" | "endpointId" | "event" | "body"> & { readonly url?: string },
  now: number,
): HookDelivery {
  return {
    ...fields,
    deliveryId: deliveryId(fields.event.id, fields.tenant, fields.endpointId),
    state: "pending",
    nextAt: now,
    ready: true,
    deadline: now + DAY_MS,
    tries: 0,
    round: 0,
    attempts: [],
    createdAt: now,
    updatedAt: now,
  };
}

/** Its time has come. */
export function readied(delivery: HookDelivery): HookDelivery {
  return { ...delivery, ready: true };
}

/** Somebody sends it now. It stays findable, for when they die. */
export function claimed(delivery: HookDelivery, now: number): HookDelivery {
  const { ready: _, ...rest } = delivery;
  return { ...rest, nextAt: now + CLAIM_MS, tries: delivery.tries + 1, round: delivery.round + 1, updatedAt: now };
}

/** Its endpoint is paused: a try that does not count. */
export function postponed(delivery: HookDelivery, now: number): HookDelivery {
  if (now >= delivery.deadline) return dead(delivery, "its endpoint was paused for a day", now);
  const { ready: _, ...rest } = delivery;
  return { ...rest, nextAt: Math.min(now + PAUSED_AGAIN_MS, delivery.deadline), updatedAt: now };
}

export function dead(delivery: HookDelivery, reason: string, now: number): HookDelivery {
  const { ready: _, ...rest } = delivery;
  return { ...rest, state: "dead", reason, updatedAt: now };
}

/** Asked for again, or at once: under the same id, for another day. */
export function requeued(delivery: HookDelivery, now: number): HookDelivery {
  const { reason: _, ...rest } = delivery;
  return { ...rest, state: "pending", nextAt: now, ready: true, round: 0, deadline: now + DAY_MS, updatedAt: now };
}

/** What came of a try. */
export type Sent =
  | { readonly kind: "answered"; readonly status: number; readonly retryAfter?: string }
  | { readonly kind: "failed"; readonly error: string };

export interface Tried {
  readonly sent: Sent;
  readonly startedAt: number;
  readonly now: number;
  /** 0 to 1, for the jitter. */
  readonly random: number;
}

/** After a try. `gone`: the target never wants anything again. */
export function tried(delivery: HookDelivery, { sent, startedAt, now, random }: Tried): HookDelivery {
  const attempt: Attempt = {
    at: startedAt,
    ms: Math.max(0, now - startedAt),
    ...(sent.kind === "answered" ? { status: sent.status } : { error: sent.error.slice(0, 256) }),
  };
  const { ready: _, ...rest } = delivery;
  const next = { ...rest, attempts: [...delivery.attempts, attempt].slice(-KEPT_ATTEMPTS), updatedAt: now };
  if (isTaken(sent)) return { ...next, state: "delivered" };
  if (isGone(sent)) return { ...next, state: "dead", reason: "the target is gone (410)" };
  const waits = sent.kind === "answered" ? retryAfterMs(sent.retryAfter, now) : 0;
  const nextAt = now + Math.max(backOffMs(delivery.round, random), waits);
  if (nextAt > delivery.deadline) return { ...next, state: "dead", reason: "the target took nothing for a day" };
  return { ...next, nextAt };
}

const isTaken = (sent: Sent): boolean => sent.kind === "answered" && sent.status >= 200 && sent.status < 300;
export const isGone = (sent: Sent): boolean => sent.kind === "answered" && sent.status === 410;

const STEPS_MS = [5_000, 30_000, 120_000, 600_000, 1_800_000, 3_600_000, 7_200_000];

/** Milliseconds until the next try after the `round`th, give or take a fifth: what failed together does not return together. */
export function backOffMs(round: number, random: number): number {
  const step = STEPS_MS[Math.min(round, STEPS_MS.length) - 1] ?? STEPS_MS[0] ?? 0;
  return Math.round(step * (0.8 + 0.4 * random));
}

/** Seconds or a date, at most four hours; 0 for anything else, since a target is not to be trusted. */
export function retryAfterMs(text: string | undefined, now: number): number {
  if (text === undefined) return 0;
  const ms = /^\d{1,9}$/.test(text.trim()) ? Number(text) * 1000 : Date.parse(text) - now;
  return Number.isFinite(ms) ? Math.min(Math.max(0, ms), MAX_RETRY_AFTER_MS) : 0;
}

/** A new secret signs at once; the one before signs along for a day, so that the target can change over. */
export function rotated(endpoint: Endpoint, sealed: string, now: number): Endpoint {
  const [current] = endpoint.secrets;
  const old = current ? [{ sealed: current.sealed, until: now + OLD_SECRET_MS }] : [];
  return { ...endpoint, secrets: [{ sealed }, ...old], updatedAt: now };
}

export const SECRET_PREFIX = "whsec_";

export interface Signing {
  readonly id: string;
  /** Milliseconds since the epoch. */
  readonly at: number;
  readonly body: Uint8Array;
  /** Keys of all secrets that sign now, newest first. */
  readonly keys: readonly Uint8Array[];
}

/** The three headers of Standard Webhooks. */
export function signatureHeaders({ id, at, body, keys }: Signing): Readonly<Record<string, string>> {
  const timestamp = String(Math.floor(at / 1000));
  const sign = (key: Uint8Array): string =>
    `v1,${createHmac("sha256", key).update(`${id}.${timestamp}.`).update(body).digest("base64")}`;
  return { "webhook-id": id, "webhook-timestamp": timestamp, "webhook-signature": keys.map(sign).join(" ") };
}

/** One POST, and the only thing that this service ever sends to an address that a tenant named. */
export interface HookRequest {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  readonly signal: AbortSignal;
}

/** Sends without redirects, to addresses that may be reached, within a time-out; it never rejects. */
export interface HookSender extends AsyncDisposable {
  send(request: HookRequest): Promise<Sent>;
}
