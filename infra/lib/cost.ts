/** What it costs: a million runs, from measured units, and a month in which nobody asks for anything. */
import { z } from "zod";
import type { EnvironmentConfig } from "./config.ts";

const usd = z.number().positive();

/** A price list, with the month in which it was read. */
export const priceList = z.strictObject({
  asOf: z.string().regex(/^\d{4}-\d{2}$/),
  region: z.string(),
  writeUnitsPerMillionUsd: usd,
  readUnitsPerMillionUsd: usd,
  tableGbMonthUsd: usd,
  recoveryGbMonthUsd: usd,
  vcpuHourUsd: usd,
  memoryGbHourUsd: usd,
  natGatewayHourUsd: usd,
  endpointHourUsd: usd,
  balancerHourUsd: usd,
  firewallMonthUsd: usd,
  firewallRuleMonthUsd: usd,
  keyMonthUsd: usd,
  secretMonthUsd: usd,
});

export type Prices = z.output<typeof priceList>;

/** What one run asks of the table, and leaves there. */
export interface RunUnits {
  readonly writeUnits: number;
  readonly readUnits: number;
  readonly bytes: number;
}

/**
 * A run of three nodes with encrypted content, as `bench/table/round-trips.ts` counts it; test/unit/run-units.test.ts
 * counts again.
 */
export const MEASURED: RunUnits = { writeUnits: 29, readUnits: 9, bytes: 6549 };

export interface Cost {
  readonly what: string;
  readonly amount: string;
  readonly usd: number;
}

const GB = 1e9;
const MILLION = 1e6;
const HOURS = 730;
const CPU_UNITS = 1024;
const MIB_OF_GB = 1024;

/** Of the table, for a million runs whose threads are kept for a month. */
export function costPerMillionRuns({ writeUnits, readUnits, bytes }: RunUnits, prices: Prices): readonly Cost[] {
  const gigabytes = (bytes * MILLION) / GB;
  return [
    { what: "write units", amount: `${writeUnits} a run`, usd: writeUnits * prices.writeUnitsPerMillionUsd },
    { what: "read units", amount: `${readUnits} a run`, usd: readUnits * prices.readUnitsPerMillionUsd },
    {
      what: "kept for a month, with recovery to any second",
      amount: `${gigabytes.toFixed(1)} GB`,
      usd: gigabytes * (prices.tableGbMonthUsd + prices.recoveryGbMonthUsd),
    },
  ];
}

/** What stands there: numbers of what an environment's templates have. */
export interface Standing {
  readonly endpoints: number;
  readonly firewallRules: number;
  readonly keys: number;
  readonly secrets: number;
}

/** A month of the least number of tasks, without requests, and with all workers on regular capacity. */
export function costPerMonth(config: EnvironmentConfig, standing: Standing, prices: Prices): readonly Cost[] {
  const tasks = (role: "api" | "worker"): Cost => {
    const { cpu, memoryMiB, minTasks } = config[role];
    const hour = (cpu / CPU_UNITS) * prices.vcpuHourUsd + (memoryMiB / MIB_OF_GB) * prices.memoryGbHourUsd;
    const size = `${cpu / CPU_UNITS} vCPU, ${memoryMiB / MIB_OF_GB} GB`;
    return { what: `${role} tasks`, amount: `${minTasks} of ${size}`, usd: minTasks * HOURS * hour };
  };
  const zones = config.zones.length;
  const { endpoints, firewallRules, keys, secrets } = standing;
  const firewallUsd = prices.firewallMonthUsd + firewallRules * prices.firewallRuleMonthUsd;
  return [
    tasks("api"),
    tasks("worker"),
    {
      what: "endpoints of AWS services",
      amount: `${endpoints} in ${zones} zones`,
      usd: endpoints * zones * HOURS * prices.endpointHourUsd,
    },
    {
      what: "NAT gateways",
      amount: `${config.natGateways}`,
      usd: config.natGateways * HOURS * prices.natGatewayHourUsd,
    },
    { what: "load balancer", amount: "1", usd: HOURS * prices.balancerHourUsd },
    { what: "firewall", amount: `${firewallRules} rules`, usd: firewallUsd },
    {
      what: "keys and secrets",
      amount: `${keys} and ${secrets}`,
      usd: keys * prices.keyMonthUsd + secrets * prices.secretMonthUsd,
    },
  ];
}

/** Rows of a table in Markdown, with their sum. */
export function costTable(costs: readonly Cost[]): string {
  const sum = costs.reduce((total, cost) => total + cost.usd, 0);
  const rows = [...costs, { what: "**in all**", amount: "", usd: sum }];
  return [
    "| what | how much | USD |",
    "| --- | --- | --- |",
    ...rows.map(({ what, amount, usd: price }) => `| ${what} | ${amount} | ${price.toFixed(2)} |`),
  ].join("\n");
}
