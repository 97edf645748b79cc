/**
 * Records of format 1 as they were first written. They stay readable; a new layout gets a fixture of its own. What a
 * later version adds as an optional field is ignored and kept; what it writes in a new layout is left to it.
 */
import { emptyCheckpoint } from "@langchain/langgraph-checkpoint";
import type { PendingWrite } from "@langchain/langgraph-checkpoint";
import { describe, expect, it } from "vitest";
import { isNewerFormat } from "../../src/core/newer-format.ts";
import { FencedSaver } from "../../src/checkpoint/saver.ts";
import { tenantId, threadId } from "../../src/core/ids.ts";
import type { Table, Value } from "../../src/storage/table.ts";
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

const PARTITION = "acme#t#t1";
const WRITES = "W#000000##cp-2#task-1#0000000001";

const readerOf = (table: Table): FencedSaver =>
  new FencedSaver({ table, blobs: createMemoryBlobs(), tenant: tenantId("acme") });

describe("records of format 1", () => {
  const opened = async () => {
    const table = createMemoryTable();
    for (const [sk, attributes] of Object.entries(FORMAT_1))
      await table.put({ pk: PARTITION, sk, attributes }, "absent");
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

  it("may hold fields that this version does not know", async () => {
    const { table, saver } = await opened();
    const before = await saver.getTuple(configOf("t1"));
    for (const [sk, attributes] of Object.entries(FORMAT_1))
      await table.put({ pk: PARTITION, sk, attributes: { ...attributes, zz: ["from", "later"] } }, "any");
    expect(await readerOf(table).getTuple(configOf("t1"))).toEqual(before);
  });

  it("keep such a field when this version adds to an item", async () => {
    const { table } = await opened();
    const sk = "W#000000##cp-2#task-1#0000000000";
    const lease = configOf("t1", "cp-2");
    const writer = readerOf(table);
    await table.put({ pk: PARTITION, sk, attributes: { ...FORMAT_1[WRITES], f: 0, zz: "from later" } }, "absent");
    const added: PendingWrite[] = [
      ["n", 3],
      ["messages", ["x"]],
      ["more", "y"],
    ];
    await writer.putWrites(lease, added, "task-1");
    const item = await table.get({ pk: PARTITION, sk });
    expect(item?.attributes).toMatchObject({ zz: "from later" });
    expect(item?.attributes["b"]).not.toEqual(FORMAT_1[WRITES]?.["b"]);
  });

  it.each([
    ["a log record", "C#000000##000000000003", { v: 2 }],
    ["the body of a checkpoint", "C#000000##000000000002", { b: Uint8Array.of(2, 0, 1, 2, 3) }],
    ["a checkpoint", "C#000000##000000000002", { v: 4 }],
    ["the writes of a task", WRITES, { v: 3 }],
    ["the body of such writes", WRITES, { b: Uint8Array.of(2, 0, 1, 2, 3) }],
  ])("of a version to come are left to who wrote them: %s", async (_, sk, changed) => {
    const { table } = await opened();
    await table.put({ pk: PARTITION, sk, attributes: { ...FORMAT_1[sk], ...changed } }, "any");
    const error: unknown = await readerOf(table)
      .getTuple(configOf("t1"))
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code: "unsupported", detail: { reason: "newer_format" } });
    expect(isNewerFormat(error)).toBe(true);
  });

  it("of a version that never was are corrupt", async () => {
    const { table } = await opened();
    await table.put({ pk: PARTITION, sk: WRITES, attributes: { ...FORMAT_1[WRITES], v: 0 } }, "any");
    await expect(readerOf(table).getTuple(configOf("t1"))).rejects.toMatchObject({ code: "corrupt" });
  });

  it("do not say from which input steps are counted, nor does what follows them, until the next input", async () => {
    const { table, saver } = await opened();
    expect(saver.head()).not.toHaveProperty("inputStep");
    const lease = { threadId: threadId("t1"), generation: 0, fence: 3 };
    const writer = await FencedSaver.open({ table, blobs: createMemoryBlobs(), tenant: tenantId("acme"), lease });
    await writer.barrier();
    const put = (id: string, parent: string, metadata: { source: "loop" | "input"; step: number }) =>
      writer.put(configOf("t1", parent), { ...emptyCheckpoint(), id }, { ...metadata, parents: {} }, {});
    await put("cp-3", "cp-2", { source: "loop", step: 1 });
    expect(writer.head()).not.toHaveProperty("inputStep");
    await put("cp-4", "cp-3", { source: "input", step: 2 });
    await put("cp-5", "cp-4", { source: "loop", step: 3 });
    expect(writer.head()).toMatchObject({ checkpointId: "cp-5", step: 3, inputStep: 2 });
    expect(
      (
        await FencedSaver.open({
          table,
          blobs: createMemoryBlobs(),
          tenant: tenantId("acme"),
          threadId: lease.threadId,
        })
      ).head(),
    ).toMatchObject({ inputStep: 2 });
  });
});
