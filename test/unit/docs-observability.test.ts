/** What docs/observability.md says of metrics is what is emitted. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, it } from "vitest";
import { METRICS } from "../../src/telemetry/metric-names.ts";
import type { MetricName } from "../../src/telemetry/metric-names.ts";

const PROJECT = resolve(import.meta.dirname, "../..");
const code = (text: string): string => `\`${text}\``;

it("docs/observability.md lists every metric with its kind, unit, attributes and description", () => {
  const text = readFileSync(join(PROJECT, "docs/observability.md"), "utf8");
  const [, section] = /<!-- metrics -->\n(.*?)\n?<!-- \/metrics -->/s.exec(text) ?? [];
  const names: readonly MetricName[] = Object.values(METRICS);
  const rows = names.map(({ name, kind, unit, attributes, description }) => [
    code(name),
    kind,
    code(unit),
    attributes.map(code).join(", "),
    description,
  ]);
  const heads = ["metric", "kind", "unit", "attributes", "what it tells"];
  const table = [heads, heads.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`).join("\n");
  expect(section).toBe(table);
});
