/**
 * The tasks. Both roles run one image: read-only, as nobody in particular, without any capability.
 *
 * The api is replaced by canary: the next version gets a tenth of all requests first, and goes away when they fail.
 * Workers are replaced one after the other; each has 120 seconds from SIGTERM, of which the service takes 95 at most.
 */
import { Duration, Stack } from "aws-cdk-lib";
import type { StackProps } from "aws-cdk-lib";
import { Alarm, ComparisonOperator, TreatMissingData } from "aws-cdk-lib/aws-cloudwatch";
import type { ISecurityGroup } from "aws-cdk-lib/aws-ec2";
import {
  AlarmBehavior,
  AlternateTarget,
  Cluster,
  ContainerInsights,
  DeploymentStrategy,
  FargateService,
  ListenerRuleConfiguration,
} from "aws-cdk-lib/aws-ecs";
import { HttpCodeTarget } from "aws-cdk-lib/aws-elasticloadbalancingv2";
import { LogGroup } from "aws-cdk-lib/aws-logs";
import type { Construct } from "constructs";
import { acknowledge } from "./acknowledge.ts";
import type { EnvironmentConfig } from "./config.ts";
import type { Data } from "./data.ts";
import type { Edge } from "./edge.ts";
import { CONTAINER_PORT, unchanged } from "./network.ts";
import type { Network } from "./network.ts";
import { clusterName, tenantReader } from "./roles.ts";
import { createTask } from "./task.ts";
import type { TaskPlace } from "./task.ts";

export interface Services {
  readonly stack: Stack;
  readonly cluster: Cluster;
  readonly api: FargateService;
  readonly worker: FargateService;
}

export interface ServiceProps extends StackProps {
  readonly data: Data;
  readonly network: Network;
  readonly edge: Edge;
}

export function createServices(scope: Construct, config: EnvironmentConfig, props: ServiceProps): Services {
  const { data, network, edge, ...stackProps } = props;
  const stack = new Stack(scope, "Service", stackProps);
  const cluster = new Cluster(stack, "Cluster", {
    clusterName: clusterName(config),
    vpc: network.vpc,
    containerInsightsV2: ContainerInsights.ENHANCED,
    enableFargateCapacityProviders: true,
  });
  const logs = { encryptionKey: data.storageKey, retention: config.logDays };
  const place: TaskPlace = {
    config,
    data,
    log: new LogGroup(stack, "Log", logs),
    metricsLog: new LogGroup(stack, "Metrics", logs),
  };
  tenantReader(stack, data.table, data.storageKey);
  return {
    stack,
    cluster,
    api: createApi(stack, { place, cluster, edge, group: unchanged(stack, network.api) }),
    worker: createWorker(stack, { place, cluster, group: unchanged(stack, network.worker) }),
  };
}

interface Fleet {
  readonly place: TaskPlace;
  readonly cluster: Cluster;
  readonly group: ISecurityGroup;
}

function createApi(stack: Stack, { place, cluster, group, edge }: Fleet & { readonly edge: Edge }): FargateService {
  const failing = new Alarm(stack, "ApiFails", {
    alarmDescription: "Answers of 5xx while a version is rolled out: it is rolled back.",
    metric: edge.balancer.metrics.httpCodeTarget(HttpCodeTarget.TARGET_5XX_COUNT, { period: Duration.minutes(1) }),
    threshold: 10,
    evaluationPeriods: 2,
    comparisonOperator: ComparisonOperator.GREATER_THAN_OR_EQUAL_TO_THRESHOLD,
    treatMissingData: TreatMissingData.NOT_BREACHING,
  });
  const service = new FargateService(stack, "Api", {
    cluster,
    taskDefinition: createTask(stack, "api", place),
    securityGroups: [group],
    assignPublicIp: false,
    deploymentStrategy: DeploymentStrategy.CANARY,
    canaryConfiguration: { stepPercent: 10, stepBakeTime: Duration.minutes(5) },
    bakeTime: Duration.minutes(5),
    minHealthyPercent: 100,
    maxHealthyPercent: 200,
    circuitBreaker: { rollback: true },
    deploymentAlarms: { alarmNames: [failing.alarmName], behavior: AlarmBehavior.ROLLBACK_ON_ALARM },
    healthCheckGracePeriod: Duration.seconds(30),
    capacityProviderStrategies: [{ capacityProvider: "FARGATE", weight: 1 }],
  });
  const next = new AlternateTarget("Next", {
    alternateTargetGroup: edge.green,
    productionListener: ListenerRuleConfiguration.applicationListenerRule(edge.rule),
  });
  edge.blue.addTarget(
    service.loadBalancerTarget({ containerName: "holdpoint", containerPort: CONTAINER_PORT, alternateTarget: next }),
  );
  acknowledge(service, {
    "AwsSolutions-IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/AmazonECSInfrastructureRolePolicyForLoadBalancers]":
      "The policy that Amazon ECS names for moving traffic between target groups; AWS extends it as that needs more.",
  });
  return service;
}

/** The first two stay; of the others some run where capacity may be taken away, with two minutes' notice. */
function createWorker(stack: Stack, { place, cluster, group }: Fleet): FargateService {
  const { spotOfTen } = place.config.worker;
  const spot = { capacityProvider: "FARGATE_SPOT", weight: spotOfTen };
  return new FargateService(stack, "Worker", {
    cluster,
    taskDefinition: createTask(stack, "worker", place),
    securityGroups: [group],
    assignPublicIp: false,
    minHealthyPercent: 100,
    maxHealthyPercent: 200,
    circuitBreaker: { rollback: true },
    capacityProviderStrategies: [
      { capacityProvider: "FARGATE", base: Math.min(2, place.config.worker.minTasks), weight: 10 - spotOfTen },
      ...(spotOfTen === 0 ? [] : [spot]),
    ],
  });
}
