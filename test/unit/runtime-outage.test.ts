/** A table that is away for a minute, as a worker sees it: it waits, says so a few times, and goes on. */
import { describe, expect, it } from "vitest";
import { threadId } from "../../src/core/ids.ts";
import type { Run } from "../../src/core/run.ts";
import { createAssistants } from "../../src/runtime/assistants.ts";
import { limitRepeats } from "../../src/runtime/log-limit.ts";
import { createWorker } from "../../src/runtime/worker/worker.ts";
import type { Worker } from "../../src/runtime/worker/worker.ts";
import { createFaultyTable } from "../support/faulty-table.ts";
import { ALICE, LEASE_MS, createKit, inputFor } from "./runtime-kit.ts";
import type { Kit } from "./runtime-kit.ts";

const OUTAGE_MS = 60_000;
const STEP_MS = 50;

interface Outage {
  readonly kit: Kit;
  readonly worker: Worker;
  /** Runs that were begun, in their order. */
  readonly begun: readonly string[];
  /** Lets the graphs that execute now come to their end. */
  finish(): void;
  /** Every call on the table fails from now on, or none. */
  setAway(isAway: boolean): void;
}

function createOutage(limit = limitRepeats): Outage {
  let isAway = false;
  const kit = createKit((table) => ({
    ...table,
    ...createFaultyTable(table, { random: () => (isAway ? 0 : 0.999), faults: { refused: 0.5 } }),
  }));
  const begun: string[] = [];
  let ends: (() => void)[] = [];
  const worker = createWorker({
    deps: { ...kit.deps, log: limit(kit.deps.log, kit.clock) },
    engine: {
      hasWorkLeft: async () => false,
      missingNodes: async () => [],
      breakpointAtHead: async () => undefined,
      drive({ run, signal }) {
        begun.push(run.runId);
        return new Promise((resolve) => {
          ends.push(() => resolve({ kind: "done" }));
          signal.addEventListener("abort", () => resolve({ kind: "aborted" }), { once: true });
        });
      },
    },
    assistants: createAssistants(kit.deps),
    services: () => ({}) as never, // no graph asks for one
    isKnownDead: () => false,
  });
  const finish = (): void => {
    for (const end of ends) end();
    ends = [];
  };
  return { kit, worker, begun, finish, setAway: (away) => void (isAway = away) };
}

async function pass({ kit }: Outage, ms: number): Promise<void> {
  for (let gone = 0; gone < ms; gone += STEP_MS) {
    kit.clock.advance(STEP_MS);
    await new Promise<void>((resolve) => void setImmediate(resolve));
  }
}

const aThread = ({ kit }: Outage) => threadId(kit.deps.ids.uuid());
const statusOf = async ({ kit }: Outage, run: Run) => (await kit.deps.runs.get(run, run.runId))?.value.status;

describe("a table that is away for a minute", () => {
  it("interrupts what is executed, which is begun again and ends when it is back", async () => {
    const outage = createOutage();
    const run = await outage.kit.runtime.runs.accept(ALICE, inputFor(aThread(outage)));
    await using worker = outage.worker;
    worker.start();
    await pass(outage, 1000);
    expect(await statusOf(outage, run)).toBe("running");
    outage.setAway(true);
    await pass(outage, OUTAGE_MS);
    expect(worker.busy).toBe(0);
    outage.setAway(false);
    await pass(outage, 2 * LEASE_MS);
    expect(outage.begun).toEqual([run.runId, run.runId]);
    outage.finish();
    await pass(outage, 1000);
    expect(await statusOf(outage, run)).toBe("success");
  });

  it("keeps a run that ends meanwhile from ending, and no longer", async () => {
    const outage = createOutage();
    const run = await outage.kit.runtime.runs.accept(ALICE, inputFor(aThread(outage)));
    await using worker = outage.worker;
    worker.start();
    await pass(outage, 1000);
    outage.setAway(true);
    outage.finish();
    await pass(outage, OUTAGE_MS);
    outage.setAway(false);
    for (let n = 0; n < 20; n++) {
      await pass(outage, LEASE_MS / 4);
      outage.finish();
    }
    expect(await statusOf(outage, run)).toBe("success");
  });

  it("does not keep a worker from picking up what it finds afterwards", async () => {
    const outage = createOutage();
    const run = await outage.kit.runtime.runs.accept(ALICE, inputFor(aThread(outage)));
    outage.setAway(true);
    await using worker = outage.worker;
    worker.start();
    await pass(outage, OUTAGE_MS);
    expect(outage.begun).toEqual([]);
    outage.setAway(false);
    await pass(outage, 2000);
    expect(outage.begun).toEqual([run.runId]);
    outage.finish();
    await pass(outage, 1000);
    expect(await statusOf(outage, run)).toBe("success");
  });

  it("is spoken of a few times, and not with every call", async () => {
    const lines = async (limit: typeof limitRepeats): Promise<number> => {
      const outage = createOutage(limit);
      for (let n = 0; n < 4; n++) await outage.kit.runtime.runs.accept(ALICE, inputFor(aThread(outage)));
      await using worker = outage.worker;
      worker.start();
      await pass(outage, 1000);
      outage.setAway(true);
      await pass(outage, OUTAGE_MS);
      outage.setAway(false);
      return outage.kit.lines.filter(({ level }) => level === "warn" || level === "error").length;
    };
    const said = await lines(limitRepeats);
    expect(said).toBeGreaterThan(0);
    expect(await lines((log) => log)).toBeGreaterThan(3 * said);
  });
});
