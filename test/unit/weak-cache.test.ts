import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { describe, expect, it } from "vitest";
import { createWeakCache } from "../../src/storage/weak-cache.ts";

setFlagsFromString("--expose-gc");
const collect = runInNewContext("gc") as () => void;

interface Batch {
  readonly frames: readonly string[];
}

describe("a weak cache", () => {
  it("gives everybody the one that is held, also who has read it once more", () => {
    const cache = createWeakCache<Batch>();
    const held = cache.put("a", { frames: ["x"] });
    expect(cache.get("a")).toBe(held);
    expect(cache.put("a", { frames: ["x"] })).toBe(held);
    expect(cache.get("b")).toBeUndefined();
  });

  it("keeps nothing that nobody holds, and takes the next", async () => {
    const cache = createWeakCache<Batch>();
    let held: Batch | undefined = cache.put("a", { frames: ["x"] });
    await sleep(1);
    collect();
    expect(cache.get("a")).toBe(held);
    held = undefined;
    await sleep(1);
    collect();
    expect(cache.get("a")).toBeUndefined();
    const next = cache.put("a", { frames: ["y"] });
    await sleep(1);
    expect(cache.get("a")).toBe(next);
  });
});
