/** The OpenTelemetry collector beside each task: metrics to CloudWatch, traces to X-Ray. */
import { METRICS } from "../../src/telemetry/metric-names.ts";
import type { MetricName } from "../../src/telemetry/metric-names.ts";
import { COLLECTOR_PORT } from "./task-environment.ts";

export interface CollectorConfig {
  readonly namespace: string;
  readonly region: string;
  readonly logGroupName: string;
}

const escaped = (name: string): string => name.replaceAll(".", "\\.");

/** Each metric with its own dimensions, and without any: whatever else a process may tell is no dimension. */
const declaration = ({ name, dimensions }: MetricName) => ({
  metric_name_selectors: [`^${escaped(name)}$`],
  dimensions: dimensions.length === 0 ? [[]] : [[], dimensions],
});

/** The collector's configuration; JSON is YAML. */
export function collectorConfig({ namespace, region, logGroupName }: CollectorConfig): string {
  return JSON.stringify({
    receivers: { otlp: { protocols: { http: { endpoint: `127.0.0.1:${COLLECTOR_PORT}` } } } },
    processors: { memory_limiter: { check_interval: "1s", limit_mib: 100 }, batch: { timeout: "10s" } },
    exporters: {
      awsemf: {
        namespace,
        region,
        log_group_name: logGroupName,
        dimension_rollup_option: "NoDimensionRollup",
        // Of what is cumulative all the same, the first value counts as well.
        retain_initial_value_of_delta_metric: true,
        metric_declarations: Object.values(METRICS).map((metric) => declaration(metric)),
      },
      awsxray: { region },
    },
    service: {
      pipelines: {
        metrics: { receivers: ["otlp"], processors: ["memory_limiter", "batch"], exporters: ["awsemf"] },
        traces: { receivers: ["otlp"], processors: ["memory_limiter", "batch"], exporters: ["awsxray"] },
      },
    },
  });
}
