/** LangGraph's own conformance suite for checkpoint savers. */
import { deltaChannelHistoryTests, validate } from "@langchain/langgraph-checkpoint-validation";
import { tenantId } from "../../src/core/ids.ts";
import { FencedSaver } from "../../src/checkpoint/saver.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { createMemoryTable } from "../support/memory-table.ts";

const initializer = {
  checkpointerName: "FencedSaver on memory",
  createCheckpointer: async () =>
    new FencedSaver({ table: createMemoryTable(), blobs: createMemoryBlobs(), tenant: tenantId("acme") }),
};
validate(initializer);
deltaChannelHistoryTests(initializer);
