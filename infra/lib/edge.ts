/** Where clients come in: TLS, the firewall, the load balancer with a pair of target groups, and people who sign in. */
import { CfnOutput, Duration, RemovalPolicy, Stack } from "aws-cdk-lib";
import type { StackProps } from "aws-cdk-lib";
import { Certificate } from "aws-cdk-lib/aws-certificatemanager";
import { AccountRecovery, FeaturePlan, Mfa, UserPool } from "aws-cdk-lib/aws-cognito";
import {
  ApplicationListenerRule,
  ApplicationLoadBalancer,
  ApplicationProtocol,
  ApplicationTargetGroup,
  ListenerAction,
  ListenerCondition,
  SslPolicy,
  TargetType,
} from "aws-cdk-lib/aws-elasticloadbalancingv2";
import type { ApplicationListener } from "aws-cdk-lib/aws-elasticloadbalancingv2";
import type { IKey } from "aws-cdk-lib/aws-kms";
import { LogGroup } from "aws-cdk-lib/aws-logs";
import type { IBucket } from "aws-cdk-lib/aws-s3";
import type { Construct } from "constructs";
import type { EnvironmentConfig } from "./config.ts";
import { addFirewall } from "./firewall.ts";
import { CONTAINER_PORT, unchanged } from "./network.ts";
import type { Network } from "./network.ts";

/** Above what a stream may be silent for, below the time after which the service closes an idle connection itself. */
export const IDLE_SECONDS = 60;

export interface Edge {
  readonly stack: Stack;
  readonly balancer: ApplicationLoadBalancer;
  /** The one that serves, and the one that the next version is tried in. They change places with each deployment. */
  readonly blue: ApplicationTargetGroup;
  readonly green: ApplicationTargetGroup;
  readonly rule: ApplicationListenerRule;
}

export interface EdgeProps extends StackProps {
  readonly network: Network;
  readonly accessLogs: IBucket;
  readonly key: IKey;
}

export function createEdge(scope: Construct, config: EnvironmentConfig, props: EdgeProps): Edge {
  const stack = new Stack(scope, "Edge", props);
  const { vpc } = props.network;
  const balancer = new ApplicationLoadBalancer(stack, "Balancer", {
    vpc,
    securityGroup: unchanged(stack, props.network.balancer),
    internetFacing: true,
    idleTimeout: Duration.seconds(IDLE_SECONDS),
    dropInvalidHeaderFields: true,
    deletionProtection: config.isProtected,
  });
  balancer.logAccessLogs(props.accessLogs, "balancer");
  const blue = makeTargets(stack, "Blue", vpc);
  const green = makeTargets(stack, "Green", vpc);
  const listener = balancer.addListener("Https", {
    port: 443,
    protocol: ApplicationProtocol.HTTPS,
    open: false,
    certificates: [Certificate.fromCertificateArn(stack, "Certificate", config.certificateArn)],
    sslPolicy: SslPolicy.TLS13_13,
    // Nothing is served but by the rule, which deployments move from one group to the other.
    defaultAction: ListenerAction.fixedResponse(404, {
      contentType: "application/json",
      messageBody: '{"detail":"Not Found"}',
    }),
  });
  const rule = makeRule(stack, { listener, blue, green });
  const firewallLog = new LogGroup(stack, "FirewallLog", {
    // Only groups of this name are written to.
    logGroupName: `aws-waf-logs-holdpoint-${config.name}`,
    retention: config.logDays,
    encryptionKey: props.key,
    removalPolicy: RemovalPolicy.DESTROY,
  });
  addFirewall(stack, { balancer, log: firewallLog, name: config.name });
  if (config.hasUserPool) addUserPool(stack, config);
  new CfnOutput(stack, "BalancerName", { value: balancer.loadBalancerDnsName });
  return { stack, balancer, blue, green, rule };
}

function makeTargets(stack: Stack, id: string, vpc: Network["vpc"]): ApplicationTargetGroup {
  return new ApplicationTargetGroup(stack, id, {
    vpc,
    port: CONTAINER_PORT,
    protocol: ApplicationProtocol.HTTP,
    targetType: TargetType.IP,
    // The process, not the table: while that is away, ending all tasks would help nobody.
    healthCheck: {
      path: "/ok",
      interval: Duration.seconds(10),
      timeout: Duration.seconds(5),
      healthyThresholdCount: 2,
    },
    deregistrationDelay: Duration.seconds(30),
  });
}

interface Serving {
  readonly listener: ApplicationListener;
  readonly blue: ApplicationTargetGroup;
  readonly green: ApplicationTargetGroup;
}

function makeRule(stack: Stack, { listener, blue, green }: Serving): ApplicationListenerRule {
  return new ApplicationListenerRule(stack, "Production", {
    listener,
    priority: 1,
    conditions: [ListenerCondition.pathPatterns(["/*"])],
    action: ListenerAction.weightedForward([
      { targetGroup: blue, weight: 100 },
      { targetGroup: green, weight: 0 },
    ]),
  });
}

/** Issues tokens to people; the service is told of it by its settings once it verifies them. */
function addUserPool(stack: Stack, config: EnvironmentConfig): void {
  const pool = new UserPool(stack, "People", {
    selfSignUpEnabled: false,
    signInAliases: { email: true },
    mfa: Mfa.REQUIRED,
    mfaSecondFactor: { otp: true, sms: false },
    passwordPolicy: {
      minLength: 14,
      requireDigits: true,
      requireLowercase: true,
      requireUppercase: true,
      requireSymbols: true,
    },
    accountRecovery: AccountRecovery.EMAIL_ONLY,
    featurePlan: FeaturePlan.PLUS,
    deletionProtection: config.isProtected,
    removalPolicy: config.isProtected ? RemovalPolicy.RETAIN : RemovalPolicy.DESTROY,
  });
  pool.addClient("Console", {
    generateSecret: false,
    authFlows: { userSrp: true },
    accessTokenValidity: Duration.hours(1),
    preventUserExistenceErrors: true,
    enableTokenRevocation: true,
  });
}
