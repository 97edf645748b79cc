/** What people look at, and what wakes them up. Every alarm says where its runbook is. */
import { Duration, Stack } from "aws-cdk-lib";
import type { StackProps } from "aws-cdk-lib";
import {
  Alarm,
  ComparisonOperator,
  Dashboard,
  GraphWidget,
  MathExpression,
  TextWidget,
  TreatMissingData,
} from "aws-cdk-lib/aws-cloudwatch";
import type { IMetric } from "aws-cdk-lib/aws-cloudwatch";
import { SnsAction } from "aws-cdk-lib/aws-cloudwatch-actions";
import type { Table } from "aws-cdk-lib/aws-dynamodb";
import { ServicePrincipal } from "aws-cdk-lib/aws-iam";
import { Topic } from "aws-cdk-lib/aws-sns";
import { EmailSubscription } from "aws-cdk-lib/aws-sns-subscriptions";
import { HttpCodeTarget } from "aws-cdk-lib/aws-elasticloadbalancingv2";
import type { Construct } from "constructs";
import { RUN_OUTCOMES } from "../../src/telemetry/metric-names.ts";
import type { RunOutcome } from "../../src/telemetry/metric-names.ts";
import type { EnvironmentConfig } from "./config.ts";
import type { Data } from "./data.ts";
import type { Edge } from "./edge.ts";
import { ownMetric } from "./metrics.ts";
import type { Services } from "./service.ts";

export interface ObserveProps extends StackProps {
  readonly data: Data;
  readonly edge: Edge;
  readonly services: Services;
}

/** One alarm: what it is, when it goes off, and where in docs/ it is said what to do. */
interface Watched {
  readonly id: string;
  readonly says: string;
  readonly runbook: string;
  readonly metric: IMetric;
  readonly atLeast: number;
  readonly minutes: number;
  /** Whether it goes off as well when nobody tells the metric any more. */
  readonly whenSilent?: true;
}

export function createObserve(scope: Construct, config: EnvironmentConfig, props: ObserveProps): Stack {
  const { data, edge, services, ...stackProps } = props;
  const stack = new Stack(scope, "Observe", stackProps);
  const topic = new Topic(stack, "Alarms", { masterKey: data.storageKey, enforceSSL: true });
  data.storageKey.grantEncryptDecrypt(
    new ServicePrincipal("cloudwatch.amazonaws.com").withConditions({
      StringEquals: { "aws:SourceAccount": stack.account },
    }),
  );
  if (config.alarmEmail !== undefined) topic.addSubscription(new EmailSubscription(config.alarmEmail));
  for (const { id, says, runbook, metric, atLeast, minutes, whenSilent } of watched(config, { data, edge })) {
    const alarm = new Alarm(stack, id, {
      alarmName: `holdpoint-${config.name}-${id}`,
      alarmDescription: `${says} What to do: docs/${runbook}`,
      metric,
      threshold: atLeast,
      evaluationPeriods: minutes,
      comparisonOperator: ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
      treatMissingData: whenSilent ? TreatMissingData.BREACHING : TreatMissingData.NOT_BREACHING,
    });
    alarm.addAlarmAction(new SnsAction(topic));
  }
  addDashboard(stack, config, { data, edge, services });
  return stack;
}

const MINUTE = Duration.minutes(1);
const outcome = (config: EnvironmentConfig, name: RunOutcome, period = MINUTE) =>
  ownMetric(config, "runsEnded", { statistic: "sum", dimensions: { outcome: name }, label: name, period });

/** Of all runs that ended, in percent; few runs are no ratio. */
function failedPercent(config: EnvironmentConfig): MathExpression {
  const period = Duration.minutes(5);
  return new MathExpression({
    label: "Runs that failed, %",
    expression: "IF(ended >= 20, 100 * (FILL(error, 0) + FILL(timeout, 0) + FILL(parked, 0)) / ended, 0)",
    usingMetrics: {
      ended: ownMetric(config, "runsEnded", { statistic: "sum", period }),
      error: outcome(config, "error", period),
      timeout: outcome(config, "timeout", period),
      parked: outcome(config, "parked", period),
    },
    period,
  });
}

const throttled = (table: Table): MathExpression =>
  new MathExpression({
    label: "Throttled",
    expression: "FILL(reads, 0) + FILL(writes, 0)",
    usingMetrics: Object.fromEntries(
      (["Read", "Write"] as const).map((kind) => [
        `${kind.toLowerCase()}s`,
        table.metric(`${kind}ThrottleEvents`, { statistic: "sum", period: MINUTE }),
      ]),
    ),
    period: MINUTE,
  });

