import { describe, expect, it } from "vitest";
import { CALM, createChaos } from "./chaos.ts";
import type { Planned, Profile } from "./chaos.ts";
import { createCourier } from "./courier.ts";
import { createTally } from "./faults.ts";
import type { FaultCounts } from "./faults.ts";
import { createRandom } from "./random.ts";
import { EPOCH, createScheduler } from "./scheduler.ts";
import type { Scheduler, SimProcess } from "./scheduler.ts";
import { createSimTable } from "./sim-table.ts";
import type { Change } from "./sim-table.ts";

const hour = EPOCH + 3_600_000;

function run(scheduler: Scheduler, limit = hour): Promise<boolean> {
  return scheduler.run(() => false, limit);
}

describe("the scheduler", () => {
  it("passes time only from event to event, in their order", async () => {
    const scheduler = createScheduler({ seed: 1 });
    const seen: string[] = [];
    const say = (what: string) => () => void seen.push(`${what} ${scheduler.now() - EPOCH}`);
    scheduler.after(30, say("c"));
    scheduler.after(10, say("a"));
    scheduler.after(10, say("b"));
    await run(scheduler);
    expect(seen).toEqual(["a 10", "b 10", "c 30"]);
  });

  it("gives a sleeper its time, at once when it is aborted, and never after its process died", async () => {
    const scheduler = createScheduler({ seed: 1 });
    const [one, two] = [scheduler.process("one"), scheduler.process("two")];
    const woken: string[] = [];
    const stop = new AbortController();
    void one.clock.sleep(1_000_000, stop.signal).then(() => woken.push("aborted"));
    void one.clock.sleep(100).then(() => woken.push("slept"));
    void two.clock.sleep(100).then(() => woken.push("dead"));
    scheduler.after(50, () => stop.abort());
    scheduler.after(60, () => two.kill());
    await run(scheduler);
    expect(woken).toEqual(["aborted", "slept"]);
  });

  it("hands a frozen process everything late and in its order", async () => {
    const scheduler = createScheduler({ seed: 1 });
    const process = scheduler.process("one");
    const seen: number[] = [];
    for (const ms of [10, 20, 300]) void process.clock.sleep(ms).then(() => seen.push(ms, scheduler.now() - EPOCH));
    scheduler.after(5, () => process.freeze(95));
    await run(scheduler);
    expect(seen).toEqual([10, 100, 20, 100, 300, 300]);
  });

  it("lets wall clocks disagree and monotonic ones only go forward", () => {
    const scheduler = createScheduler({ seed: 1 });
    const fast = scheduler.process("fast", { skewMs: 600_000 });
    expect(fast.clock.wall()).toBe(EPOCH + 600_000);
    expect(fast.clock.monotonic()).toBeGreaterThanOrEqual(0);
  });

  it("draws identifiers that are UUIDs of version 7 and the same for the same seed", () => {
    const draw = (seed: number) => createScheduler({ seed }).process("p").ids.uuid();
    expect(draw(7)).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(draw(7)).toBe(draw(7));
    expect(draw(7)).not.toBe(draw(8));
  });

  it("is not moved by how much anyone else has drawn", () => {
    const one = createRandom(5);
    const other = createRandom(5);
    const fork = one.fork("a");
    other.fork("a").next();
    expect(one.next()).toBe(other.next());
    expect(fork.next()).toBe(createRandom(5).fork("a").next());
  });
});

interface Fixture {
  readonly scheduler: Scheduler;
  readonly process: SimProcess;
  readonly changes: Change[];
  readonly crashed: string[];
  readonly faults: FaultCounts;
  readonly table: ReturnType<ReturnType<typeof createSimTable>["handle"]>;
}

interface FixtureOptions {
  readonly seed?: number;
  readonly planned?: Planned;
  readonly forgetWriteIds?: boolean;
}

