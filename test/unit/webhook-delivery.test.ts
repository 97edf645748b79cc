/** Each event is told once to each endpoint, wherever a process dies; what is sent again bears the same id. */
import { describe, expect, it } from "vitest";
import { runId } from "../../src/core/ids.ts";
import type { Run } from "../../src/core/run.ts";
import { announced } from "../../src/core/webhook.ts";
import type { HookDelivery, HookRequest, HookSender, Sent } from "../../src/core/webhook.ts";
import { createDeps } from "../../src/runtime/create.ts";
import type { Deps } from "../../src/runtime/deps.ts";
import { createCourier } from "../../src/runtime/webhooks/courier.ts";
import { sweepRun } from "../../src/runtime/worker/sweep.ts";
import type { Table } from "../../src/storage/table.ts";
import { createFaultyTable } from "../support/faulty-table.ts";
import { ALICE, createKit, inputFor } from "./runtime-kit.ts";
import type { Kit } from "./runtime-kit.ts";
import { pass, until } from "./runtime-pass.ts";

/** A target that remembers what it was sent. */
function target(answer: (n: number) => Sent | Promise<Sent> = () => ({ kind: "answered", status: 200 })) {
  const requests: HookRequest[] = [];
  const sender: HookSender = {
    send: async (request) => answer(requests.push(request)),
    [Symbol.asyncDispose]: async () => {},
  };
  return { requests, sender, ids: () => requests.map(({ headers }) => headers["webhook-id"]) };
}

const register = (kit: Kit, path = "/", as = ALICE) =>
  kit.runtime.webhooks.create(as, {
    url: `https://example.com${path}`,
    events: ["run.ended"],
    groups: [],
    description: "",
  });
const another = (kit: Kit, table: Table = kit.table, skewMs = 0): Deps => {
  const clock = { ...kit.clock, wall: () => kit.clock.wall() + skewMs };
  return createDeps({ ...kit.deps, table, clock });
};
const courierOf = (kit: Kit, sender: HookSender, deps: Deps = kit.deps) =>
  createCourier({ deps, assistants: kit.runtime.assistants as never, sender }); // no schedule is due
const log = async (kit: Kit, id: string, as = ALICE): Promise<readonly HookDelivery[]> =>
  (await kit.runtime.webhooks.deliveries(as, id, { limit: 100 })).items;

/** A run that has ended, and whose end nobody has been told yet. */
async function endedRun(kit: Kit): Promise<Run> {
  const run = await kit.runtime.runs.accept(ALICE, inputFor(undefined));
  const at = kit.table.now();
  const end = { at, holds: [], waiting: "unchanged", interrupts: [] } as const;
  const written = await kit.deps.runs.update(run, run.runId, (one) =>
    announced({ ...one, status: "success", end, updatedAt: at }, true),
  );
  if (!written) throw new Error("the run is gone");
  return written.value;
}

describe("the end of a run", () => {
  it("is told to each endpoint, wherever who tells dies, once", async () => {
    let points = 0;
    for (const when of ["before", "after"] as const) {
      for (let n = 1; ; n++) {
        const kit = createKit();
        const hooks = [await register(kit, "/a"), await register(kit, "/b")];
        const run = await endedRun(kit);
        const dying = createFaultyTable(kit.table, { random: () => 0.5, kill: { n, when, callers: "throw" } });
        await sweepRun(another(kit, dying), run, run.runId).catch(() => undefined);
        // It is found by its own row, by whoever comes by.
        for (let i = 0; i < 2; i++) await sweepRun(another(kit), run, run.runId);
        for (const { endpoint } of hooks)
          expect(await log(kit, endpoint.endpointId), `killed ${when} call ${n}`).toHaveLength(1);
        expect((await kit.deps.runs.get(run, run.runId))?.value.hooksDue).toBeUndefined();
        if (!dying.killed) break;
        points++;
      }
    }
    expect(points).toBeGreaterThan(10);
  });

  it("is told although its thread is deleted right after it", async () => {
    const kit = createKit();
    const { endpoint } = await register(kit);
    const run = await endedRun(kit);
    await kit.runtime.threads.remove(ALICE, run.threadId);
    expect(await kit.deps.runs.get(run, run.runId)).toBeUndefined();
    expect(await log(kit, endpoint.endpointId)).toHaveLength(1);
  });

  it("stays findable until it is told, and would be lost without its mark (negative control)", async () => {
    const kit = createKit();
    const { endpoint } = await register(kit);
    const run = await endedRun(kit);
    const rows = async () => (await kit.table.queryIndex("due", "default#0", { prefix: "t#" })).items;
    // Beside the entry of the audit log that has the endpoint.
    const due = async () => (await rows()).filter(({ key }) => key.sk.startsWith("R#")).length;
    expect(await due()).toBe(1);
    await kit.deps.runs.update(run, run.runId, (one) => {
      const { hooksDue: _, followUpAt: __, ...rest } = one;
      return rest;
    });
    expect(await due()).toBe(0);
    await sweepRun(kit.deps, run, run.runId);
    expect(await log(kit, endpoint.endpointId)).toEqual([]);
  });

  it("is told of every run that a worker ends or somebody cancels, and costs nothing where nobody wants to know", async () => {
    const kit = createKit();
    await using worker = kit.worker();
    worker.start();
    const before = await kit.runtime.runs.accept(ALICE, inputFor(undefined));
    await until(kit, async () => (await kit.deps.runs.get(before, before.runId))?.value.status === "success");
    expect((await kit.deps.runs.get(before, before.runId))?.value.hooksDue).toBeUndefined();
    const { endpoint } = await register(kit);
    const done = await kit.runtime.runs.accept(ALICE, inputFor(undefined));
    const later = await kit.runtime.runs.accept(ALICE, { ...inputFor(undefined), afterMs: 1e9 });
    const signal = new AbortController().signal;
    await kit.runtime.runs.cancel(ALICE, { threadId: later.threadId, runId: later.runId, wait: false, signal });
    const told = async () => new Set((await log(kit, endpoint.endpointId)).map(({ event }) => event.runId));
    await until(kit, async () => (await told()).size === 2);
    expect(await told()).toEqual(new Set([done.runId, later.runId]));
  });
});

