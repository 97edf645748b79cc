/** What docs/deploy.md computes costs from is what a run takes now. */
import { describe, expect, it } from "vitest";
import { measureUnits } from "../../bench/table/round-trips.ts";
import { MEASURED } from "../../infra/lib/cost.ts";

describe("a run of three nodes", () => {
  it("takes the units of the table that its cost is computed from", async () => {
    const units = await measureUnits(5, 10);
    expect(units.writeUnits).toBe(MEASURED.writeUnits);
    // How often a client that waits looks depends a little on the machine.
    expect(Math.abs(units.readUnits - MEASURED.readUnits)).toBeLessThanOrEqual(4);
    expect(Math.abs(units.bytes / MEASURED.bytes - 1)).toBeLessThan(0.05);
  });
});
