/** Webhooks and schedules on every engine: told once, fired once, by processes that race for it. */
import { describe, expect, it } from "vitest";
import { firingIds } from "../../src/core/schedule.ts";
import { announced } from "../../src/core/webhook.ts";
import type { HookRequest, HookSender } from "../../src/core/webhook.ts";
import { createDeps, createRuntime } from "../../src/runtime/create.ts";
import { createCourier } from "../../src/runtime/webhooks/courier.ts";
import { sweepRun } from "../../src/runtime/worker/sweep.ts";
import { scheduleKeys } from "../../src/storage/keys.ts";
import type { Table } from "../../src/storage/table.ts";
import { engines } from "../support/engines.ts";
import { EVERY_MINUTE } from "../support/schedule.ts";
import { ALICE, createKit, inputFor } from "../unit/runtime-kit.ts";

const MINUTE = 60_000;
const { settings } = inputFor(undefined);
const request = { payload: { input: {} }, settings: { ...settings, onCompletion: "keep" as const }, body: {} };

/** A process on this table, and a target that remembers. The table's time is ahead by `aheadMs`. */
function processOn(table: Table, aheadMs = 0) {
  const kit = createKit();
  const deps = createDeps({ ...kit.deps, table: { ...bound(table), now: () => table.now() + aheadMs } });
  const runtime = createRuntime(deps);
  const requests: HookRequest[] = [];
  const sender: HookSender = {
    async send(sent) {
      requests.push(sent);
      return { kind: "answered", status: 200 };
    },
    [Symbol.asyncDispose]: async () => {},
  };
  return { deps, runtime, requests, courier: createCourier({ deps, assistants: runtime.assistants, sender }) };
}

/** Adapters may be classes, whose methods a spread leaves behind. */
const bound = (table: Table): Table => ({
  get: (...args) => table.get(...args),
  put: (...args) => table.put(...args),
  remove: (...args) => table.remove(...args),
  query: (...args) => table.query(...args),
  queryIndex: (...args) => table.queryIndex(...args),
  batchGet: (...args) => table.batchGet(...args),
  batchPut: (...args) => table.batchPut(...args),
  add: (...args) => table.add(...args),
  now: () => table.now(),
  [Symbol.asyncDispose]: async () => {},
});

describe.each(engines())("on $name", (engine) => {
  it("the end of a run is told once to each endpoint, signed and logged", async () => {
    await using opened = await engine.open();
    const [one, two] = [processOn(opened.table), processOn(await opened.another())];
    const { endpoint } = await one.runtime.webhooks.create(ALICE, {
      url: "https://example.com/hook",
      events: ["run.ended"],
      groups: [],
      description: "",
    });
    const run = await one.runtime.runs.accept(ALICE, inputFor(undefined));
    const at = one.deps.table.now();
    await one.deps.runs.update(run, run.runId, (current) =>
      announced(
        { ...current, status: "success", updatedAt: at, end: { at, holds: [], waiting: "unchanged", interrupts: [] } },
        true,
      ),
    );
    await Promise.all([one, two, one, two].map(({ deps }) => sweepRun(deps, run, run.runId)));
    await Promise.all([one, two].map(({ courier }) => courier.once()));
    const page = await two.runtime.webhooks.deliveries(ALICE, endpoint.endpointId, { limit: 10 });
    expect(page.items).toMatchObject([
      { state: "delivered", tries: 1, event: { type: "run.ended", runId: run.runId } },
    ]);
    const sent = [...one.requests, ...two.requests];
    expect(sent).toHaveLength(1);
    expect(sent[0]?.headers["webhook-id"]).toBe(page.items[0]?.deliveryId);
    expect((await two.deps.runs.get(run, run.runId))?.value.hooksDue).toBeUndefined();
  });

  it("a due time is fired once", async () => {
    await using opened = await engine.open();
    const first = processOn(opened.table);
    const { schedule } = await first.runtime.schedules.create(ALICE, {
      ...EVERY_MINUTE,
      request,
    });
    const dueAt = schedule.nextAt ?? NaN;
    await first.courier.once();
    const { runId, threadId } = firingIds(schedule, dueAt);
    const ref = { tenant: ALICE.tenant, threadId };
    expect(await first.deps.runs.get(ref, runId)).toBeUndefined();
    const racing = [processOn(opened.table, MINUTE), processOn(await opened.another(), MINUTE)];
    await Promise.all([...racing, ...racing].map(({ courier }) => courier.once()));
    expect(await first.deps.runs.list(ref, 0)).toHaveLength(1);
    const key = scheduleKeys.schedule(ALICE.tenant, schedule.scheduleId);
    const after = (await first.deps.schedules.at(key))?.value;
    expect(after).toMatchObject({ firing: [], last: { runId } });
    expect(after?.nextAt).toBeGreaterThan(dueAt);
  });
});
