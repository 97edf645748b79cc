/** Schedules are fired exactly once for each due time, by however many processes, wherever one of them dies. */
import { describe, expect, it } from "vitest";
import { isEnded } from "../../src/core/run.ts";
import { firingIds } from "../../src/core/schedule.ts";
import type { Schedule } from "../../src/core/schedule.ts";
import { createDeps, createRuntime } from "../../src/runtime/create.ts";
import type { Deps } from "../../src/runtime/deps.ts";
import { fireDue } from "../../src/runtime/schedules/fire.ts";
import type { NewSchedule } from "../../src/runtime/schedules/use-cases.ts";
import { scheduleKeys } from "../../src/storage/keys.ts";
import type { Table } from "../../src/storage/table.ts";
import { createFaultyTable } from "../support/faulty-table.ts";
import { EVERY_MINUTE } from "../support/schedule.ts";
import { ALICE, createKit, inputFor } from "./runtime-kit.ts";
import type { Kit } from "./runtime-kit.ts";
import { until } from "./runtime-pass.ts";

const MINUTE = 60_000;
const wanted: NewSchedule = {
  ...EVERY_MINUTE,
  request: { payload: { input: {} }, settings: { ...inputFor(undefined).settings, onCompletion: "keep" }, body: {} },
};

async function schedule(kit: Kit, fields: Partial<NewSchedule> = {}): Promise<Schedule> {
  return (await kit.runtime.schedules.create(ALICE, { ...wanted, ...fields })).schedule;
}

const keyOf = ({ tenant, scheduleId }: Schedule) => scheduleKeys.schedule(tenant, scheduleId);
/** Another process, on the table as `adapt` makes it, whose wall clock is wrong by `skewMs`. */
function another(kit: Kit, table: Table = kit.table, skewMs = 0): Deps {
  const clock = { ...kit.clock, wall: () => kit.clock.wall() + skewMs };
  return createDeps({ ...kit.deps, table, clock });
}
const fire = (deps: Deps, of: Schedule) => fireDue(deps, createRuntime(deps).assistants, keyOf(of));
const runOf = async (kit: Kit, of: Schedule, dueAt: number) => {
  const { runId, threadId } = firingIds(of, dueAt);
  return (await kit.deps.runs.get({ tenant: of.tenant, threadId }, runId))?.value;
};
const now = async (kit: Kit, of: Schedule) => (await kit.runtime.schedules.get(ALICE, of.scheduleId)).schedule;
const due = (of: Schedule): number => of.nextAt ?? NaN;
const toDue = (kit: Kit, of: Schedule) => kit.clock.advance(due(of) - kit.clock.wall() + 10);