describe("a delivery", () => {
  it("is made wherever who sends it dies, and what is sent twice bears the same id", async () => {
    let sentTwice = 0;
    for (const when of ["before", "after"] as const) {
      for (let n = 1; ; n++) {
        const kit = createKit();
        const { endpoint } = await register(kit);
        const run = await endedRun(kit);
        await sweepRun(kit.deps, run, run.runId);
        const { sender, ids } = target();
        const dying = createFaultyTable(kit.table, { random: () => 0.5, kill: { n, when, callers: "throw" } });
        await courierOf(kit, sender, another(kit, dying))
          .once()
          .catch(() => undefined);
        const healthy = courierOf(kit, sender, another(kit));
        // Nobody sends it while the one who died might: then it is due again.
        await healthy.once();
        kit.clock.advance(60_001);
        for (let i = 0; i < 3; i++) await healthy.once();
        expect(await log(kit, endpoint.endpointId), `killed ${when} call ${n}`).toMatchObject([{ state: "delivered" }]);
        expect(new Set(ids()).size).toBe(1);
        expect(ids().length).toBeLessThanOrEqual(2);
        if (ids().length === 2) sentTwice++;
        if (!dying.killed) break;
      }
    }
    // Between sending and saying so there is no other way: the id is what tells.
    expect(sentTwice).toBeGreaterThan(0);
  });

  it("is sent once by processes whose clocks are ten minutes apart", async () => {
    const kit = createKit();
    const { endpoint } = await register(kit);
    const run = await endedRun(kit);
    await sweepRun(kit.deps, run, run.runId);
    const { sender, ids } = target();
    const skewed = [0, 600_000, -600_000].map((ms) => courierOf(kit, sender, another(kit, kit.table, ms)));
    await Promise.all([...skewed, ...skewed].map((one) => one.once()));
    expect(ids()).toHaveLength(1);
    expect(await log(kit, endpoint.endpointId)).toMatchObject([{ state: "delivered", tries: 1 }]);
  });

  it("is tried again until it is taken, at the target's pace", async () => {
    const kit = createKit();
    const { endpoint } = await register(kit);
    const run = await endedRun(kit);
    await sweepRun(kit.deps, run, run.runId);
    const { sender, ids } = target((n) =>
      n < 3 ? { kind: "answered", status: 503, retryAfter: "100" } : { kind: "answered", status: 200 },
    );
    const courier = courierOf(kit, sender);
    await courier.once();
    await courier.once();
    expect(ids()).toHaveLength(1);
    for (const _ of [1, 2]) {
      kit.clock.advance(100_000);
      await courier.once(); // its time has come
      await courier.once();
    }
    expect(await log(kit, endpoint.endpointId)).toMatchObject([
      { state: "delivered", tries: 3, attempts: [{ status: 503 }, { status: 503 }, { status: 200 }] },
    ]);
    expect(new Set(ids()).size).toBe(1);
  });

  it("of an endpoint that hangs, with hundreds behind it, keeps no other waiting", async () => {
    const kit = createKit();
    const bob = { ...ALICE, tenant: "globex" as typeof ALICE.tenant };
    const { endpoint: slow } = await register(kit, "/slow");
    const { endpoint: quick } = await register(kit, "/quick");
    const { endpoint: other } = await register(kit, "/other", bob);
    for (let i = 0; i < 300; i++) await kit.runtime.webhooks.test(ALICE, slow.endpointId);
    await kit.runtime.webhooks.test(ALICE, quick.endpointId);
    await kit.runtime.webhooks.test(bob, other.endpointId);
    const requests: string[] = [];
    const hangs = new Promise<Sent>(() => {});
    const sender: HookSender = {
      async send({ url }) {
        requests.push(new URL(url).pathname);
        return url.endsWith("/slow") ? hangs : { kind: "answered", status: 200 };
      },
      [Symbol.asyncDispose]: async () => {},
    };
    const courier = courierOf(kit, sender);
    courier.start();
    await pass(kit, 2000);
    expect(requests.filter((path) => path === "/slow")).toHaveLength(4);
    expect(await log(kit, quick.endpointId)).toMatchObject([{ state: "delivered" }]);
    expect(await log(kit, other.endpointId, bob)).toMatchObject([{ state: "delivered" }]);
  });

  it("whose endpoint was deleted is given up, and sent nowhere", async () => {
    const kit = createKit();
    const { endpoint } = await register(kit);
    await kit.runtime.webhooks.test(ALICE, endpoint.endpointId);
    await kit.runtime.webhooks.remove(ALICE, endpoint.endpointId);
    const { sender, ids } = target();
    await courierOf(kit, sender).once();
    expect(ids()).toEqual([]);
    const rows = await kit.table.queryIndex("due", "#hooks#0", {});
    expect(rows.items).toEqual([]);
  });
});

it("a run of another tenant is told to nobody", async () => {
  const kit = createKit();
  const bob = { ...ALICE, tenant: "globex" as typeof ALICE.tenant };
  const { endpoint } = await register(kit, "/", bob);
  const run = await endedRun(kit);
  await sweepRun(kit.deps, run, runId(run.runId));
  expect(await log(kit, endpoint.endpointId, bob)).toEqual([]);
});
