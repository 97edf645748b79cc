/** Records of format 1 as they were first written. They stay readable; a new layout gets a fixture of its own. */
import { describe, expect, it } from "vitest";
import { FencedSaver } from "../../src/checkpoint/saver.ts";
import { tenantId, threadId } from "../../src/core/ids.ts";
import type { Value } from "../../src/storage/table.ts";
import { configOf } from "../support/checkpoints.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { createMemoryTable } from "../support/memory-table.ts";

const bytes = (base64: string): Uint8Array => Uint8Array.from(Buffer.from(base64, "base64"));
const FORMAT_1: Readonly<Record<string, Readonly<Record<string, Value>>>> = {
  "C#000000##000000000001": {
    v: 1,
    k: "c",
    f: 1,
    id: "cp-1",
    bs: 1,
    n: 0,
    d: 0,
    r: "root-1",
    st: -1,
    so: "input",
    ru: "run-1",
    h: bytes("pKAD6dlCgl7OSdkS+9WTBQ=="),
    b: bytes(
      "AQHtjkFqw0AMRX2U8tZymEnTEHSOrjoMIbhD4pCMjWV7Y3yY3LRMS8kJuiuI9z9f8KWqqh4LM7oTRkPZuu2+dr52/t05/Z6Nc+4DoZnRhXsyO52ToV7IqF+F2dClaPujltEQhTsauFqXkbdDFBo0hGeD/C5f97sYJZCfkY8xCufSsy5YNw1NQmlzP40INqYerb3Qn4aUy+vl8DDlY/uJFlN71sAl3W7dyz//mkT/BQ==",
    ),
  },
  "C#000000##000000000002": {
    v: 1,
    k: "c",
    f: 1,
    id: "cp-2",
    p: "cp-1",
    ps: 1,
    bs: 1,
    n: 1,
    d: 28,
    r: "root-1",
    st: 0,
    so: "loop",
    h: bytes("PzMgEjDTZ7hbfObEpmlPfg=="),
    b: bytes(
      "AQFdj8Fqw0AMRP0tc5aLvC0t0XfklEWYxd2aJM6usVxfFn9bf61sQnsICAbpiWGmaZqfgg3yRlgNAsfuveWu5e7ILPd5YeYTCMMGKbhFszBGg3SEBHGEvp+XOMapX4NdK9gJm0FK1fNDLUE8phi+oIRbXS6WE+j1oIQB4j0S6O/aqZJ/Nv6n7kNVCSPE615g+XsZIgRTzjMItsYZwoQ5LDHVWmXfnS9I+fP+VlMQwjI+kP4C",
    ),
  },
  "C#000000##000000000003": {
    v: 1,
    k: "b",
    f: 2,
    id: "cp-2",
    r: "root-1",
    se: ["task-1.1", "task-2.1.-3", "task-2.1.-4"],
  },
  "W#000000##cp-2#task-1#0000000001": {
    v: 1,
    t: "task-1",
    p: "~__pregel_pull, a",
    f: 1,
    b: bytes("AQAAAAA0eyJ3IjpbWzAsIm4iLFsianNvbiIsMV1dLFsxLCJtZXNzYWdlcyIsWyJqc29uIiw1XV1dfTNbIngiXQ=="),
  },
  "W#000000##cp-2#task-2#0000000001#-3": {
    v: 1,
    t: "task-2",
    p: "",
    f: 1,
    b: bytes(
      "AQAAAAB2eyJ3IjpbWy0zLCJfX2ludGVycnVwdF9fIixbImpzb24iLDI1XV1dLCJvIjpbeyJpZCI6ImkxIiwibnMiOiIiLCJjaGVja3BvaW50SWQiOiJjcC0yIiwidGFza0lkIjoidGFzay0yIiwib3JkaW5hbCI6MX1dfVt7ImlkIjoiaTEiLCJ2YWx1ZSI6Ij8ifV0=",
    ),
  },
  "W#000000##cp-2#task-2#0000000001#-4": {
    v: 1,
    t: "task-2",
    p: "",
    f: 1,
    b: bytes("AQAAAAAkeyJ3IjpbWy00LCJfX3Jlc3VtZV9fIixbImpzb24iLDddXV19WyJ5ZXMiXQ=="),
  },
};

describe("records of format 1", () => {
  const opened = async () => {
    const table = createMemoryTable();
    for (const [sk, attributes] of Object.entries(FORMAT_1))
      await table.put({ pk: "acme#t#t1", sk, attributes }, "absent");
    const options = { table, blobs: createMemoryBlobs(), tenant: tenantId("acme"), threadId: threadId("t1") };
    return { table, saver: await FencedSaver.open(options) };
  };

  it("are read as what was written", async () => {
    const { saver } = await opened();
    expect(saver.head()).toEqual({ checkpointId: "cp-2", seq: 2, fence: 1, root: "root-1", step: 0, source: "loop" });
    expect(await saver.getTuple(configOf("t1"))).toMatchObject({
      checkpoint: { channel_values: { messages: ["hello ".repeat(60)], n: 2, __pregel_tasks: [{ node: "leaf" }] } },
      metadata: { source: "loop", step: 0 },
      parentConfig: configOf("t1", "cp-1"),
      pendingWrites: [
        ["task-2", "__resume__", ["yes"]],
        ["task-2", "__interrupt__", [{ id: "i1", value: "?" }]],
        ["task-1", "n", 3],
        ["task-1", "messages", ["x"]],
      ],
    });
    expect(await saver.getTuple(configOf("t1", "cp-1"))).toMatchObject({
      checkpoint: { channel_values: { messages: ["hello ".repeat(60)], n: 1 } },
      metadata: { source: "input", run_id: "run-1" },
    });
    const owner = { id: "i1", ns: "", checkpointId: "cp-2", taskId: "task-2", ordinal: 1 };
    expect(await saver.pendingInterrupts()).toEqual([{ id: "i1", value: "?", taskId: "task-2", owner }]);
    expect(await saver.whereabouts.record("", "cp-2")).toMatchObject({ root: "root-1", sends: ["leaf"], visits: {} });
  });

  it("of a version to come are refused, not guessed", async () => {
    const { table } = await opened();
    const key = { pk: "acme#t#t1", sk: "C#000000##000000000003" };
    await table.put({ ...key, attributes: { ...FORMAT_1[key.sk], v: 2 } }, "any");
    const reader = new FencedSaver({ table, blobs: createMemoryBlobs(), tenant: tenantId("acme") });
    await expect(reader.getTuple(configOf("t1"))).rejects.toMatchObject({ code: "corrupt" });
  });
});
