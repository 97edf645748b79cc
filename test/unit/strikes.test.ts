/** Runs that end with their worker, again and again. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HoldpointError } from "../../src/core/errors.ts";
import { threadId } from "../../src/core/ids.ts";
import { isEnded } from "../../src/core/run.ts";
import type { Run } from "../../src/core/run.ts";
import { claimed, claimedForUpdate, released, struck } from "../../src/core/thread-changes.ts";
import { MAX_STRIKES, isSuspect } from "../../src/core/thread.ts";
import type { Thread } from "../../src/core/thread.ts";
import type { Drive, DriveOutcome } from "../../src/langgraph/drive.ts";
import { Lease } from "../../src/runtime/delivery/lease.ts";
import { ALICE, createKit, inputFor } from "./runtime-kit.ts";
import type { Kit } from "./runtime-kit.ts";
import { pass, settle, until } from "./runtime-pass.ts";
import { startProcess } from "./runtime-process.ts";
import type { Process } from "./runtime-process.ts";
import { step } from "./runtime-steps.ts";
import { anyThread } from "./thread-core-arbitraries.ts";

const NOW = 1_800_000_000_000;
const claim = { owner: "w", leaseMs: 5_000, now: NOW };
const never = (): Promise<never> => new Promise(() => undefined);
const aborted = ({ signal }: Drive): Promise<DriveOutcome> =>
  new Promise((resolve) => signal.addEventListener("abort", () => resolve({ kind: "aborted" }), { once: true }));

const accept = (kit: Kit, assistantId = "g", thread = threadId(kit.deps.ids.uuid())) =>
  kit.runtime.runs.accept(ALICE, { ...inputFor(thread), assistantId });
const runOf = async (kit: Kit, run: Run) => (await kit.deps.runs.get(run, run.runId))?.value;
const statusOf = async (kit: Kit, run: Run) => (await runOf(kit, run))?.status;
const strikesOf = async (kit: Kit, run: Run) => (await kit.deps.threads.get(run))?.value.strikes;

describe("the strikes of a run", () => {
  type Delivery = { readonly ends: "crash" | "release"; readonly progress: boolean };
  const deliveries: fc.Arbitrary<Delivery[]> = fc.array(
    fc.record({ ends: fc.constantFrom("crash" as const, "release" as const), progress: fc.boolean() }),
    { maxLength: 20 },
  );

  it("are the deliveries that ended with their worker since its last new checkpoint", () => {
    fc.assert(
      fc.property(anyThread, deliveries, (any, all) => {
        fc.pre(any.active?.kind === "run");
        const { strikes: _, lease: __, ...idle } = any;
        let thread: Thread = claimed(idle, claim);
        let head = 0;
        let expected = 0;
        // Nobody looks at the log for one that was never lost.
        let looked = 0;
        let wasLost = false;
        for (const { ends, progress } of all) {
          if (progress) head++;
          wasLost ||= ends === "crash";
          if (wasLost) {
            expected = head > looked ? 0 : expected + Number(ends === "crash");
            looked = head;
          }
          const after = ends === "crash" ? thread : released(thread, NOW);
          const strikes = struck(after, { isProgress: head > 0, checkpointId: `c${head}` });
          thread = claimed(after, claim, strikes);
          expect(thread.strikes?.count ?? 0).toBe(expected);
          expect(isSuspect(thread)).toBe(expected >= 2 && expected < MAX_STRIKES);
        }
      }),
    );
  });

  it("are none of who has never lost a worker, and not those of an update of the state", () => {
    fc.assert(
      fc.property(anyThread, fc.boolean(), (any, isProgress) => {
        const { strikes: _, ...thread } = any;
        expect(struck(released(thread, NOW), { isProgress, checkpointId: "c" })).toBeUndefined();
        expect(struck(claimedForUpdate(thread, claim), { isProgress, checkpointId: "c" })).toBeUndefined();
      }),
    );
  });

  it("do not count the input of a run as something that it got done", () => {
    fc.assert(
      fc.property(anyThread, (any) => {
        const thread = claimed({ ...any, active: { kind: "run", entry: anEntry }, deleted: false }, claim);
        const before = thread.strikes?.count ?? 0;
        const first = struck(thread, { isProgress: false, checkpointId: "of the run before" });
        const second = struck(
          { ...thread, ...(first && { strikes: first }) },
          { isProgress: false, checkpointId: "input" },
        );
        expect([first?.count, second?.count]).toEqual([before + 1, before + 2]);
      }),
    );
  });
});
const anEntry = { runId: "r" as Run["runId"], kind: "input", pool: "default", graphId: "g" } as const;

/** Processes, one after the other, each killed by whoever executes `poison`. */
function crashing(kit: Kit, others: (drive: Drive) => Promise<DriveOutcome>) {
  const executed: string[] = [];
  let process: Process | undefined;
  let deaths = 0;
  const drive = (d: Drive): Promise<DriveOutcome> => {
    executed.push(d.run.runId);
    if (d.run.graphId !== "poison") return others(d);
    process?.kill();
    process = undefined;
    deaths++;
    return never();
  };
  return {
    executed,
    deaths: () => deaths,
    /** What restarts a process that died. */
    supervise: () => void (process ??= startProcess(kit, { drive })),
  };
}

