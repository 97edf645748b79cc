/** LangGraph's own conformance suite for checkpoint savers, on every engine, in the clear and encrypted. */
import { deltaChannelHistoryTests, validate } from "@langchain/langgraph-checkpoint-validation";
import { afterAll, beforeAll, describe } from "vitest";
import { FencedSaver } from "../../src/checkpoint/saver.ts";
import { tenantId } from "../../src/core/ids.ts";
import { plainSealers } from "../../src/storage/encryption/sealer.ts";
import type { Sealers } from "../../src/storage/encryption/sealer.ts";
import type { Handles } from "../support/engines.ts";
import { everyTable } from "../support/engines.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { sealersOn } from "../support/sealers.ts";

const matrix = everyTable().flatMap((engine) => [true, false].map((encrypts) => ({ engine, encrypts })));

for (const { engine, encrypts } of matrix) {
  describe(`on ${engine.name}, ${encrypts ? "encrypted" : "in the clear"}`, () => {
    let handles: Handles | undefined;
    let sealers: Sealers = plainSealers;
    let tenants = 0;
    beforeAll(async () => {
      handles = await engine.open();
      if (encrypts) sealers = sealersOn(handles.table, { required: true });
    });
    afterAll(async () => {
      await handles?.[Symbol.asyncDispose]();
    });
    const initializer = {
      checkpointerName: "FencedSaver",
      // One table for all; a tenant of its own keeps each saver's threads apart.
      createCheckpointer: async () => {
        if (handles === undefined) throw new Error("the table is not open");
        const tenant = tenantId(`tenant-${tenants++}`);
        return new FencedSaver({ table: handles.table, blobs: createMemoryBlobs(), tenant, sealer: sealers(tenant) });
      },
    };
    validate(initializer);
    deltaChannelHistoryTests(initializer);
  });
}