describe("a schedule", () => {
  it("is fired at its time, not before, and once, by processes whose clocks are ten minutes apart", async () => {
    const kit = createKit();
    const made = await schedule(kit);
    const processes = [another(kit), another(kit, kit.table, 600_000), another(kit, kit.table, -600_000)];
    await Promise.all(processes.map((deps) => fire(deps, made)));
    expect(await runOf(kit, made, due(made))).toBeUndefined();
    toDue(kit, made);
    await Promise.all([...processes, ...processes].map((deps) => fire(deps, made)));
    const run = await runOf(kit, made, due(made));
    expect(run).toMatchObject({ status: "pending", startedBy: "alice" });
    expect(await now(kit, made)).toMatchObject({ nextAt: due(made) + MINUTE, firing: [], last: { dueAt: due(made) } });
    const executed: string[] = [];
    await using worker = kit.worker({
      drive: async ({ run: driven }) => {
        executed.push(driven.runId);
        return { kind: "done" };
      },
    });
    worker.start();
    await until(kit, async () => isEnded((await runOf(kit, made, due(made)))?.status ?? "pending"));
    expect(executed).toEqual([run?.runId]);
  });

  it("is fired in the name of who has last changed what it sends, and not of who has paused it", async () => {
    const kit = createKit();
    const made = await schedule(kit);
    const { schedules } = kit.runtime;
    const by = (subject: string) => ({ ...ALICE, subject });
    const other = { ...wanted.request, payload: { input: { amount: 7 } } };
    await schedules.update(by("bob"), made.scheduleId, () => ({ request: other }));
    const metadata = { note: "later" };
    const noted = { ...other, payload: { ...other.payload, metadata } };
    await schedules.update(by("eve"), made.scheduleId, () => ({ enabled: true, metadata, request: noted }));
    expect(await now(kit, made)).toMatchObject({ createdBy: "alice" });
    toDue(kit, made);
    await fire(kit.deps, made);
    expect(await runOf(kit, made, due(made))).toMatchObject({ startedBy: "bob" });
  });

  it("is fired once wherever a process dies, before or after any of its calls", async () => {
    let points = 0;
    for (const when of ["before", "after"] as const) {
      for (let n = 1; ; n++) {
        const kit = createKit();
        const made = await schedule(kit);
        toDue(kit, made);
        const dying = createFaultyTable(kit.table, { random: () => 0.5, kill: { n, when, callers: "throw" } });
        const died = await fire(another(kit, dying), made).then(
          () => false,
          () => dying.killed,
        );
        // Whoever else comes by, twice, and one who comes too late.
        for (let i = 0; i < 3; i++) await fire(another(kit), made);
        const run = await runOf(kit, made, due(made));
        expect(run, `killed ${when} call ${n}`).toMatchObject({ status: "pending" });
        const after = await now(kit, made);
        expect(after).toMatchObject({ firing: [], nextAt: due(made) + MINUTE });
        const runs = run && (await kit.deps.runs.list(run, 0));
        expect(runs).toHaveLength(1);
        if (!died) break;
        points++;
      }
    }
    expect(points).toBeGreaterThan(10);
  });

  it("whose run has ended and gone is not fired again by who comes late with what it read before", async () => {
    const kit = createKit();
    const made = await schedule(kit, { request: { ...wanted.request, settings: inputFor(undefined).settings } });
    toDue(kit, made);
    const stale = await kit.table.get(keyOf(made));
    await fire(kit.deps, made);
    await using worker = kit.worker();
    worker.start();
    await until(kit, async () => (await runOf(kit, made, due(made))) === undefined, "the thread is gone");
    // A process that read the schedule before all that, and stopped for as long.
    const frozen: Table = { ...kit.table, get: async (key) => (key.sk === stale?.sk ? stale : kit.table.get(key)) };
    await fire(another(kit, frozen), made);
    expect(await runOf(kit, made, due(made))).toBeUndefined();
  });

  it("is one run because its ids follow from its due time: with ids of its own each attempt is another (negative control)", async () => {
    const kit = createKit();
    const request = { ...inputFor(undefined), afterMs: 1 };
    const named = firingIds(await schedule(kit), 1);
    const once = [await kit.runtime.runs.accept(ALICE, { ...request, named })];
    once.push(await kit.runtime.runs.accept(ALICE, { ...request, named }));
    expect(new Set(once.map(({ runId }) => runId)).size).toBe(1);
    const twice = [await kit.runtime.runs.accept(ALICE, request), await kit.runtime.runs.accept(ALICE, request)];
    expect(new Set(twice.map(({ runId }) => runId)).size).toBe(2);
  });

  it("leaves out a due time while the run before has not ended, if it is told to", async () => {
    const kit = createKit();
    const made = await schedule(kit, { overlap: "skip" });
    toDue(kit, made);
    await fire(kit.deps, made);
    const next = await now(kit, made);
    toDue(kit, next);
    await fire(kit.deps, next);
    expect(await runOf(kit, next, due(next))).toBeUndefined();
    expect((await now(kit, made)).last).toMatchObject({ dueAt: due(next), skipped: "the run before has not ended" });
  });

  it("starts one run for all that was missed, if no two may overlap", async () => {
    const kit = createKit();
    const made = await schedule(kit, { missed: "all", overlap: "skip" });
    const dueTimes = Array.from({ length: 4 }, (_, n) => due(made) + n * MINUTE);
    kit.clock.advance(due(made) - kit.clock.wall() + 3.5 * MINUTE);
    await fire(kit.deps, made);
    const runs = await Promise.all(dueTimes.map((dueAt) => runOf(kit, made, dueAt)));
    expect(runs.map((run) => run?.status)).toEqual([undefined, undefined, undefined, "pending"]);
    expect((await now(kit, made)).last).toMatchObject({ dueAt: dueTimes.at(-1) });
  });

  it("that is paused fires nothing, and makes up for nothing when it goes on", async () => {
    const kit = createKit();
    const made = await schedule(kit, { missed: "all" });
    await kit.runtime.schedules.update(ALICE, made.scheduleId, () => ({ enabled: false }));
    kit.clock.advance(10 * MINUTE);
    await fire(kit.deps, made);
    const on = await kit.runtime.schedules.update(ALICE, made.scheduleId, () => ({ enabled: true }));
    expect(on.schedule.nextAt).toBeGreaterThan(kit.clock.wall());
    await fire(kit.deps, made);
    expect(on.schedule.firing).toEqual([]);
    expect(await runOf(kit, made, due(made))).toBeUndefined();
  });

  it("on a thread that is gone says so, and is not stuck", async () => {
    const kit = createKit();
    const { thread } = await kit.runtime.threads.create(ALICE, { metadata: {}, ifExists: "raise" });
    const made = await schedule(kit, { threadId: thread.threadId });
    await kit.runtime.threads.remove(ALICE, thread.threadId);
    toDue(kit, made);
    await fire(kit.deps, made);
    const after = await now(kit, made);
    expect(after.firing).toEqual([]);
    expect(after.last?.skipped).toMatch(/not found/);
  });
});
