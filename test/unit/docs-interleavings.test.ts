/** What docs/benchmarks.md says of the searches of interleavings is what is claimed of them. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { FAULT_KINDS } from "../sim/interleave.ts";
import { CLAIMS } from "../sim/interleave-scenarios.ts";
import type { Claim } from "../sim/interleave-scenarios.ts";

const BENCHMARKS = readFileSync(join(resolve(import.meta.dirname, "../.."), "docs/benchmarks.md"), "utf8");

/** The first two cells of a scenario's row. */
function rowOf({ scenario, faults = FAULT_KINDS, exhausts, exhaustsNightly = [] }: Claim): string {
  const nightly = exhaustsNightly.length === 0 ? "" : `; nightly ${exhaustsNightly.length} of ${faults.length}`;
  return `| ${scenario.name} | ${exhausts.length} of ${faults.length}${nightly} |`;
}

describe("the table of interleavings", () => {
  it("has a row for each scenario, with the searches that are claimed to be exhausted", () => {
    const [, rows = ""] =
      /\| scenario \| searches exhausted \|[^\n]*\n[^\n]*\n((?:\|[^\n]*\n)+)/.exec(BENCHMARKS) ?? [];
    const said = rows.trimEnd().split("\n");
    const begins = said.map((row) => row.split("|", 3).join("|") + "|");
    expect(begins.toSorted()).toEqual(CLAIMS.map(rowOf).toSorted());
    for (const { scenario, exhausts } of CLAIMS) {
      const [, , , cell = ""] = said.find((row) => row.startsWith(`| ${scenario.name} |`))?.split("|") ?? [];
      for (const fault of exhausts)
        expect([scenario.name, cell]).toEqual([scenario.name, expect.stringContaining(fault)]);
    }
  });

  it("is summed up above it", () => {
    const searches = CLAIMS.reduce((sum, { faults = FAULT_KINDS }) => sum + faults.length, 0);
    const exhausted = CLAIMS.reduce((sum, { exhausts }) => sum + exhausts.length, 0);
    expect(BENCHMARKS).toContain(`states in ${searches} searches, **${exhausted} of them exhausted**`);
  });
});
