/**
 * What people, operators and time leave in the table, as this format has it, in the clear and encrypted: reviews that are
 * worked on and decided, timers and callbacks, settled effects, parked and repeated runs, webhooks and their deliveries,
 * crons, the audit log. Never to be regenerated: a change that breaks this test needs a new format, and a reader for both.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { auditId } from "../../src/core/audit.ts";
import type { AuditEntry } from "../../src/core/audit.ts";
import type { CallbackTarget } from "../../src/core/callback-token.ts";
import type { EffectEntry } from "../../src/core/effect.ts";
import type { Hold } from "../../src/core/hold.ts";
import { tenantId, threadId } from "../../src/core/ids.ts";
import { isNewerFormat } from "../../src/core/newer-format.ts";
import type { Run } from "../../src/core/run.ts";
import type { Schedule, ScheduledRequest } from "../../src/core/schedule.ts";
import type { Endpoint, HookDelivery } from "../../src/core/webhook.ts";
import { verifyChain } from "../../src/runtime/audit/verify.ts";
import { createDeps } from "../../src/runtime/create.ts";
import type { Deps } from "../../src/runtime/deps.ts";
import { keysOf, openBody } from "../../src/runtime/webhooks/secrets.ts";
import { sealedBlobs } from "../../src/storage/encryption/sealed-blobs.ts";
import { plainSealers } from "../../src/storage/encryption/sealer.ts";
import { createItemBlobs } from "../../src/storage/item-blobs.ts";
import { auditKeys, effectKeys, hookKeys, scheduleKeys, threadKeys } from "../../src/storage/keys.ts";
import type { Attributes, IndexEntries, Key, Value } from "../../src/storage/table.ts";
import { createMemoryTable } from "../support/memory-table.ts";
import type { MemoryTable } from "../support/memory-table.ts";
import { encryptionOn } from "../support/sealers.ts";
import { createKit } from "./runtime-kit.ts";

const KEY = "only-for-the-fixture-of-32-bytes";
const TENANT = tenantId("acme");
const REF = { tenant: TENANT, threadId: threadId("0b8f6f0e-3c63-4a53-9d5c-2f1c6f6f9a01") };
const TIME = 1_700_000_000_000;

type Kept = Value | { readonly base64: string };
interface Fixture {
  readonly told: {
    readonly holds: Readonly<Record<string, Hold>>;
    readonly effects: Readonly<Record<string, EffectEntry>>;
    readonly runs: Readonly<Record<string, Run>>;
    readonly endpoint: Endpoint;
    readonly deliveries: readonly HookDelivery[];
    /** Body of each delivery. */
    readonly text: string;
    readonly schedule: Schedule;
    readonly scheduled: ScheduledRequest;
    readonly entries: readonly AuditEntry[];
    readonly token: string;
    readonly callback: CallbackTarget;
  };
  readonly items: Readonly<Record<string, Readonly<Record<string, Kept>>>>;
  readonly index: Readonly<Record<string, IndexEntries>>;
}

const file = join(import.meta.dirname, "../fixtures/records/operated.json");
const fixtures = JSON.parse(readFileSync(file, "utf8")) as Readonly<Record<"plain" | "sealed", Fixture>>;

const bytesOr = (value: Kept): Value => {
  const base64 = typeof value === "object" && value !== null && "base64" in value ? value.base64 : undefined;
  return typeof base64 === "string" ? Uint8Array.from(Buffer.from(base64, "base64")) : value;
};

interface Opened {
  readonly table: MemoryTable;
  readonly deps: Deps;
}

