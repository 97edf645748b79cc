/** A table that throttles every request for a minute, on the wire: who writes to it is told, repeats, and loses nothing. */
import type { RunnableConfig } from "@langchain/core/runnables";
import { describe, expect, it } from "vitest";
import { createDynamoTable } from "../../src/aws/dynamodb-table.ts";
import { FencedSaver } from "../../src/checkpoint/saver.ts";
import { isHoldpointError } from "../../src/core/errors.ts";
import { systemIds, tenantId } from "../../src/core/ids.ts";
import { createItemBlobs } from "../../src/storage/item-blobs.ts";
import { checkpointOf, configOf, metadataOf, noise } from "../support/checkpoints.ts";
import { startDroppingProxy } from "../support/dropping-proxy.ts";
import type { Fate } from "../support/dropping-proxy.ts";
import { dynamoEngines } from "../support/engines.ts";
import { createManualClock } from "../support/manual-clock.ts";
import { dynamoOptions } from "../support/table-place.ts";

const MINUTE_MS = 60_000;
/** Between two attempts of who writes. */
const PAUSE_MS = 10_000;
const STEPS = 4;
const REFUSED: Fate = {
  answer: { status: 400, body: { __type: "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException" } },
};

describe.each(dynamoEngines())("a thread on $name, throttled for a minute before each of its writes", (engine) => {
  it("has every checkpoint and every task write once, in their order", { timeout: 120_000 }, async () => {
    await using stack = new AsyncDisposableStack();
    const opened = stack.use(await engine.open());
    const clock = createManualClock();
    let throttledUntil = 0;
    const isThrottled = (): boolean => clock.wall() < throttledUntil;
    const proxy = stack.use(
      await startDroppingProxy(opened.place.endpoint, () => (isThrottled() ? REFUSED : undefined)),
    );
    const place = { endpoint: proxy.endpoint, tableName: opened.place.tableName };
    const table = stack.use(createDynamoTable({ ...dynamoOptions(place), maxAttempts: 1 }));
    const options = { table, blobs: createItemBlobs({ table }), tenant: tenantId(`t${systemIds.token(6)}`) };
    const saver = new FencedSaver(options);

    let refusals = 0;
    /** Does the work until it is done, as a caller does who is told that the table is unavailable. */
    const insisting = async <T>(work: () => Promise<T>): Promise<T> => {
      throttledUntil = clock.wall() + MINUTE_MS;
      for (;;) {
        try {
          return await work();
        } catch (error) {
          if (!isHoldpointError(error, "unavailable")) throw error;
          refusals += 1;
          clock.advance(PAUSE_MS);
        }
      }
    };

    let config: RunnableConfig = configOf("t");
    for (let n = 0; n < STEPS; n += 1) {
      // The large one is kept in segments, the largest as a body.
      const values = { n, large: `${n}${noise(90_000)}`, largest: `${n}${noise(400_000)}` };
      const versions = { n: n + 1, large: n + 1, largest: n + 1 };
      const checkpoint = checkpointOf({ values, versions });
      const from = config;
      config = await insisting(() => saver.put(from, checkpoint, metadataOf(n), versions));
      await insisting(() => saver.putWrites(config, [["n", `write ${n}`]], `task-${n}`));
    }
    expect(refusals).toBe((2 * STEPS * MINUTE_MS) / PAUSE_MS);

    const found: unknown[] = [];
    for await (const { checkpoint, pendingWrites } of new FencedSaver(options).list(configOf("t")))
      found.unshift([checkpoint.channel_values["n"], checkpoint.channel_values["largest"], pendingWrites]);
    const expected = Array.from({ length: STEPS }, (_, n) => [
      n,
      `${n}${noise(400_000)}`,
      [[`task-${n}`, "n", `write ${n}`]],
    ]);
    expect(found).toEqual(expected);
  });
});
