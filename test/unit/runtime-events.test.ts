import { describe, expect, it } from "vitest";
import type { EventBatch } from "../../src/core/event.ts";
import { createKit, looseRun } from "./runtime-kit.ts";

async function logOf(batches: readonly (readonly string[])[]) {
  const kit = createKit();
  const run = looseRun(kit);
  let first = 0;
  for (const texts of batches) {
    const batch: EventBatch = {
      first,
      runId: run.runId,
      fence: 1,
      frames: texts.map((data) => ({ kind: "data", event: "custom", data })),
      usedBytes: 0,
    };
    await kit.deps.events.append(run, 0, batch);
    first += texts.length;
  }
  const numbersFrom = async (from: number): Promise<number[]> =>
    (await kit.deps.events.read(run, 0, from)).frames.map(({ number }) => number);
  return { numbersFrom };
}

describe("reading a thread's events", () => {
  it("finds what comes after a megabyte of frames", async () => {
    const { numbersFrom } = await logOf(Array.from({ length: 99 }, () => ["x".repeat(30_000)]));
    expect(await numbersFrom(95)).toEqual([95, 96, 97, 98]);
  });

  it("begins in the middle of a batch", async () => {
    const { numbersFrom } = await logOf([["a", "b"], ["c", "d", "e"], ["f"]]);
    expect(await numbersFrom(3)).toEqual([3, 4, 5]);
    expect(await numbersFrom(2)).toEqual([2, 3, 4, 5]);
    expect(await numbersFrom(0)).toEqual([0, 1, 2, 3, 4, 5]);
    expect(await numbersFrom(6)).toEqual([]);
  });
});
