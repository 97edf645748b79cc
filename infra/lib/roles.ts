/** Who may do what. No statement names `*` as its resource, but for those of `WITHOUT_RESOURCE`. */
import { Stack } from "aws-cdk-lib";
import { AccountPrincipal, Effect, PolicyStatement, Role, ServicePrincipal } from "aws-cdk-lib/aws-iam";
import type { Construct } from "constructs";
import type { EnvironmentConfig } from "./config.ts";
import type { Data } from "./data.ts";
import { bedrockGrants } from "./models.ts";

/** Actions that AWS grants on everything or not at all; reviewed one by one, and a test knows no others. */
export const WITHOUT_RESOURCE: readonly string[] = [
  "ecr:GetAuthorizationToken",
  "xray:PutTelemetryRecords",
  "xray:PutTraceSegments",
];

const allow = (actions: readonly string[], resources: readonly string[], conditions?: PolicyStatement["conditions"]) =>
  new PolicyStatement({
    effect: Effect.ALLOW,
    actions: [...actions],
    resources: [...resources],
    ...(conditions === undefined ? {} : { conditions: conditions as Record<string, unknown> }),
  });

/** The tag of a session, as policies read it: not a template of ours. */
const TENANT_TAG = `\${aws:PrincipalTag/tenant}`;

/** As IAM spells a star and a question mark that stand for themselves. */
const LITERAL_WILDCARDS: readonly string[] = [`*\${*}*`, `*\${?}*`];

/** What both roles of the service do: each may serve whatever the other wrote (I7). */
export function serviceStatements({ table, bodies, storageKey, contentKey, stack }: Data): readonly PolicyStatement[] {
  const viaStorage = {
    StringEquals: { "kms:ViaService": ["dynamodb", "s3"].map((name) => `${name}.${stack.region}.amazonaws.com`) },
  };
  return [
    allow(
      [
        "BatchGetItem",
        "BatchWriteItem",
        "DeleteItem",
        "DescribeTable",
        "GetItem",
        "PutItem",
        "Query",
        "UpdateItem",
      ].map((action) => `dynamodb:${action}`),
      [table.tableArn],
    ),
    allow(
      ["dynamodb:Query"],
      ["due", "list"].map((index) => `${table.tableArn}/index/${index}`),
    ),
    allow(["s3:DeleteObject", "s3:GetObject", "s3:PutObject"], [bodies.arnForObjects("*")]),
    // Without it S3 does not say that a body is missing.
    allow(["s3:ListBucket"], [bodies.bucketArn]),
    allow(["kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey"], [storageKey.keyArn], viaStorage),
    allow(["kms:Decrypt", "kms:GenerateDataKey"], [contentKey.keyArn]),
  ];
}

/** What Amazon ECS needs before a task starts, beside what the secrets themselves are granted for. */
export function secretStatements({ storageKey, stack }: Data): readonly PolicyStatement[] {
  const viaSecrets = { StringEquals: { "kms:ViaService": `secretsmanager.${stack.region}.amazonaws.com` } };
  return [allow(["kms:Decrypt"], [storageKey.keyArn], viaSecrets)];
}

/** The name is given, so that those who may act on its tasks can be told without naming the cluster itself. */
export const clusterName = ({ name }: EnvironmentConfig): string => `holdpoint-${name}`;

const tasksArn = (stack: Stack, config: EnvironmentConfig): string =>
  stack.formatArn({ service: "ecs", resource: "task", resourceName: `${clusterName(config)}/*` });

/** What workers do beyond that. */
export function workerStatements(stack: Stack, config: EnvironmentConfig): readonly PolicyStatement[] {
  return [
    allow(["ecs:UpdateTaskProtection"], [tasksArn(stack, config)]),
    ...openSearchStatements(config),
    ...bedrockGrants(stack, config).map(({ actions, resources, conditions }) => allow(actions, resources, conditions)),
  ];
}

/** Requests to the one index; what may be done in a collection is for its data access policy to say. */
function openSearchStatements({ openSearch }: EnvironmentConfig): readonly PolicyStatement[] {
  if (openSearch === undefined) return [];
  const { arn, index } = openSearch;
  if (arn.split(":")[2] === "aoss") return [allow(["aoss:APIAccessAll"], [arn])];
  const actions = ["es:ESHttpGet", "es:ESHttpPost", "es:ESHttpPut"];
  return [allow(actions, [`${arn}/${index}`, `${arn}/${index}/*`])];
}

