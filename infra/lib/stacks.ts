import { App, DefaultStackSynthesizer, Stage, Tags, Validations } from "aws-cdk-lib";
import type { Stack } from "aws-cdk-lib";
import { AwsSolutionsChecks } from "cdk-nag";
import type { EnvironmentConfig } from "./config.ts";
import { createData } from "./data.ts";
import type { Data } from "./data.ts";
import { createEdge } from "./edge.ts";
import { createNetwork } from "./network.ts";
import { createObserve } from "./observe.ts";
import { createScaling } from "./scaling.ts";
import { createServices } from "./service.ts";

export interface Stacks {
  readonly data: Data;
  /** In the order in which they are deployed. */
  readonly all: readonly Stack[];
}

/** All stacks of one environment, each of which needs those before it. */
export function createStacks(app: App, config: EnvironmentConfig): Stacks {
  const stage = new Stage(app, config.name, { env: { region: config.region }, stageName: config.name });
  const props = (name: string) => ({
    stackName: `holdpoint-${config.name}-${name}`,
    terminationProtection: config.isProtected,
    // The templates stand alone: nothing but the CDK's own deployment needs its bootstrap.
    synthesizer: new DefaultStackSynthesizer({ generateBootstrapVersionRule: false }),
  });
  const data = createData(stage, config, props("data"));
  const { storageKey: key, accessLogs } = data;
  const network = createNetwork(stage, config, { ...props("network"), key });
  const edge = createEdge(stage, config, { ...props("edge"), network, accessLogs, key });
  const services = createServices(stage, config, { ...props("service"), data, network, edge });
  const scaling = createScaling(stage, config, { ...props("scaling"), services });
  const observe = createObserve(stage, config, { ...props("observe"), data, edge, services });
  Tags.of(stage).add("holdpoint:environment", config.name);
  return { data, all: [data.stack, network.stack, edge.stack, services.stack, scaling, observe] };
}

/** An app whose synthesis fails on any finding that is not explained. */
export function createApp(outdir: string): App {
  const app = new App({ analyticsReporting: false, treeMetadata: false, outdir, context: FLAGS });
  Validations.of(app).addPlugins(new AwsSolutionsChecks(app));
  return app;
}

/** Behaviour of the CDK that later versions have by default. */
const FLAGS = {
  "@aws-cdk/aws-iam:minimizePolicies": true,
  "@aws-cdk/aws-ecs:arnFormatIncludesClusterName": true,
  "@aws-cdk/aws-ecs:disableExplicitDeploymentControllerForCircuitBreaker": true,
  "@aws-cdk/aws-ecs:reduceEc2FargateCloudWatchPermissions": true,
  "@aws-cdk/aws-s3:serverAccessLogsUseBucketPolicy": true,
  "@aws-cdk/core:enablePartitionLiterals": true,
  "@aws-cdk/core:checkSecretUsage": true,
  // Findings of CloudFormation's validator end the synthesis; they are warnings otherwise.
  "@aws-cdk/core:validateAgainstDefaultRules": true,
  "@aws-cdk/aws-kms:reduceCrossAccountRegionPolicyScope": true,
} as const;