/** A table with nothing but the fixture. `change` is applied to each item but those of the table itself and of keys. */
async function opened(kind: keyof typeof fixtures, change = (same: Attributes) => same): Promise<Opened> {
  const { items, index } = fixtures[kind];
  const table = createMemoryTable({ now: () => TIME });
  for (const [name, kept] of Object.entries(items)) {
    const [pk = "", sk = ""] = name.split(" ");
    const attributes = Object.fromEntries(Object.entries(kept).map(([at, value]) => [at, bytesOr(value)]));
    const isRecord = !pk.startsWith("#") && !pk.endsWith("#k") && !sk.startsWith("B#");
    const entries = index[name];
    const draft = { pk, sk, attributes: isRecord ? change(attributes) : attributes };
    await table.put({ ...draft, ...(entries === undefined ? {} : { index: entries }) }, "absent");
  }
  const sealers = kind === "sealed" ? encryptionOn(table, KEY).strict : plainSealers;
  const blobs = sealedBlobs(createItemBlobs({ table }), sealers);
  return { table, deps: createDeps({ ...createKit().deps, table, blobs, sealers }) };
}

const named = <T>(values: Readonly<Record<string, T>>): readonly (readonly [string, T])[] => Object.entries(values);
const hookAt = ({ endpointId, event, deliveryId }: HookDelivery): Key =>
  hookKeys.delivery(TENANT, endpointId, { ms: event.at, id: deliveryId });
async function valueOf<T>(reading: Promise<{ readonly value: T } | undefined>): Promise<T> {
  const found = await reading;
  if (!found) throw new Error("nothing was read");
  return found.value;
}

