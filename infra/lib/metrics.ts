import { Duration } from "aws-cdk-lib";
import { Metric } from "aws-cdk-lib/aws-cloudwatch";
import { METRICS } from "../../src/telemetry/metric-names.ts";
import type { EnvironmentConfig } from "./config.ts";

export const namespaceOf = ({ name }: EnvironmentConfig): string => `Holdpoint/${name}`;

export interface OwnMetric {
  /** No percentiles: of a histogram the collector tells CloudWatch least, most, sum and count. */
  readonly statistic: "avg" | "max" | "sum";
  readonly label?: string;
  readonly dimensions?: Readonly<Record<string, string>>;
  readonly period?: Duration;
}

/** A metric that the service itself emits. */
export function ownMetric(config: EnvironmentConfig, name: keyof typeof METRICS, options: OwnMetric): Metric {
  const { dimensions = {}, period = Duration.minutes(1), statistic, label } = options;
  return new Metric({
    namespace: namespaceOf(config),
    metricName: METRICS[name].name,
    dimensionsMap: { ...dimensions },
    period,
    statistic,
    ...(label === undefined ? {} : { label }),
  });
}
