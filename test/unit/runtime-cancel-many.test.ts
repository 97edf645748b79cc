import { beforeEach, describe, expect, it } from "vitest";
import { runId, tenantId, threadId } from "../../src/core/ids.ts";
import type { ThreadId } from "../../src/core/ids.ts";
import type { Run } from "../../src/core/run.ts";
import type { CancelMany } from "../../src/runtime/runtime.ts";
import { eventually } from "../support/eventually.ts";
import { ALICE, createKit, inputFor } from "./runtime-kit.ts";
import type { Kit } from "./runtime-kit.ts";

const GUSTAV = { ...ALICE, tenant: tenantId("globex") };

let kit: Kit;
beforeEach(() => {
  kit = createKit();
});

const aThread = (): ThreadId => threadId(kit.deps.ids.uuid());
const accept = (thread: ThreadId, principal = ALICE): Promise<Run> =>
  kit.runtime.runs.accept(principal, inputFor(thread));
const cancelMany = (many: Omit<CancelMany, "signal">, principal = ALICE): Promise<void> =>
  kit.runtime.runs.cancelMany(principal, { ...many, signal: new AbortController().signal });
const statuses = (runs: readonly Run[]) =>
  Promise.all(runs.map(async (run) => (await kit.deps.runs.get(run, run.runId))?.value.status));

/** The first run of each thread is running, and goes on until it is cancelled. */
async function running(runs: readonly Run[]): Promise<AsyncDisposable> {
  const worker = kit.worker({
    drive: ({ signal }) =>
      new Promise((resolve) => signal.addEventListener("abort", () => resolve({ kind: "aborted" }))),
  });
  worker.start();
  await eventually(async () => {
    kit.clock.advance(500);
    return (await statuses(runs)).every((status) => status === "running");
  });
  return worker;
}

describe("cancelling runs by name", () => {
  it("finds them wherever they are, and nobody else's", async () => {
    const runs = [await accept(aThread()), await accept(aThread()), await accept(aThread())];
    const [first, second] = runs as [Run, Run, Run];
    const which = { kind: "named", runIds: [first.runId, second.runId] } as const;
    await expect(cancelMany({ which }, GUSTAV)).rejects.toMatchObject({ code: "not_found" });
    expect(await statuses(runs)).toEqual(["pending", "pending", "pending"]);
    await cancelMany({ which });
    expect(await statuses(runs)).toEqual(["cancelled", "cancelled", "pending"]);
  });

  it("cancels those that are there although another is not, and says so", async () => {
    const run = await accept(aThread());
    const which = { kind: "named", runIds: [runId(kit.deps.ids.uuid()), run.runId] } as const;
    await expect(cancelMany({ which })).rejects.toMatchObject({ code: "not_found" });
    expect(await statuses([run])).toEqual(["cancelled"]);
  });
});

describe("cancelling runs by their state", () => {
  it.each([
    ["pending", ["running", "cancelled", "cancelled"]],
    ["running", ["cancelled", "running", "pending"]],
    ["all", ["cancelled", "cancelled", "cancelled"]],
  ] as const)("%s, on one thread", async (status, expected) => {
    const thread = aThread();
    const other = await accept(aThread());
    const runs = [await accept(thread), await accept(thread), await accept(thread)];
    const [first] = runs as [Run, Run, Run];
    await using _worker = await running([first, other]);
    await cancelMany({ threadId: thread, which: { kind: "status", status } });
    await eventually(async () => {
      kit.clock.advance(500);
      return JSON.stringify(await statuses(runs)) === JSON.stringify(expected);
    }, `${status}: ${expected.join()}`);
    expect(await statuses([other])).toEqual(["running"]);
  });

  it("without a thread, on all of the tenant's and on nobody else's", async () => {
    const [one, two] = [aThread(), aThread()];
    const runs = [await accept(one), await accept(one), await accept(two)];
    const others = [await accept(aThread(), GUSTAV)];
    await cancelMany({ which: { kind: "status", status: "all" } });
    expect(await statuses(runs)).toEqual(["cancelled", "cancelled", "cancelled"]);
    expect(await statuses(others)).toEqual(["pending"]);
  });

  it("is not found on a thread that is not there", async () => {
    const which = { kind: "status", status: "all" } as const;
    await expect(cancelMany({ threadId: aThread(), which })).rejects.toMatchObject({ code: "not_found" });
  });
});