function watched(config: EnvironmentConfig, { data, edge }: Pick<ObserveProps, "data" | "edge">): readonly Watched[] {
  const { alarms } = config;
  const operations = "operations.md#";
  return [
    {
      id: "BacklogAge",
      says: "Work waits too long for a worker, or no worker says for how long.",
      runbook: `${operations}when-there-is-too-much-to-do`,
      metric: ownMetric(config, "backlogAge", { statistic: "max" }),
      atLeast: alarms.backlogAgeSeconds,
      minutes: 5,
      // Workers tell it every minute, also when nothing waits: when all of them are gone, work waits unseen.
      whenSilent: true,
    },
    {
      id: "StuckRuns",
      says: "A run was parked: an operator must look.",
      runbook: `${operations}parked-runs`,
      metric: outcome(config, "parked"),
      atLeast: 1,
      minutes: 1,
    },
    {
      id: "ReviewsPastDue",
      says: "Reviews are open whose time to decide is over.",
      runbook: "reviews.md",
      metric: ownMetric(config, "reviewsPastDue", { statistic: "max" }),
      atLeast: alarms.reviewsPastDue,
      minutes: 5,
    },
    {
      id: "FailedRuns",
      says: "Too many runs fail.",
      runbook: "operators.md",
      metric: failedPercent(config),
      atLeast: alarms.failedPercent,
      minutes: 2,
    },
    {
      id: "LeasesLost",
      says: "Workers lose threads to one another: they freeze, or cannot reach the table.",
      runbook: `${operations}workers`,
      metric: ownMetric(config, "leasesLost", { statistic: "sum" }),
      atLeast: 5,
      minutes: 5,
    },
    {
      id: "TableThrottled",
      says: "The table throttles.",
      runbook: `${operations}the-table`,
      metric: throttled(data.table),
      atLeast: 10,
      minutes: 5,
    },
    {
      id: "ModelCost",
      says: "Models cost more in an hour than they may.",
      runbook: "deploy.md#what-it-costs",
      metric: ownMetric(config, "modelCost", { statistic: "sum", period: Duration.hours(1) }),
      atLeast: alarms.modelCostPerHourUsd,
      minutes: 1,
    },
    {
      id: "ApiFails",
      says: "The API answers with 5xx.",
      runbook: `${operations}when-something-fails`,
      metric: edge.balancer.metrics.httpCodeTarget(HttpCodeTarget.TARGET_5XX_COUNT, { period: MINUTE }),
      atLeast: 10,
      minutes: 5,
    },
  ];
}

type Shown = Pick<ObserveProps, "data" | "edge" | "services">;

const graph = (title: string, left: readonly IMetric[], right: readonly IMetric[] = []) =>
  new GraphWidget({ title, left: [...left], right: [...right], width: 8, height: 6 });

function addDashboard(stack: Stack, config: EnvironmentConfig, { data, edge, services }: Shown): void {
  const own = (name: Parameters<typeof ownMetric>[1], ...statistics: Parameters<typeof ownMetric>[2]["statistic"][]) =>
    statistics.map((statistic) => ownMetric(config, name, { statistic }));
  const { worker, api } = services;
  new Dashboard(stack, "Dashboard", {
    dashboardName: `holdpoint-${config.name}`,
    widgets: [
      [new TextWidget({ markdown: `# Holdpoint ${config.name}\nRunbooks: docs/operations.md`, width: 24, height: 2 })],
      [
        graph("Waiting for a worker", own("backlog", "avg"), own("backlogAge", "max")),
        graph(
          "Runs that ended",
          RUN_OUTCOMES.map((name) => outcome(config, name)),
        ),
        graph("Failed, %", [failedPercent(config)]),
      ],
      [
        graph("Runs accepted; taken over from others", own("runsAccepted", "sum"), own("takeovers", "sum")),
        graph("Until a run begins", own("runWait", "avg", "max")),
        graph("From decided to going on", own("decisionLatency", "avg", "max")),
      ],
      [
        graph("Duration of a run", own("runDuration", "avg", "max")),
        graph("Duration of a step; tried again", own("stepDuration", "avg", "max"), own("stepRetries", "sum")),
        graph(
          "Checkpoints: duration, size",
          own("checkpointDuration", "avg", "max"),
          own("checkpointSize", "avg", "max"),
        ),
      ],
      [
        graph("Reviews past due", own("reviewsPastDue", "max")),
        graph("From raised to decided", own("reviewLatency", "avg", "max")),
        graph("Open streams of a task", own("openStreams", "avg", "max")),
      ],
      [
        graph("Calls of models: duration; tokens", own("modelDuration", "avg", "max"), own("modelTokens", "sum")),
        graph("Cost of models", own("modelCost", "sum")),
        graph("Leases lost; table throttled", own("leasesLost", "sum"), [throttled(data.table)]),
      ],
      [
        graph("CPU", [api.metricCpuUtilization({ label: "api" }), worker.metricCpuUtilization({ label: "worker" })]),
        graph("Memory", [
          api.metricMemoryUtilization({ label: "api" }),
          worker.metricMemoryUtilization({ label: "worker" }),
        ]),
        graph(
          "Requests",
          [edge.balancer.metrics.requestCount()],
          [edge.balancer.metrics.targetResponseTime({ statistic: "p95" })],
        ),
      ],
    ],
  });
}
