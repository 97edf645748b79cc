/** The web application firewall. Bodies of requests are prompts and documents, which no rule on bodies may refuse. */
import type { Stack } from "aws-cdk-lib";
import type { ApplicationLoadBalancer } from "aws-cdk-lib/aws-elasticloadbalancingv2";
import type { LogGroup } from "aws-cdk-lib/aws-logs";
import { CfnLoggingConfiguration, CfnWebACL, CfnWebACLAssociation } from "aws-cdk-lib/aws-wafv2";

/** From one address, in five minutes. */
const REQUESTS = 10_000;

/** Rules of the common set that look into bodies: they are counted. The service parses every body, with bounds of its own. */
const BODY_RULES = [
  "SizeRestrictions_BODY",
  "CrossSiteScripting_BODY",
  "GenericLFI_BODY",
  "GenericRFI_BODY",
  "EC2MetaDataSSRF_BODY",
];

/** Rule sets that AWS keeps up to date, and the rules of each that only count. */
const MANAGED: Readonly<Record<string, readonly string[]>> = {
  AWSManagedRulesAmazonIpReputationList: [],
  AWSManagedRulesCommonRuleSet: BODY_RULES,
  AWSManagedRulesKnownBadInputsRuleSet: ["JavaDeserializationRCE_BODY", "Log4JRCE_BODY", "ReactJSRCE_BODY"],
};

export interface FirewallProps {
  readonly balancer: ApplicationLoadBalancer;
  readonly log: LogGroup;
  readonly name: string;
}

export function addFirewall(stack: Stack, { balancer, log, name }: FirewallProps): void {
  const acl = new CfnWebACL(stack, "Firewall", {
    scope: "REGIONAL",
    defaultAction: { allow: {} },
    visibilityConfig: visible(`holdpoint-${name}`),
    rules: [rateRule(0), ...Object.entries(MANAGED).map(([set, counted], n) => managedRule(set, counted, n + 1))],
  });
  new CfnWebACLAssociation(stack, "FirewallOfBalancer", {
    resourceArn: balancer.loadBalancerArn,
    webAclArn: acl.attrArn,
  });
  new CfnLoggingConfiguration(stack, "FirewallLogging", {
    resourceArn: acl.attrArn,
    logDestinationConfigs: [log.logGroupArn],
    // Credentials are never logged.
    redactedFields: ["x-api-key", "authorization", "cookie"].map((header) => ({ singleHeader: { Name: header } })),
  });
}

const visible = (metricName: string): CfnWebACL.VisibilityConfigProperty => ({
  metricName,
  cloudWatchMetricsEnabled: true,
  sampledRequestsEnabled: false,
});

const rateRule = (priority: number): CfnWebACL.RuleProperty => ({
  name: "Rate",
  priority,
  action: { block: { customResponse: { responseCode: 429 } } },
  statement: { rateBasedStatement: { limit: REQUESTS, aggregateKeyType: "IP" } },
  visibilityConfig: visible("Rate"),
});

const managedRule = (name: string, counted: readonly string[], priority: number): CfnWebACL.RuleProperty => ({
  name,
  priority,
  overrideAction: { none: {} },
  statement: {
    managedRuleGroupStatement: {
      vendorName: "AWS",
      name,
      ruleActionOverrides: counted.map((rule) => ({ name: rule, actionToUse: { count: {} } })),
    },
  },
  visibilityConfig: visible(name),
});
