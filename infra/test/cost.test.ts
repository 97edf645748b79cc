/**
 * What docs/deploy.md says of costs follows from the units that a run takes (test/unit/run-units.test.ts measures them),
 * the templates and the price list.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { MEASURED, costPerMillionRuns, costPerMonth, costTable, priceList } from "../lib/cost.ts";
import type { Standing } from "../lib/cost.ts";
import { configOf, listOf, resources } from "./infra-kit.ts";

const INFRA = join(import.meta.dirname, "..");
const PRICES = priceList.parse(JSON.parse(readFileSync(join(INFRA, "prices.json"), "utf8")));
const DEPLOY = readFileSync(join(INFRA, "../docs/deploy.md"), "utf8");

/** What stands between `<!-- name -->` and `<!-- /name -->`. */
const section = (name: string): string =>
  new RegExp(`<!-- ${name} -->\n(.*?)\n?<!-- /${name} -->`, "s").exec(DEPLOY)?.[1] ?? "";

describe("the cost of a million runs", () => {
  it("is what the document says", () => {
    expect(section("cost of a million runs")).toBe(costTable(costPerMillionRuns(MEASURED, PRICES)));
    expect(DEPLOY).toContain(`prices of ${PRICES.region}, ${PRICES.asOf}`);
  });

  it("grows with every unit (negative control)", () => {
    const sum = (units: typeof MEASURED): number =>
      costPerMillionRuns(units, PRICES).reduce((all, { usd }) => all + usd, 0);
    for (const unit of ["writeUnits", "readUnits", "bytes"] as const)
      expect(sum({ ...MEASURED, [unit]: 2 * MEASURED[unit] })).toBeGreaterThan(sum(MEASURED));
  });
});

describe.each(["development", "production"])("a month of %s in which nothing is asked", (environment) => {
  it("costs what the document says", () => {
    const of = (type: string) => resources(type).filter(({ at }) => at.startsWith(`${environment}/`));
    const standing: Standing = {
      endpoints: of("AWS::EC2::VPCEndpoint").filter(({ properties }) => properties["VpcEndpointType"] === "Interface")
        .length,
      firewallRules: of("AWS::WAFv2::WebACL").flatMap(({ properties }) => listOf(properties["Rules"])).length,
      keys: of("AWS::KMS::Key").length,
      secrets: of("AWS::SecretsManager::Secret").length,
    };
    const month = costPerMonth(configOf(environment), standing, PRICES);
    expect(section(`cost of a month, ${environment}`)).toBe(costTable(month));
  });
});
