import { uuid5 } from "@langchain/langgraph-checkpoint";
import { describe, expect, it } from "vitest";
import { countVisits } from "../../src/checkpoint/visits.ts";
import type { Progress } from "../../src/checkpoint/visits.ts";
import { createWhereabouts } from "../../src/checkpoint/whereabouts.ts";
import type { RecordFacts } from "../../src/checkpoint/whereabouts.ts";
import { createManualClock } from "../support/manual-clock.ts";
import { checkpointOf } from "../support/checkpoints.ts";

const facts: RecordFacts = {
  ns: "",
  root: "r",
  visits: { a: 1 },
  sends: [],
  step: 3,
  inputStep: -1,
  source: "loop",
  bytes: 0,
};

function created(read: (ns: string, id: string) => Promise<RecordFacts | undefined> = async () => undefined) {
  const clock = createManualClock();
  const whereabouts = createWhereabouts({ clock, recordDeadlineMs: 10, root: () => "r", read });
  return { whereabouts, expire: () => clock.advance(10) };
}
const turn = () => new Promise((resolve) => setImmediate(resolve));

describe("a record that is asked for", () => {
  it("while it is being written is waited for, and its failure is the asker's", async () => {
    const { whereabouts } = created(() => Promise.reject(new Error("the table must not be asked")));
    const { promise, resolve } = Promise.withResolvers<RecordFacts>();
    whereabouts.writing("", "cp", promise);
    const asked = whereabouts.record("", "cp");
    resolve(facts);
    expect(await asked).toEqual(facts);
    whereabouts.writing("", "other", Promise.reject(new Error("lost")));
    await expect(whereabouts.record("", "other")).rejects.toThrow("lost");
  });

  it("is read where this process has neither written nor read it, and else waited for until the deadline", async () => {
    const { whereabouts, expire } = created(async (_ns, id) => (id === "stored" ? facts : undefined));
    expect(await whereabouts.record("", "stored")).toEqual(facts);
    const arriving = whereabouts.record("", "late");
    await turn();
    whereabouts.saw("late", facts);
    expect(await arriving).toEqual(facts);
    const never = whereabouts.record("", "never").catch((error: unknown) => error);
    await turn();
    expire();
    expect(await never).toMatchObject({ code: "unavailable" });
  });
});

describe("the place of a task", () => {
  const task = (attempt: number, path: readonly unknown[] = ["__pregel_pull", "call"]) => ({
    metadata: { langgraph_path: path, langgraph_step: 4 },
    executionInfo: { nodeAttempt: attempt },
  });

  it("is known for namespaces that were loaded, with the first call of the running attempt", () => {
    const { whereabouts } = created();
    whereabouts.learn("call:1", task(1));
    whereabouts.learn("call:1|1", task(1));
    whereabouts.learn("call:1|2", task(2));
    whereabouts.learn("call:1|3", task(2));
    expect(whereabouts.pathOf("call:1")).toMatchObject({ path: ["__pregel_pull", "call"], step: 4 });
    expect(whereabouts.pathOf("elsewhere")).toBeUndefined();
    expect(whereabouts.firstOf("call:1", "call:1|1")).toBe(0);
    expect(whereabouts.firstOf("call:1", "call:1|3")).toBe(2);
  });

  it("of an outer Send is found again from its id", async () => {
    const { whereabouts } = created();
    const checkpointId = "1f1e78df-018a-6cf0-8000-394ba1210d7d";
    whereabouts.saw(checkpointId, { ...facts, sends: ["other", "leaf", "leaf"] });
    const taskId = uuid5(JSON.stringify(["leaf", "4", "leaf", "__pregel_push", "2"]), checkpointId);
    const place = await whereabouts.recompute({ prefix: "", checkpointId, segment: `leaf:${taskId}` });
    expect(place).toEqual({ path: ["__pregel_push", 2, false], step: 4 });
    const pulled = await whereabouts.recompute({ prefix: "", checkpointId, segment: "leaf:someone-else" });
    expect(pulled).toEqual({ path: ["__pregel_pull", "leaf"], step: 4 });
  });
});

describe("visits", () => {
  const parent: Progress = {
    visits: { a: 1 },
    sends: ["leaf", "leaf"],
    versionsSeen: { a: { in: 1 }, b: { in: 1 } },
    channelVersions: { __pregel_tasks: 3 },
  };
  const child = (seen: Record<string, Record<string, number>>, tasks = 4) => ({
    ...checkpointOf({ versions: { __pregel_tasks: tasks } }),
    versions_seen: seen,
  });
  const count = (more: Partial<Parameters<typeof countVisits>[0]>) =>
    countVisits({
      parent,
      checkpoint: child({ a: { in: 2 }, b: { in: 1 } }),
      source: "loop",
      fresh: false,
      addedSends: [],
      ...more,
    });

  it("grow by one for every node that completed, Sends included", () => {
    expect(count({})).toEqual({ a: 2, leaf: 1 });
    expect(count({ addedSends: ["extra"] })).toEqual({ a: 2, leaf: 1, extra: 1 });
  });

  it("do not grow for discarded Sends, for snapshot bumps, or for what LangGraph notes for itself", () => {
    expect(count({ source: "update" })).toEqual({ a: 2 });
    expect(count({ checkpoint: child({ a: { in: 2 } }, 3) })).toEqual({ a: 2 });
    const bumped = child({ a: { in: 2 }, __snapshot_bumps__: { "a|in": 2 }, __interrupt__: { in: 9 } }, 3);
    expect(count({ checkpoint: bumped })).toEqual({ a: 1 });
  });

  it("begin again with a new input and without a parent", () => {
    expect(count({ fresh: true })).toEqual({});
    expect(count({ parent: undefined })).toEqual({});
  });
});