describe("a run that kills its worker", () => {
  it("is parked after five deliveries, says so, and lets those behind it go on", async () => {
    const kit = createKit(undefined, { graphs: { poison: {} } });
    const poison = await accept(kit, "poison");
    const next = await accept(kit, "g", poison.threadId);
    const { executed, deaths, supervise } = crashing(kit, async () => ({ kind: "done" }));
    await until(kit, async () => {
      supervise();
      return (await statusOf(kit, next)) === "success";
    });
    const parked = await runOf(kit, poison);
    expect(parked).toMatchObject({ status: "parked", error: { name: "poison" } });
    expect(parked?.error?.message).toContain("5 deliveries in a row ended with their worker");
    expect(deaths()).toBe(5);
    expect(executed.filter((id) => id === poison.runId)).toHaveLength(5);
    expect(await strikesOf(kit, next)).toBeUndefined();
  });

  it("takes no neighbour with it, although each of them loses its worker to it", async () => {
    const kit = createKit(undefined, { graphs: { poison: {} } });
    const neighbours: Run[] = [];
    for (let i = 0; i < 3; i++) neighbours.push(await accept(kit));
    const poison = await accept(kit, "poison");
    const slow = async (): Promise<DriveOutcome> => {
      await kit.clock.sleep(20_000);
      return { kind: "done" };
    };
    const { executed, supervise } = crashing(kit, slow);
    const runs = [...neighbours, poison];
    await until(kit, async () => {
      supervise();
      const all = await Promise.all(runs.map((run) => statusOf(kit, run)));
      return all.every((status) => status !== undefined && isEnded(status));
    });
    expect(await Promise.all(runs.map((run) => statusOf(kit, run)))).toEqual([
      ...neighbours.map(() => "success"),
      "parked",
    ]);
    // The first two deaths took them along; after that it was alone.
    for (const { runId } of neighbours) expect(executed.filter((id) => id === runId).length).toBeLessThanOrEqual(3);
  });

  it("is not parked as long as it gets on", async () => {
    const kit = createKit();
    const run = await accept(kit);
    let deaths = 0;
    let process: Process | undefined;
    const drive = async (d: Drive): Promise<DriveOutcome> => {
      // Input, input applied, and one superstep more with each delivery.
      for (let i = 0; i < (deaths === 0 ? 3 : 1); i++) await step(d);
      if (deaths++ === 12) return { kind: "done" };
      process?.kill();
      process = undefined;
      return never();
    };
    await until(kit, async () => {
      process ??= startProcess(kit, { drive });
      return (await statusOf(kit, run)) === "success";
    });
    expect((await runOf(kit, run))?.deliveries).toBe(13);
  });

  it("is forgiven once it has got on, also if its worker gave it back after that", async () => {
    const kit = createKit();
    const run = await accept(kit);
    for (let i = 0; i < 3; i++) {
      const process = startProcess(kit, { drive: never });
      await until(kit, async () => (await runOf(kit, run))?.deliveries === i + 1);
      process.kill();
    }
    const getsOn = async (d: Drive): Promise<DriveOutcome> => {
      for (let i = 0; i < 3; i++) await step(d);
      return new Promise((resolve) => d.drain.addEventListener("abort", () => resolve({ kind: "drained" })));
    };
    const worker = kit.worker({ drive: getsOn });
    worker.start();
    await until(kit, async () => (await runOf(kit, run))?.deliveries === 4);
    expect(await strikesOf(kit, run)).toMatchObject({ count: 3 });
    await worker.drain();
    await using other = kit.worker({ drive: aborted });
    other.start();
    await until(kit, async () => (await runOf(kit, run))?.deliveries === 5);
    expect(await strikesOf(kit, run)).toMatchObject({ count: 0 });
    const beside = await accept(kit);
    expect(await until(kit, async () => (await statusOf(kit, beside)) === "running")).toBe(true);
  });

  it("keeps its strikes while a worker without its graph lets it sleep", async () => {
    const kit = createKit();
    const run = await accept(kit);
    const process = startProcess(kit, { drive: never });
    await until(kit, async () => (await runOf(kit, run))?.deliveries === 1);
    process.kill();
    const graphs = { ...kit.deps.graphs, get: () => undefined };
    await using without = kit.worker({}, { graphs });
    without.start();
    await until(kit, async () => (await statusOf(kit, run)) === "waiting");
    expect(await strikesOf(kit, run)).toMatchObject({ count: 1 });
  });
});

