/** Auto-approval on every engine: what a process that died had only raised is decided by the next ones, and once. */
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { HoldpointError } from "../../src/core/errors.ts";
import { systemIds, tenantId, threadId } from "../../src/core/ids.ts";
import { review } from "../../src/graph/review.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import type { Run } from "../../src/core/run.ts";
import type { Deps } from "../../src/runtime/deps.ts";
import type { Table } from "../../src/storage/table.ts";
import { engines } from "../support/engines.ts";
import { eventually } from "../support/eventually.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { openProcess } from "../support/own-process.ts";

const ALICE = { tenant: tenantId("acme"), subject: "alice", roles: ["admin"], groups: [] } as const;
const RULE = {
  enabled: true,
  description: "",
  action: "refund",
  args: {
    type: "object",
    properties: { amount: { type: "number", maximum: 100 } },
    required: ["amount"],
    additionalProperties: false,
  },
  maxRisk: "low",
  overrides: [],
} as const;

interface World {
  readonly blobs: ReturnType<typeof createMemoryBlobs>;
  readonly paid: string[];
}

function processOn({ blobs, paid }: World, table: Table, owner: string) {
  const State = Annotation.Root({ by: Annotation<string>() });
  const pays = new StateGraph(State)
    .addNode("pay", async (_, config) => {
      const asked = { title: "Refund", action: "refund", args: { amount: 7 }, risk: "low" } as const;
      const { decidedBy } = await review(config, asked);
      paid.push(decidedBy);
      return { by: decidedBy };
    })
    .addEdge(START, "pay")
    .addEdge("pay", END);
  const graphs = createRegistry([registeredGraph("pays", pays.compile())]);
  return openProcess({ table, blobs, graphs, owner });
}

/** Sees the policies when the review is raised, and never again: as if it died before it could ask them. */
function onlyOnce({ policies }: Deps): Pick<Deps, "policies"> {
  let asked = 0;
  const list: Deps["policies"]["list"] = async (tenant) => {
    if (asked++ > 0) throw new HoldpointError("unavailable", "this process is as good as dead");
    return policies.list(tenant);
  };
  return { policies: { ...policies, list } };
}

const holdOf = async ({ holds }: Deps, run: Run) => (await holds.ofThread(run, 0))[0]?.value;

describe.each(engines())("a policy, on $name", (engine) => {
  it("approves what a process that died had only raised, once, and on the record", { timeout: 60_000 }, async () => {
    await using opened = await engine.open();
    const world: World = { blobs: createMemoryBlobs(), paid: [] };
    const one = processOn(world, opened.table, "host/boot/ns/1/1/a");
    await one.runtime.policies.put(ALICE, "small", { rule: RULE });
    const first = one.workerWith(onlyOnce(one.deps));
    first.start();
    const run = await one.runtime.runs.accept(ALICE, {
      threadId: threadId(systemIds.uuid()),
      ifNotExists: "create",
      assistantId: "pays",
      payload: { input: {} },
      settings: { streamModes: [], streamSubgraphs: false, streamResumable: false, multitaskStrategy: "enqueue" },
    });
    await eventually(async () => (await one.deps.runs.get(run, run.runId))?.value.status === "held");
    await first[Symbol.asyncDispose]();
    expect((await holdOf(one.deps, run))?.state).toBe("pending");

    const others = [
      processOn(world, await opened.another(), "host/boot/ns/2/1/b"),
      processOn(world, await opened.another(), "host/boot/ns/3/1/c"),
    ];
    const workers = others.map(({ workerWith }) => workerWith({}));
    for (const worker of workers) worker.start();
    await eventually(async () => (await holdOf(one.deps, run))?.state === "applied");
    await eventually(async () => (await one.deps.threads.get(run))?.value.lease === undefined);
    for (const worker of workers) await worker[Symbol.asyncDispose]();
    expect(world.paid).toEqual(["policy:small@1"]);
    const { items } = await one.runtime.audit.list(ALICE, { kind: "decision", limit: 10 });
    expect(items.map(({ content }) => [content?.actor, content?.action, content?.subject.policy])).toEqual([
      ["policy:small@1", "approve", "small@1"],
    ]);
  });

  it("has each version once, and all of them stay", async () => {
    await using opened = await engine.open();
    const world: World = { blobs: createMemoryBlobs(), paid: [] };
    const processes = [
      processOn(world, opened.table, "host/boot/ns/1/1/a"),
      processOn(world, await opened.another(), "host/boot/ns/2/1/b"),
    ];
    const made = await Promise.all(
      processes.flatMap(({ runtime }, n) =>
        [0, 1, 2].map((i) => runtime.policies.put(ALICE, "raced", { rule: { ...RULE, description: `${n}.${i}` } })),
      ),
    );
    const versions = await processes[0]?.runtime.policies.versions(ALICE, "raced");
    expect(versions?.map(({ version }) => version)).toEqual([6, 5, 4, 3, 2, 1]);
    for (const policy of made) expect(versions).toContainEqual(policy);
  });
});
