/**
 * R13. Protections taken away from real processes: each time the checker must find the harm. Others stand where they are
 * cheapest: the fence in zombies.test.ts; the write id in contract/table-faults.test.ts and the simulation; seals in
 * contract/saver-fencing.test.ts; release by memory in sim/controls.test.ts; an accept that does not know itself in
 * unit/accept-identity.test.ts.
 */
import { describe, expect, it } from "vitest";
import { fleetEngines } from "../support/fleet.ts";
import { openCrew } from "./crew.ts";
import type { Crew, CrewOptions } from "./crew.ts";
import { reachableByOthers } from "./isolation.ts";
import { judge } from "./judge.ts";
import { placeOrder } from "./orders.ts";
import type { Order } from "./orders.ts";
import { threadNamed } from "./story.ts";
import { walkTwice } from "./walking.ts";
import { FORGETS_VARIABLE, factsOf } from "./witness.ts";

const [sqlite] = fleetEngines();
const COMMAND = "npx vitest run test/crash/controls.test.ts";
/** Task writes of the fifth step, the first that acts outside; before them are those of the input. */
const ACTING_STEP = 6;

/** What the checker finds after a walk in which this happens; reported under this name. */
async function findingsOf(name: string, order: Order, options: Partial<CrewOptions> = {}): Promise<readonly string[]> {
  if (!sqlite) throw new Error("there is no engine");
  await using crew = await openCrew(sqlite, { workers: 2, concurrency: 1, ...options });
  const threadId = threadNamed(JSON.stringify(order));
  placeOrder(crew.folder, threadId, order);
  const told = [await walkTwice(crew, "acme", threadId)];
  expect(factsOf(crew.facts(), "killed")).toHaveLength(1);
  const { violations } = await judge(crew, {
    test: `R13 ${name}`,
    engine: sqlite.name,
    seed: 0,
    told,
    command: COMMAND,
  });
  return violations.map(({ invariant }) => invariant);
}

describe("a worker that is killed", { timeout: 120_000 }, () => {
  it("between an effect and the result of its step repeats the step, and not the effect, even where nobody honours keys", async () => {
    const order = { do: "kill-at", kind: "writes", nth: ACTING_STEP } as const;
    expect(await findingsOf("journal on", order, { honoursKeys: false })).toEqual([]);
  });

  it("repeats the effect as well with the journal off (negative control)", async () => {
    const order = { do: "kill-at", kind: "writes", nth: ACTING_STEP } as const;
    const without = { honoursKeys: false, workerEnv: { [FORGETS_VARIABLE]: "1" } };
    const found = await findingsOf("control: journal off", order, without);
    expect(found).toContain("what was owed happened once, under one token");
  });

  it("loses a part of a step if each write of a task were a row of its own (negative control)", async () => {
    const found = await findingsOf("control: one row per write", { do: "tear", kind: "writes", nth: 3 });
    expect(found).toContain("the state has a line for everything that took place, once");
  });
});

describe("the other tenant", () => {
  it("is shown nothing; with the keys of the owner it would be, and the checker sees it (negative control)", async () => {
    if (!sqlite) throw new Error("there is no engine");
    await using crew = await openCrew(sqlite, { workers: 1 });
    const told = [await walkTwice(crew, "acme", threadNamed("isolated"))];
    expect(await reachableByOthers(crew, told)).toEqual([]);
    const swapped = { acme: "globex", globex: "acme" } as const;
    const asOwner: Crew = { ...crew, headers: (tenant, person) => crew.headers(swapped[tenant], person) };
    const found = await reachableByOthers(asOwner, told);
    expect(found.length).toBeGreaterThan(told.length * 4);
  });
});
