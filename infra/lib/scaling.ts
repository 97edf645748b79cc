/** How many tasks there are: workers by what waits for them, the api by what it does and holds open. */
import { Duration, Stack } from "aws-cdk-lib";
import type { StackProps } from "aws-cdk-lib";
import {
  CfnScalingPolicy,
  PredefinedMetric,
  ScalableTarget,
  ServiceNamespace,
  TargetTrackingScalingPolicy,
} from "aws-cdk-lib/aws-applicationautoscaling";
import type { Construct } from "constructs";
import { METRICS } from "../../src/telemetry/metric-names.ts";
import type { EnvironmentConfig } from "./config.ts";
import { namespaceOf, ownMetric } from "./metrics.ts";
import type { Services } from "./service.ts";
import type { Role } from "./task-environment.ts";

const OUT = Duration.seconds(30);
/** Slower: a worker that goes must stop at a superstep first. */
const IN = Duration.minutes(10);

export function createScaling(
  scope: Construct,
  config: EnvironmentConfig,
  { services, ...props }: StackProps & { readonly services: Services },
): Stack {
  const stack = new Stack(scope, "Scaling", props);
  scaleApi(stack, config, services);
  scaleWorkers(stack, config, services);
  return stack;
}

function target(
  stack: Stack,
  role: Role,
  { config, services }: { readonly config: EnvironmentConfig; readonly services: Services },
) {
  return new ScalableTarget(stack, role === "api" ? "Api" : "Worker", {
    serviceNamespace: ServiceNamespace.ECS,
    scalableDimension: "ecs:service:DesiredCount",
    resourceId: `service/${services.cluster.clusterName}/${services[role].serviceName}`,
    minCapacity: config[role].minTasks,
    maxCapacity: config[role].maxTasks,
  });
}

function scaleApi(stack: Stack, config: EnvironmentConfig, services: Services): void {
  const scalingTarget = target(stack, "api", { config, services });
  const pace = { scalingTarget, scaleOutCooldown: OUT, scaleInCooldown: IN };
  new TargetTrackingScalingPolicy(stack, "ApiByCpu", {
    ...pace,
    predefinedMetric: PredefinedMetric.ECS_SERVICE_AVERAGE_CPU_UTILIZATION,
    targetValue: 60,
  });
  new TargetTrackingScalingPolicy(stack, "ApiByStreams", {
    ...pace,
    // Each task tells its own, and so their average is that of a task.
    customMetric: ownMetric(config, "openStreams", { statistic: "avg" }),
    targetValue: config.api.streamsPerTask,
  });
}

/** Backlog for each task. Every task tells the same backlog; Container Insights tells how many tasks there are. */
function scaleWorkers(stack: Stack, config: EnvironmentConfig, services: Services): void {
  const { scalableTargetId } = target(stack, "worker", { config, services });
  const metric = (namespace: string, metricName: string, dimensions: Readonly<Record<string, string>>) => ({
    metric: { namespace, metricName, dimensions: Object.entries(dimensions).map(([name, value]) => ({ name, value })) },
    stat: "Average",
  });
  const service = { ClusterName: services.cluster.clusterName, ServiceName: services.worker.serviceName };
  new CfnScalingPolicy(stack, "WorkersByBacklog", {
    policyName: `holdpoint-${config.name}-backlog-per-task`,
    policyType: "TargetTrackingScaling",
    scalingTargetId: scalableTargetId,
    targetTrackingScalingPolicyConfiguration: {
      targetValue: config.worker.backlogPerTask,
      scaleOutCooldown: OUT.toSeconds(),
      scaleInCooldown: IN.toSeconds(),
      customizedMetricSpecification: {
        metrics: [
          { id: "backlog", metricStat: metric(namespaceOf(config), METRICS.backlog.name, {}), returnData: false },
          { id: "tasks", metricStat: metric("ECS/ContainerInsights", "RunningTaskCount", service), returnData: false },
          {
            id: "each",
            expression: "backlog / IF(tasks > 0, tasks, 1)",
            label: "Backlog for each task",
            returnData: true,
          },
        ],
      },
    },
  });
}