describe.each(["plain", "sealed"] as const)("what people and operators left, %s", (kind) => {
  const { told } = fixtures[kind];

  it("is encrypted where there are keys, and only there", () => {
    expect(JSON.stringify(fixtures[kind].items).includes("hazelnut")).toBe(kind === "plain");
  });

  it("is read as what was written: reviews, timers and callbacks", async () => {
    const { deps } = await opened(kind);
    for (const [name, hold] of named(told.holds))
      expect([name, await valueOf(deps.holds.get(REF, hold.holdId))]).toEqual([name, hold]);
    const open = await deps.holds.rows(TENANT, { open: true });
    expect((await deps.holds.ofRows(open, true)).map(({ holdId }) => holdId)).toEqual(["hold-worked"]);
    const waits = await deps.holds.rows(TENANT, { kind: "waits", open: true });
    expect(waits).toHaveLength(2);
    expect(await deps.callbacks.open(told.token)).toEqual(told.callback);
  });

  it("is read as what was written: effects with what operators said, and a long result", async () => {
    const { deps } = await opened(kind);
    for (const [name, entry] of named(told.effects))
      expect([name, await valueOf(deps.effects.get(TENANT, entry.root, entry.token))]).toEqual([name, entry]);
    const { long } = told.effects;
    if (!long?.outcome) throw new Error("it has an outcome");
    expect(await deps.effects.whole(TENANT, long.outcome)).toEqual({ kind: "result", value: "a long hazelnut" });
    const parked = await deps.effects.list(TENANT, "parked", {});
    expect(parked.items.map(({ token }) => token.slice(0, 1)).toSorted()).toEqual(["a", "d"]);
  });

  it("is read as what was written: runs that sleep for a timer, or were parked and tried again", async () => {
    const { deps } = await opened(kind);
    for (const [name, run] of named(told.runs)) {
      const read = await valueOf(deps.runs.get(REF, run.runId));
      expect([name, { ...read, payload: await deps.runs.payload(read) }]).toEqual([name, run]);
    }
    const failed = await deps.runs.rows(TENANT, { class: "parked" }, {});
    expect(failed.items.map(({ runId }) => runId)).toEqual([told.runs["parked"]?.runId]);
  });

  it("is read as what was written: webhooks, what is to be delivered, and a cron", async () => {
    const { deps } = await opened(kind);
    const endpoint = await valueOf(deps.webhooks.endpoint(TENANT, told.endpoint.endpointId));
    expect(endpoint).toEqual(told.endpoint);
    const [key] = await keysOf(deps, { ...endpoint, secrets: endpoint.secrets.slice(0, 1) }, TIME);
    expect(Buffer.from(key ?? "").toString("hex")).toBe("11".repeat(32));
    for (const wanted of told.deliveries) {
      const delivery = await valueOf(deps.webhooks.deliveryAt(hookAt(wanted)));
      const { body: _, ...rest } = delivery;
      expect(rest).toEqual(wanted);
      expect(Buffer.from(await openBody(deps, delivery)).toString()).toBe(told.text);
    }
    const record = await valueOf(deps.schedules.get(TENANT, told.schedule.scheduleId));
    const { sealed: _, ...schedule } = record;
    expect(schedule).toEqual(told.schedule);
    expect(await deps.schedules.open(record)).toEqual(told.scheduled);
  });

  it("is read as what was written: the audit log and its chain", async () => {
    const { deps } = await opened(kind);
    const kept = await deps.audit.kept(TENANT, told.entries.map(auditId));
    for (const [i, entry] of told.entries.entries()) {
      const { tenant: _, kind: of, key: __, at, ...content } = entry;
      const found = kept.find(({ id }) => id === auditId(entry));
      if (!found) throw new Error("it is not there");
      expect(found).toMatchObject({ kind: of, at, ...(i === 0 ? { link: 1 } : {}) });
      expect(await deps.audit.content(TENANT, found)).toEqual(content);
    }
    expect(await verifyChain(deps.audit, TENANT)).toMatchObject({ problems: [], links: 1, entries: 2 });
  });

  const READERS: readonly (readonly [string, (deps: Deps) => Promise<unknown>])[] = [
    ["a webhook", ({ webhooks }) => webhooks.endpoint(TENANT, told.endpoint.endpointId)],
    ["a delivery", ({ webhooks }) => Promise.all(told.deliveries.map((one) => webhooks.deliveryAt(hookAt(one))))],
    ["a cron", ({ schedules }) => schedules.get(TENANT, told.schedule.scheduleId)],
    ["entries of the audit log", ({ audit }) => audit.kept(TENANT, told.entries.map(auditId))],
    ["links of its chain", ({ audit }) => audit.links(TENANT, 1)],
  ];

  it.each(READERS)("is not judged in a format to come: %s", async (_, read) => {
    const { deps } = await opened(kind, () => ({ v: 3, x: Uint8Array.of(1, 2) }));
    const error: unknown = await read(deps).catch((thrown: unknown) => thrown);
    expect(isNewerFormat(error)).toBe(true);
  });

  it("keeps what a later version has added, when it is written again", async () => {
    const added = { zz: ["from", "later"] };
    const { deps, table } = await opened(kind, (attributes) => ({ ...attributes, ...added }));
    const endpoint = await deps.webhooks.endpoint(TENANT, told.endpoint.endpointId);
    const schedule = await deps.schedules.get(TENANT, told.schedule.scheduleId);
    const [wanted] = told.deliveries;
    const delivery = wanted && (await deps.webhooks.deliveryAt(hookAt(wanted)));
    const effect = told.effects["parked"];
    const { worked } = told.holds;
    const entry = effect && (await deps.effects.get(TENANT, effect.root, effect.token));
    if (!endpoint || !schedule || !wanted || !delivery || !entry || !worked) throw new Error("they are there");
    await deps.webhooks.putEndpoint({ ...endpoint.value, state: "paused" }, { version: endpoint.version });
    await deps.webhooks.putDelivery({ ...delivery.value, tries: 2 }, { version: delivery.version });
    await deps.schedules.put({ ...schedule.value, enabled: false }, { version: schedule.version });
    await deps.effects.put({ ...entry.value, updatedAt: TIME + 1 }, { version: entry.version });
    await deps.audit.mark(TENANT, told.entries.map(auditId), 1);
    for (const key of [
      hookKeys.endpoint(TENANT, told.endpoint.endpointId),
      hookAt(wanted),
      scheduleKeys.schedule(TENANT, told.schedule.scheduleId),
      effectKeys.entry(TENANT, entry.value.root, entry.value.token),
      ...told.entries.map((one) => auditKeys.entry(TENANT, auditId(one))),
      threadKeys.hold(REF, worked.holdId),
    ])
      expect([key.sk, (await table.get(key))?.attributes]).toMatchObject([key.sk, added]);
  });
});
