/** How often nodes were tried again: counted on one run item, whatever names graphs make up. */
import { describe, expect, it } from "vitest";
import { START, StateGraph, task } from "@langchain/langgraph";
import { runId } from "../../src/core/ids.ts";
import { OTHER_NODES, addedRetries } from "../../src/core/node-retries.ts";
import { asleep, ended, honouring, untouchedEnd } from "../../src/core/run.ts";
import { DrivenThread } from "../support/drive-kit.ts";
import { State, fixed, flaky, single } from "../support/flaky-nodes.ts";
import { plainRun } from "./thread-core-arbitraries.ts";

const NOW = 1_800_000_000_000;
const run = plainRun(runId("00000000-0000-7000-8000-000000000001"), "running");
const end = untouchedEnd(NOW);

describe("the counts of a run", () => {
  it("are added up over its sleeps, and kept when it ends", () => {
    const sleep = { kind: "retry", reason: "busy", until: NOW } as const;
    const slept = asleep(run, 1, { ...sleep, retries: { task: 1 }, nodeRetries: { pay: 1 } }, NOW);
    expect(slept.nodeRetries).toEqual({ pay: 1 });
    const again = asleep(slept, 1, { ...sleep, nodeRetries: { pay: 2, ship: 1 } }, NOW);
    const done = ended(again, 1, { status: "success", end, nodeRetries: { ship: 1 } });
    expect(done.nodeRetries).toEqual({ pay: 3, ship: 2 });
    expect(ended(again, 1, { status: "success", end }).nodeRetries).toEqual({ pay: 3, ship: 1 });
    expect(ended(run, 1, { status: "success", end, nodeRetries: {} })).not.toHaveProperty("nodeRetries");
  });

  it("are kept by a run that was asked to stop", () => {
    const asked = { by: "op", at: NOW };
    const counted = { end, nodeRetries: { pay: 1 } };
    const parked = honouring({ ...asked, parks: true }, { status: "cancelled", ...counted });
    expect(parked).toMatchObject({ status: "parked", nodeRetries: { pay: 1 } });
    const cancelled = honouring(asked, { status: "success", ...counted });
    expect(cancelled).toEqual({ status: "cancelled", ...counted });
  });

  it("tell 50 nodes apart, and the beginning of their names", () => {
    const names = Array.from({ length: 1000 }, (_, i) => `${i}${"x".repeat(5000)}`);
    const counts = names.reduce((before, name) => addedRetries(before, { [name]: 2 }), {});
    expect(Object.keys(counts)).toHaveLength(51);
    expect(counts).toMatchObject({ [`0${"x".repeat(255)}`]: 2, [OTHER_NODES]: 950 * 2 });
    expect(addedRetries(counts, { [names[7] ?? ""]: 1 })).toMatchObject({ [`7${"x".repeat(255)}`]: 3 });
    expect(JSON.stringify(counts).length).toBeLessThan(15_000);
  });
});

describe("what a delivery tries again is told", () => {
  const told = async (graph: unknown) => {
    const heard: string[] = [];
    await new DrivenThread(graph).invoke({}, { retried: (node) => heard.push(node) });
    return heard;
  };

  it("for each attempt in place, and for one that is left to a later delivery", async () => {
    expect(await told(single(flaky(2).node, fixed(100)))).toEqual(["x", "x"]);
    expect(await told(single(flaky(2).node, fixed(60_000)))).toEqual(["x"]);
    expect(await told(single(flaky(2).node, fixed(1, 1)))).toEqual([]);
  });

  it("by the names of the nodes around it, and of the functional task", async () => {
    const inner = single(flaky(1).node, fixed(100)).compile();
    expect(await told(new StateGraph(State).addNode("desk", inner).addEdge(START, "desk"))).toEqual(["desk|x"]);
    let calls = 0;
    const pay = task({ name: "pay", retry: fixed(100) }, async () => {
      if (++calls === 1) throw new Error("busy");
    });
    const paying = single(
      async () => {
        await pay();
        return {};
      },
      fixed(1, 1),
    );
    expect(await told(paying)).toEqual(["x|pay"]);
  });
});
