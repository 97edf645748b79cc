/** What becomes of a delivery, and how it is signed. */
import { Webhook } from "standardwebhooks";
import { describe, expect, it } from "vitest";
import { tenantId } from "../../src/core/ids.ts";
import {
  CLAIM_MS,
  backOffMs,
  claimed,
  newDelivery,
  postponed,
  requeued,
  retryAfterMs,
  signatureHeaders,
  tried,
  wants,
} from "../../src/core/webhook.ts";
import type { HookDelivery, HookEvent, Sent } from "../../src/core/webhook.ts";

const NOW = 1_700_000_000_000;
const EVENT: HookEvent = { id: "e", type: "review.opened", at: NOW, groups: ["payments"] };
const body = Buffer.from('{"type":"review.opened"}');
const fresh = newDelivery({ tenant: tenantId("acme"), endpointId: "w", event: EVENT, body }, NOW);
const answered = (status: number, retryAfter?: string): Sent => ({
  kind: "answered",
  status,
  ...(retryAfter === undefined ? {} : { retryAfter }),
});
const after = (delivery: HookDelivery, sent: Sent, now = NOW) =>
  tried(claimed(delivery, now), { sent, startedAt: now, now, random: 0.5 });

describe("a signature", () => {
  const key = Buffer.alloc(32, 7);
  const old = Buffer.alloc(32, 8);
  const secret = (bytes: Buffer): string => `whsec_${bytes.toString("base64")}`;
  const at = Date.now();

  it("is one that the reference implementation verifies, with the new secret and the one before", () => {
    const headers = signatureHeaders({ id: "msg_1", at, body, keys: [key, old] });
    const text = body.toString();
    expect(new Webhook(secret(key)).verify(text, headers)).toEqual({ type: "review.opened" });
    expect(new Webhook(secret(old)).verify(text, headers)).toEqual({ type: "review.opened" });
    expect(headers["webhook-signature"]?.split(" ")[0]).toBe(
      new Webhook(secret(key)).sign("msg_1", new Date(at), text),
    );
  });

  it("does not hold for another body, id, time or secret", () => {
    const headers = signatureHeaders({ id: "msg_1", at, body, keys: [key] });
    const verify =
      (changed: object, text = body.toString(), bytes = key) =>
      () =>
        new Webhook(secret(bytes)).verify(text, { ...headers, ...changed });
    expect(verify({}, '{"type":"forged"}')).toThrow(/signature|timestamp/i);
    expect(verify({ "webhook-id": "msg_2" })).toThrow(/signature|timestamp/i);
    expect(verify({ "webhook-timestamp": String(Math.floor(at / 1000) - 600) })).toThrow(/signature|timestamp/i);
    expect(verify({}, body.toString(), old)).toThrow(/signature|timestamp/i);
    expect(verify({})).not.toThrow();
  });
});

describe("a delivery", () => {
  it("has the same id for the same event and endpoint, and another one for every other", () => {
    const again = newDelivery({ tenant: fresh.tenant, endpointId: "w", event: EVENT, body }, NOW + 5);
    expect(again.deliveryId).toBe(fresh.deliveryId);
    const other = newDelivery({ tenant: fresh.tenant, endpointId: "v", event: EVENT, body }, NOW);
    const ofOther = newDelivery({ tenant: tenantId("globex"), endpointId: "w", event: EVENT, body }, NOW);
    expect(new Set([fresh.deliveryId, other.deliveryId, ofOther.deliveryId]).size).toBe(3);
  });

  it.each([200, 201, 204, 299])("is delivered by a %i", (status) => {
    expect(after(fresh, answered(status))).toMatchObject({ state: "delivered", tries: 1, attempts: [{ status }] });
  });

  it.each([301, 307, 400, 401, 404, 429, 500, 503, 100])("is tried again after a %i", (status) => {
    expect(after(fresh, answered(status))).toMatchObject({ state: "pending", nextAt: NOW + backOffMs(1, 0.5) });
  });

  it("is given up at a 410", () => {
    expect(after(fresh, answered(410))).toMatchObject({ state: "dead" });
  });

  it("stays findable while it is being sent", () => {
    expect(claimed(fresh, NOW)).toMatchObject({ state: "pending", nextAt: NOW + CLAIM_MS });
    expect(claimed(fresh, NOW).ready).toBeUndefined();
  });

  it("is tried for a day, ever less often, and then given up", () => {
    let delivery: HookDelivery = fresh;
    let tries = 0;
    while (delivery.state === "pending") {
      delivery = after(delivery, { kind: "failed", error: "no answer in time" }, delivery.nextAt);
      tries++;
    }
    expect(delivery).toMatchObject({ state: "dead", reason: "the target took nothing for a day" });
    expect(delivery.updatedAt - NOW).toBeGreaterThan(20 * 3_600_000);
    expect(delivery.updatedAt - NOW).toBeLessThanOrEqual(24 * 3_600_000);
    expect(tries).toBeGreaterThan(12);
    expect(tries).toBeLessThan(25);
  });

  it("asked for again has a day of its own, and its id", () => {
    const given = after(fresh, answered(410));
    const again = requeued(given, NOW + 1e9);
    expect(again).toMatchObject({ state: "pending", ready: true, deliveryId: fresh.deliveryId, round: 0, tries: 1 });
    expect(again.deadline).toBe(NOW + 1e9 + 86_400_000);
  });

  it("of a paused endpoint waits for a day, and no longer", () => {
    expect(postponed(fresh, NOW)).toMatchObject({ state: "pending", tries: 0, nextAt: NOW + 600_000 });
    expect(postponed(fresh, fresh.deadline)).toMatchObject({ state: "dead" });
  });
});

describe("the time until the next try", () => {
  it("is jittered by a fifth, so that what failed together does not return together", () => {
    expect([backOffMs(1, 0), backOffMs(1, 1)]).toEqual([4000, 6000]);
    expect(backOffMs(99, 0.5)).toBe(7_200_000);
  });

  it.each([
    ["120", 120_000],
    [new Date(NOW + 30_000).toUTCString(), 30_000],
    ["99999999", 4 * 3_600_000],
    ["-5", 0],
    ["soon", 0],
    [undefined, 0],
  ])("honours Retry-After %s, within bounds", (text, ms) => {
    expect(retryAfterMs(text, NOW)).toBe(ms);
  });

  it("is at least what the target asks for", () => {
    expect(after(fresh, answered(503, "3600")).nextAt).toBe(NOW + 3_600_000);
    expect(after(fresh, answered(503, "0")).nextAt).toBe(NOW + backOffMs(1, 0.5));
  });
});

describe("an endpoint", () => {
  const endpoint = { state: "active", events: ["review.opened", "run.ended"], groups: [] } as const;
  it("is told of what it asked for, of reviews only those of its groups", () => {
    expect(wants(endpoint, EVENT)).toBe(true);
    expect(wants({ ...endpoint, groups: ["payments", "x"] }, EVENT)).toBe(true);
    expect(wants({ ...endpoint, groups: ["legal"] }, EVENT)).toBe(false);
    expect(wants({ ...endpoint, groups: ["legal"] }, { ...EVENT, type: "run.ended", groups: [] })).toBe(true);
    expect(wants({ ...endpoint, events: ["run.ended"] }, EVENT)).toBe(false);
    expect(wants({ ...endpoint, state: "paused" }, EVENT)).toBe(true);
    expect(wants({ ...endpoint, state: "disabled" }, EVENT)).toBe(false);
  });
});
