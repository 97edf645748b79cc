/** LangGraph's own conformance suite for checkpoint savers, on every engine. */
import { deltaChannelHistoryTests, validate } from "@langchain/langgraph-checkpoint-validation";
import { afterAll, beforeAll, describe } from "vitest";
import { FencedSaver } from "../../src/checkpoint/saver.ts";
import { tenantId } from "../../src/core/ids.ts";
import type { Handles } from "../support/engines.ts";
import { everyTable } from "../support/engines.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";

for (const engine of everyTable()) {
  describe(`on ${engine.name}`, () => {
    let handles: Handles | undefined;
    let tenants = 0;
    beforeAll(async () => {
      handles = await engine.open();
    });
    afterAll(async () => {
      await handles?.[Symbol.asyncDispose]();
    });
    const initializer = {
      checkpointerName: "FencedSaver",
      // One table for all; a tenant of its own keeps each saver's threads apart.
      createCheckpointer: async () => {
        if (handles === undefined) throw new Error("the table is not open");
        return new FencedSaver({
          table: handles.table,
          blobs: createMemoryBlobs(),
          tenant: tenantId(`tenant-${tenants++}`),
        });
      },
    };
    validate(initializer);
    deltaChannelHistoryTests(initializer);
  });
}