describe("no strike", () => {
  it("is a drain", async () => {
    const kit = createKit();
    const run = await accept(kit);
    for (let i = 0; i < 2 * MAX_STRIKES; i++) {
      const drive = ({ drain }: Drive): Promise<DriveOutcome> =>
        new Promise((resolve) => drain.addEventListener("abort", () => resolve({ kind: "drained" })));
      const worker = kit.worker({ drive });
      worker.start();
      await until(kit, async () => (await runOf(kit, run))?.deliveries === i + 1);
      await worker.drain();
      expect(await strikesOf(kit, run)).toBeUndefined();
    }
    await using last = kit.worker();
    last.start();
    expect(await until(kit, async () => (await statusOf(kit, run)) === "success")).toBe(true);
  });

  it("is a table that was away in the middle: the run goes on without waiting for a lease", async () => {
    const kit = createKit();
    const run = await accept(kit);
    let deliveries = 0;
    const drive = async (): Promise<DriveOutcome> => {
      if (deliveries++ < 2 * MAX_STRIKES) throw new HoldpointError("unavailable", "the table is away");
      return { kind: "done" };
    };
    await using worker = kit.worker({ drive });
    worker.start();
    await until(kit, async () => (await statusOf(kit, run)) === "success");
    expect(deliveries).toBe(2 * MAX_STRIKES + 1);
    expect(kit.clock.monotonic()).toBeLessThan(30_000);
  });

  it("is an update of the state whose process died, for the run that comes after it", async () => {
    const kit = createKit();
    const first = await accept(kit);
    const before = kit.worker();
    before.start();
    await until(kit, async () => (await statusOf(kit, first)) === "success");
    await settle();
    await before.drain();
    const header = await kit.deps.threads.get(first);
    const update = header && (await Lease.claim(kit.deps, header, { purpose: "update" }));
    await update?.[Symbol.asyncDispose]();
    const run = await accept(kit, "g", first.threadId);
    await using worker = kit.worker({ drive: aborted });
    worker.start();
    await until(kit, async () => (await statusOf(kit, run)) === "running");
    await pass(kit, 1000);
    expect(await strikesOf(kit, run)).toBeUndefined();
  });
});