/** What the collector beside the service does, with the task's role. */
export function telemetryStatements(logGroupArn: string): readonly PolicyStatement[] {
  return [
    // The name of a group, as CloudFormation gives it, ends in `:*`: its streams.
    allow(["logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"], [logGroupArn]),
    allow(["xray:PutTelemetryRecords", "xray:PutTraceSegments"], ["*"]),
  ];
}

/** A role that tasks of Amazon ECS take on. */
export function taskRole(scope: Construct, id: string, statements: readonly PolicyStatement[]): Role {
  const role = new Role(scope, id, { assumedBy: new ServicePrincipal("ecs-tasks.amazonaws.com") });
  for (const statement of statements) role.addToPolicy(statement);
  return role;
}

/** Why some of these end in a star, by finding of cdk-nag. */
export function explainedStars(
  stack: Stack,
  config: EnvironmentConfig,
  { bodies, stack: dataStack }: Data,
): Readonly<Record<string, string>> {
  // Findings name what another stack exports by its export.
  const exported = stack.resolve(dataStack.exportValue(bodies.bucketArn)) as { readonly "Fn::ImportValue": string };
  const tasks = tasksArn(stack, config).replace(stack.account, "<AWS::AccountId>");
  return {
    "AwsSolutions-IAM5[Resource::*]": "AWS X-Ray knows no resources; see WITHOUT_RESOURCE.",
    [`AwsSolutions-IAM5[Resource::${exported["Fn::ImportValue"]}/*]`]: "All bodies: their names are digests.",
    ...(config.openSearch === undefined
      ? {}
      : {
          [`AwsSolutions-IAM5[Resource::${config.openSearch.arn}/${config.openSearch.index}/*]`]:
            "All requests to one index: what follows its name is what is asked of it.",
        }),
    ...Object.fromEntries(
      bedrockGrants(stack, config)
        .filter(({ conditions }) => conditions !== undefined)
        .flatMap(({ resources }) => resources)
        .map((arn) => [
          `AwsSolutions-IAM5[Resource::${arn}]`,
          "Wherever one profile sends the call: a condition names the profile.",
        ]),
    ),
    [`AwsSolutions-IAM5[Resource::${tasks}]`]: "A task protects itself, and cannot know its own name before it runs.",
  };
}

/**
 * A role for tools that read on behalf of one tenant (exports, support): a session is tagged with the tenant, and reads
 * partitions of that tenant alone. Who may take it on is for the account to say; the service itself does not.
 */
export function tenantReader(scope: Construct, table: Data["table"], storageKey: Data["storageKey"]): Role {
  const stack = Stack.of(scope);
  const tools = stack.formatArn({ service: "iam", region: "", resource: "role", resourceName: "holdpoint-tools/*" });
  const assumedBy = new AccountPrincipal(stack.account).withConditions({
    ArnLike: { "aws:PrincipalArn": tools },
    StringLike: { "aws:RequestTag/tenant": "?*" },
    // The tag becomes part of a pattern: a star in it would be every tenant.
    StringNotLike: { "aws:RequestTag/tenant": [...LITERAL_WILDCARDS] },
    "ForAllValues:StringEquals": { "aws:TagKeys": ["tenant"] },
  });
  const description = "Reads the partitions of the tenant with which the session is tagged";
  const role = new Role(scope, "TenantReader", { description, assumedBy: assumedBy.withSessionTags() });
  role.addToPolicy(
    allow(["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query"], [table.tableArn], {
      // Every key begins with its tenant (I8).
      "ForAllValues:StringLike": { "dynamodb:LeadingKeys": [`${TENANT_TAG}#*`] },
      // True of a request without keys as well, unless it must have some.
      Null: { "dynamodb:LeadingKeys": "false" },
    }),
  );
  role.addToPolicy(
    allow(["kms:Decrypt"], [storageKey.keyArn], {
      StringEquals: { "kms:ViaService": `dynamodb.${stack.region}.amazonaws.com` },
    }),
  );
  return role;
}
