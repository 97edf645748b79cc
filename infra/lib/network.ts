/** Who may speak to whom: the load balancer stands in public subnets, everything else in private ones. */
import { Stack } from "aws-cdk-lib";
import type { StackProps } from "aws-cdk-lib";
import {
  FlowLogDestination,
  GatewayVpcEndpointAwsService,
  InterfaceVpcEndpointAwsService,
  Peer,
  Port,
  SecurityGroup,
  SubnetType,
  Vpc,
} from "aws-cdk-lib/aws-ec2";
import type { ISecurityGroup } from "aws-cdk-lib/aws-ec2";
import type { IKey } from "aws-cdk-lib/aws-kms";
import { LogGroup } from "aws-cdk-lib/aws-logs";
import type { Construct } from "constructs";
import { acknowledge } from "./acknowledge.ts";
import type { EnvironmentConfig } from "./config.ts";

/** The port of the container, as in the Dockerfile. */
export const CONTAINER_PORT = 8080;
const HTTPS = Port.tcp(443);

export interface Network {
  readonly stack: Stack;
  readonly vpc: Vpc;
  readonly balancer: SecurityGroup;
  readonly api: SecurityGroup;
  readonly worker: SecurityGroup;
}

/** A group as another stack sees it: rules stand in this stack, and nowhere else. */
export const unchanged = (scope: Construct, { node, securityGroupId }: ISecurityGroup): ISecurityGroup =>
  SecurityGroup.fromSecurityGroupId(scope, `Group${node.id}`, securityGroupId, { mutable: false });

/** What tasks reach without leaving the network. */
const ENDPOINTS = {
  EcrApi: InterfaceVpcEndpointAwsService.ECR,
  EcrDocker: InterfaceVpcEndpointAwsService.ECR_DOCKER,
  Logs: InterfaceVpcEndpointAwsService.CLOUDWATCH_LOGS,
  Secrets: InterfaceVpcEndpointAwsService.SECRETS_MANAGER,
  Kms: InterfaceVpcEndpointAwsService.KMS,
  Xray: InterfaceVpcEndpointAwsService.XRAY,
  Bedrock: InterfaceVpcEndpointAwsService.BEDROCK_RUNTIME,
} as const;

export function createNetwork(
  scope: Construct,
  config: EnvironmentConfig,
  props: StackProps & { readonly key: IKey },
): Network {
  const stack = new Stack(scope, "Network", props);
  const isolated = config.natGateways === 0;
  const vpc = new Vpc(stack, "Vpc", {
    availabilityZones: config.zones.map((zone) => `${config.region}${zone}`),
    natGateways: config.natGateways,
    restrictDefaultSecurityGroup: false,
    subnetConfiguration: [
      { name: "Public", subnetType: SubnetType.PUBLIC, cidrMask: 24, mapPublicIpOnLaunch: false },
      {
        name: "Private",
        subnetType: isolated ? SubnetType.PRIVATE_ISOLATED : SubnetType.PRIVATE_WITH_EGRESS,
        cidrMask: 20,
      },
    ],
    gatewayEndpoints: {
      Dynamo: { service: GatewayVpcEndpointAwsService.DYNAMODB },
      S3: { service: GatewayVpcEndpointAwsService.S3 },
    },
  });
  const flows = new LogGroup(stack, "Flows", { encryptionKey: props.key, retention: config.logDays });
  vpc.addFlowLog("FlowLog", { destination: FlowLogDestination.toCloudWatchLogs(flows) });
  return { stack, vpc, ...makeGroups(stack, vpc, config) };
}

function makeGroups(stack: Stack, vpc: Vpc, config: EnvironmentConfig): Omit<Network, "stack" | "vpc"> {
  const group = (id: string, description: string): SecurityGroup =>
    new SecurityGroup(stack, id, { vpc, description, allowAllOutbound: false });
  const balancer = group("Balancer", "The load balancer");
  const api = group("Api", "Tasks that serve HTTP");
  const worker = group("Worker", "Tasks that execute runs: nobody connects to them");
  const endpoints = group("Endpoints", "Services of AWS within the network");
  for (const cidr of config.allowedCidrs) balancer.addIngressRule(Peer.ipv4(cidr), HTTPS, "Clients");
  balancer.addEgressRule(api, Port.tcp(CONTAINER_PORT), "Requests and health checks");
  api.addIngressRule(balancer, Port.tcp(CONTAINER_PORT), "Requests and health checks");
  for (const tasks of [api, worker]) {
    // DynamoDB and S3 by their gateways, models and webhooks through NAT, if there is one.
    tasks.addEgressRule(Peer.anyIpv4(), HTTPS, "Services of AWS, models, webhooks");
    endpoints.addIngressRule(tasks, HTTPS, "Tasks");
  }
  for (const [id, service] of Object.entries(ENDPOINTS)) {
    vpc.addInterfaceEndpoint(id, { service, securityGroups: [endpoints], open: false });
  }
  if (config.allowedCidrs.includes("0.0.0.0/0"))
    acknowledge(balancer, { "AwsSolutions-EC23": "A public API: TLS only, behind the firewall of the edge stack." });
  return { balancer, api, worker };
}
