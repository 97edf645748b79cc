/** Which serializer a saver uses, and what it says of a value that cannot be written. */
import { JsonPlusSerializer } from "@langchain/langgraph-checkpoint";
import type { SerializerProtocol } from "@langchain/langgraph-checkpoint";
import { HumanMessage } from "@langchain/core/messages";
import { describe, expect, it } from "vitest";
import { dumpCell, loadBytes } from "../../src/checkpoint/cells.ts";
import { FencedSaver } from "../../src/checkpoint/saver.ts";
import { createSerializer, isSyncSerializer } from "../../src/checkpoint/serializer/serializer.ts";
import { tenantId } from "../../src/core/ids.ts";
import { checkpointOf, configOf, metadataOf } from "../support/checkpoints.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { createMemoryTable } from "../support/memory-table.ts";

const saverWith = (serde?: SerializerProtocol): FencedSaver =>
  new FencedSaver({
    table: createMemoryTable(),
    blobs: createMemoryBlobs(),
    tenant: tenantId("acme"),
    ...(serde === undefined ? {} : { serde }),
  });

/** Bytes that no other serializer can read. */
const upsideDown: SerializerProtocol = {
  dumpsTyped: async (value) => {
    const [type, bytes] = await new JsonPlusSerializer().dumpsTyped(value);
    return [`upside down ${type}`, bytes.toReversed()];
  },
  loadsTyped: (type, data) =>
    new JsonPlusSerializer().loadsTyped(
      type.replace("upside down ", ""),
      Uint8Array.from(data as Uint8Array).toReversed(),
    ),
};

describe("a saver's serializer", () => {
  it("is the synchronous one unless another is given", () => {
    expect(isSyncSerializer(saverWith().serde)).toBe(true);
    expect(saverWith(upsideDown).serde).toBe(upsideDown);
    expect(isSyncSerializer(upsideDown)).toBe(false);
  });

  it.each([
    ["ours", undefined],
    ["the given one", upsideDown],
  ])("is used both ways: %s", async (_, serde) => {
    const saver = saverWith(serde);
    const values = { messages: [new HumanMessage("x")], seen: new Set([1]) };
    await saver.put(configOf("t"), checkpointOf({ values }), metadataOf(0), { messages: 1, seen: 1 });
    const tuple = await saver.getTuple(configOf("t"));
    expect(tuple?.checkpoint.channel_values).toEqual(values);
    expect(tuple?.checkpoint.channel_values["messages"]).toMatchObject([{ constructor: HumanMessage }]);
  });

  it("reads what LangGraph's own has written into a thread, and the other way round", async () => {
    const value = { messages: [new HumanMessage("x")], seen: new Set([1]) };
    for (const [writer, reader] of [
      [new JsonPlusSerializer(), createSerializer()],
      [createSerializer(), new JsonPlusSerializer()],
    ] as const) {
      const { type, whole = new Uint8Array() } = await dumpCell(writer, "state", value);
      expect(await loadBytes(reader, type, whole)).toStrictEqual(value);
    }
  });

  it("names the channel, and the path in it, of a value that it cannot write", async () => {
    const values: Record<string, unknown> = { files: [{}] };
    values["files"] = [values];
    const put = saverWith().put(configOf("t"), checkpointOf({ values }), metadataOf(0), { files: 1 });
    await expect(put).rejects.toThrow(/channel "files" .*: \$\[0\]\.files .* refers back to \$/);
    await expect(put).rejects.toMatchObject({ code: "invalid", detail: { channel: "files" } });
  });

  it("leaves what it cannot make by itself to the asynchronous loader", async () => {
    const serde = createSerializer();
    const parser =
      '{"lc":1,"type":"constructor","id":["langchain_core","output_parsers","StringOutputParser"],"kwargs":{}}';
    const bytes = new TextEncoder().encode(parser);
    expect(serde.loadsSync("json", bytes)).toBeUndefined();
    const read = await loadBytes(serde, "json", bytes);
    expect(read).toMatchObject({ lc_namespace: ["langchain_core", "output_parsers", "string"] });
  });
});