function fixture(
  profile: Partial<Profile>,
  { seed = 3, planned, forgetWriteIds = false }: FixtureOptions = {},
): Fixture {
  const scheduler = createScheduler({ seed });
  const chaos = createChaos({
    random: createRandom(seed + 1),
    profile: { ...CALM, ...profile },
    leaseMs: 1000,
    ...(planned ? { planned } : {}),
  });
  const changes: Change[] = [];
  const crashed: string[] = [];
  const tally = createTally();
  const onCrash = ({ name }: SimProcess): void => void crashed.push(name);
  const sim = createSimTable({
    scheduler,
    chaos,
    tally,
    courierOf: (process) =>
      createCourier({ scheduler, chaos, tally, leaseMs: 1000, onCrash, onDelay: () => {} }, process),
    onChange: (change) => void changes.push(change),
    forgetWriteIds,
  });
  const process = scheduler.process("p");
  return { scheduler, process, changes, crashed, faults: tally.counts, table: sim.handle(process) };
}

const draft = (sk: string, n = 0) => ({ pk: "p", sk, attributes: { n } });

describe("the simulated table", () => {
  it("lets calls of one process overtake each other", async () => {
    const orders = new Set<string>();
    for (let seed = 0; seed < 20; seed++) {
      const { scheduler, table, changes } = fixture({}, { seed });
      void table.put(draft("a"), "any");
      void table.put(draft("b"), "any");
      await run(scheduler);
      orders.add(changes.map((change) => change.key.sk).join(""));
    }
    expect(orders).toEqual(new Set(["ab", "ba"]));
  });

  it.each(["before", "after"] as const)(
    "kills a process %s a call takes effect, and answers it no more",
    async (when) => {
      const { scheduler, table, changes, crashed } = fixture({}, { planned: { process: "p", write: 2, when } });
      const answered: string[] = [];
      void table.put(draft("a"), "absent").then(async () => {
        answered.push("a");
        await table.put(draft("b"), "absent");
        answered.push("b");
      });
      await run(scheduler);
      expect(answered).toEqual(["a"]);
      expect(crashed).toEqual(["p"]);
      expect(changes.map((change) => change.key.sk)).toEqual(when === "before" ? ["a"] : ["a", "b"]);
      void table.put(draft("c"), "any");
      await run(scheduler);
      expect(changes.map((change) => change.key.sk)).not.toContain("c");
    },
  );

  it("repeats a write whose reply was lost, and the port recognises it as its own", async () => {
    const { scheduler, table, changes } = fixture({ lostReply: 1 });
    let result: unknown;
    void table.put(draft("a"), "absent").then((answer) => {
      result = answer;
    });
    await run(scheduler);
    expect(result).toMatchObject({ won: true });
    expect(changes).toHaveLength(1);
  });

  it("tells the writer that it lost its own write when write ids are forgotten", async () => {
    const { scheduler, table, changes } = fixture({ lostReply: 1 }, { forgetWriteIds: true });
    let result: unknown;
    void table.put(draft("a"), "absent").then((answer) => {
      result = answer;
    });
    await run(scheduler);
    expect(result).toMatchObject({ won: false });
    expect(changes).toHaveLength(1);
  });

  it("applies the write of a process that froze with it in hand once it wakes", async () => {
    const { scheduler, table, changes } = fixture({ freeze: 1, budget: 1 });
    void table.put(draft("a"), "absent");
    await run(scheduler);
    expect(changes).toHaveLength(1);
  });

  it("shows index rows late, and never a row of an item that has changed since", async () => {
    const { scheduler, table } = fixture({ indexLagMs: 500 });
    const rows: number[] = [];
    const look = async (): Promise<void> => {
      rows.push((await table.queryIndex("due", "x", {})).items.length);
    };
    void table.put({ ...draft("a"), index: { due: { pk: "x", sk: "1" } } }, "any").then(look);
    scheduler.after(60_000, () => void look());
    await run(scheduler);
    expect(rows.at(-1)).toBe(1);
    expect(rows[0]).toBe(0);
  });
});
