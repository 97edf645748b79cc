/** What a process tells the collector, set up as its task is: what has happened is told once, and never again. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { METRICS } from "../../src/telemetry/metric-names.ts";
import { eventually } from "../support/eventually.ts";
import { otelEnv, startOtlpReceiver } from "../support/otlp-receiver.ts";
import { startTelling } from "../support/telling.ts";

const INTERVAL_MS = 100;

interface Variable {
  readonly Name: string;
  readonly Value: unknown;
}
interface Task {
  readonly Type: string;
  readonly Properties: {
    readonly ContainerDefinitions: readonly { readonly Name: string; readonly Environment?: readonly Variable[] }[];
  };
}

/** OpenTelemetry's variables of a task, as its template has them. */
function toldOf(role: string): Readonly<Record<string, string>> {
  const template = readFileSync(join(import.meta.dirname, "../../infra/templates/production/service.json"), "utf8");
  const { Resources } = JSON.parse(template) as { readonly Resources: Readonly<Record<string, Task>> };
  const [, task] =
    Object.entries(Resources).find(
      ([id, { Type }]) => Type === "AWS::ECS::TaskDefinition" && id.startsWith(`${role}Task`),
    ) ?? [];
  const container = task?.Properties.ContainerDefinitions.find(({ Name }) => Name === "holdpoint");
  const told = (container?.Environment ?? []).filter(({ Name }) => Name.startsWith("OTEL_"));
  return Object.fromEntries(told.map(({ Name, Value }) => [Name, String(Value)]));
}

interface Point {
  readonly asDouble?: number;
  readonly asInt?: number;
  readonly count?: number;
}
interface Told {
  readonly name: string;
  readonly sum?: { readonly dataPoints: readonly Point[] };
  readonly histogram?: { readonly dataPoints: readonly Point[] };
}

/** Each line is one export. */
const exported = (text: string, name: string): readonly number[] =>
  text.split("\n").flatMap((line) => {
    const { resourceMetrics = [] } = JSON.parse(line) as {
      readonly resourceMetrics?: readonly { readonly scopeMetrics: readonly { readonly metrics: readonly Told[] }[] }[];
    };
    const metrics = resourceMetrics.flatMap(({ scopeMetrics }) => scopeMetrics.flatMap((scope) => scope.metrics));
    return metrics
      .filter((metric) => metric.name === name)
      .flatMap(({ sum, histogram }) => (sum ?? histogram)?.dataPoints ?? [])
      .map(({ asDouble, asInt, count }) => Number(asDouble ?? asInt ?? count));
  });

async function toldBy(env: Readonly<Record<string, string>>): Promise<(name: string) => number> {
  await using receiver = await startOtlpReceiver();
  {
    const short = { OTEL_METRIC_EXPORT_INTERVAL: String(INTERVAL_MS), OTEL_METRIC_EXPORT_TIMEOUT: "90" };
    await using telling = await startTelling({ ...env, ...otelEnv(receiver.url), ...short });
    const parked = (): void => telling.telemetry.metrics.runEnded({ graph: "a", outcome: "parked", ms: 5 });
    parked();
    await eventually(() => receiver.requests > 0);
    parked();
    await sleep(3 * INTERVAL_MS);
  }
  // CloudWatch adds up all that it is told.
  return (name) => exported(receiver.text, name).reduce((sum, one) => sum + one, 0);
}

describe("two runs that were parked", () => {
  const parked = [METRICS.runsEnded.name, METRICS.runDuration.name];

  it.each(["Api", "Worker"])("are two in all that a task tells: %s", async (role) => {
    const total = await toldBy(toldOf(role));
    expect(parked.map(total)).toEqual([2, 2]);
  });

  it("would be more without what the task is told (negative control)", async () => {
    const { OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE: _, ...rest } = toldOf("Worker");
    const total = await toldBy(rest);
    expect(Math.min(...parked.map(total))).toBeGreaterThan(2);
  });
});
