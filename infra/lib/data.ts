/** What must outlive everything else: the table, bodies, audit records, keys and secrets; and the repository of the image. */
import { ArnFormat, CfnOutput, Duration, RemovalPolicy, Stack } from "aws-cdk-lib";
import type { StackProps } from "aws-cdk-lib";
import { AttributeType, BillingMode, ProjectionType, Table, TableEncryption } from "aws-cdk-lib/aws-dynamodb";
import { Repository, RepositoryEncryption, TagMutability } from "aws-cdk-lib/aws-ecr";
import { ServicePrincipal } from "aws-cdk-lib/aws-iam";
import { Key } from "aws-cdk-lib/aws-kms";
import { BlockPublicAccess, Bucket, BucketEncryption, ObjectLockRetention, ObjectOwnership } from "aws-cdk-lib/aws-s3";
import type { BucketProps } from "aws-cdk-lib/aws-s3";
import { Secret } from "aws-cdk-lib/aws-secretsmanager";
import type { Construct } from "constructs";
import { acknowledge } from "./acknowledge.ts";
import type { EnvironmentConfig } from "./config.ts";

/** What the other stacks need of this one. */
export interface Data {
  readonly stack: Stack;
  readonly table: Table;
  readonly bodies: Bucket;
  readonly audit: Bucket;
  readonly accessLogs: Bucket;
  readonly repository: Repository;
  /** Encrypts what AWS keeps: table, buckets, logs, secrets. */
  readonly storageKey: Key;
  /** Wraps the data keys with which the service seals content of tenants, before AWS sees it. */
  readonly contentKey: Key;
  /** The file of API keys. */
  readonly apiKeys: Secret;
  /** What signs the tokens of callbacks. */
  readonly callbackKeys: Secret;
}

const INDEXES = ["due", "list"] as const;
const text = (name: string) => ({ name, type: AttributeType.STRING });

export function createData(scope: Construct, config: EnvironmentConfig, props: StackProps): Data {
  const stack = new Stack(scope, "Data", props);
  const storageKey = makeKey(stack, "StorageKey", "table, buckets, logs and secrets", config);
  const contentKey = makeKey(stack, "ContentKey", "data keys of tenants", config);
  letLogsUse(storageKey, stack);
  const accessLogs = makeAccessLogs(stack, config);
  const repository = new Repository(stack, "Repository", {
    imageScanOnPush: true,
    // A tag that moves is allowed only where nothing is protected.
    imageTagMutability: config.isProtected ? TagMutability.IMMUTABLE : TagMutability.MUTABLE,
    encryption: RepositoryEncryption.AES_256,
    lifecycleRules: [{ maxImageCount: 50 }],
    removalPolicy: removalOf(config),
  });
  const secrets = makeSecrets(stack, storageKey, config);
  new CfnOutput(stack, "RepositoryUri", { value: repository.repositoryUri });
  new CfnOutput(stack, "ApiKeysSecret", { value: secrets.apiKeys.secretArn });
  return {
    stack,
    table: makeTable(stack, storageKey, config),
    ...makeBuckets(stack, { storageKey, accessLogs }, config),
    accessLogs,
    repository,
    storageKey,
    contentKey,
    ...secrets,
  };
}

function makeBuckets(
  stack: Stack,
  { storageKey, accessLogs }: Pick<Data, "storageKey" | "accessLogs">,
  config: EnvironmentConfig,
): Pick<Data, "bodies" | "audit"> {
  const kept = { ...bucketOf(config), encryptionKey: storageKey, serverAccessLogsBucket: accessLogs, versioned: true };
  const forYears = Duration.days(365 * config.auditYears);
  return {
    bodies: new Bucket(stack, "Bodies", {
      ...kept,
      serverAccessLogsPrefix: "bodies/",
      lifecycleRules: [
        {
          // What was deleted by mistake can be had back for a week.
          noncurrentVersionExpiration: Duration.days(7),
          abortIncompleteMultipartUploadAfter: Duration.days(1),
        },
      ],
    }),
    audit: new Bucket(stack, "Audit", {
      ...kept,
      serverAccessLogsPrefix: "audit/",
      objectLockEnabled: true,
      objectLockDefaultRetention: config.isProtected
        ? ObjectLockRetention.compliance(forYears)
        : ObjectLockRetention.governance(forYears),
    }),
  };
}

const removalOf = ({ isProtected }: EnvironmentConfig): RemovalPolicy =>
  isProtected ? RemovalPolicy.RETAIN : RemovalPolicy.DESTROY;

function makeKey(stack: Stack, id: string, what: string, config: EnvironmentConfig): Key {
  return new Key(stack, id, {
    description: `Holdpoint ${config.name}: ${what}`,
    enableKeyRotation: true,
    pendingWindow: Duration.days(30),
    removalPolicy: removalOf(config),
  });
}

/** CloudWatch Logs encrypts by itself, and only for groups of this account. */
function letLogsUse(key: Key, stack: Stack): void {
  const group = stack.formatArn({
    service: "logs",
    resource: "log-group",
    resourceName: "*",
    arnFormat: ArnFormat.COLON_RESOURCE_NAME,
  });
  key.grantEncryptDecrypt(
    new ServicePrincipal(`logs.${stack.region}.amazonaws.com`).withConditions({
      ArnLike: { "kms:EncryptionContext:aws:logs:arn": group },
    }),
  );
}

/** The table of src/aws/table-definition.ts; a test compares the two. */
function makeTable(stack: Stack, encryptionKey: Key, config: EnvironmentConfig): Table {
  const table = new Table(stack, "Table", {
    partitionKey: text("pk"),
    sortKey: text("sk"),
    billingMode: BillingMode.PAY_PER_REQUEST,
    timeToLiveAttribute: "x",
    encryption: TableEncryption.CUSTOMER_MANAGED,
    encryptionKey,
    pointInTimeRecoverySpecification: { pointInTimeRecoveryEnabled: true },
    deletionProtection: config.isProtected,
    removalPolicy: removalOf(config),
  });
  for (const indexName of INDEXES) {
    table.addGlobalSecondaryIndex({
      indexName,
      partitionKey: text(`${indexName}_pk`),
      sortKey: text(`${indexName}_sk`),
      projectionType: ProjectionType.KEYS_ONLY,
    });
  }
  return table;
}

const bucketOf = (config: EnvironmentConfig) =>
  ({
    encryption: BucketEncryption.KMS,
    bucketKeyEnabled: true,
    blockPublicAccess: BlockPublicAccess.BLOCK_ALL,
    objectOwnership: ObjectOwnership.BUCKET_OWNER_ENFORCED,
    enforceSSL: true,
    minimumTLSVersion: 1.2,
    removalPolicy: removalOf(config),
  }) as const satisfies BucketProps;

/** Of buckets and load balancer. Elastic Load Balancing writes only where S3's own key encrypts. */
function makeAccessLogs(stack: Stack, config: EnvironmentConfig): Bucket {
  const { bucketKeyEnabled: _, ...rest } = bucketOf(config);
  const bucket = new Bucket(stack, "AccessLogs", {
    ...rest,
    encryption: BucketEncryption.S3_MANAGED,
    lifecycleRules: [{ expiration: Duration.days(config.logDays) }],
  });
  acknowledge(bucket, { "AwsSolutions-S1": "It holds the access logs; its own would be logged into itself." });
  return bucket;
}

function makeSecrets(
  stack: Stack,
  encryptionKey: Key,
  config: EnvironmentConfig,
): Pick<Data, "apiKeys" | "callbackKeys"> {
  const common = { encryptionKey, removalPolicy: removalOf(config) };
  const apiKeys = new Secret(stack, "ApiKeys", {
    ...common,
    description: "The file that `npm run keys` writes: put there by an operator before the first task starts.",
  });
  const callbackKeys = new Secret(stack, "CallbackKeys", {
    ...common,
    description: "Signs the tokens of callbacks; several are separated by commas, the newest first.",
    generateSecretString: { passwordLength: 64, excludePunctuation: true },
  });
  const reason = "Rotated by an operator with an overlap: the old key stays valid until its holders have the new one.";
  for (const secret of [apiKeys, callbackKeys]) acknowledge(secret, { "AwsSolutions-SMG4": reason });
  return { apiKeys, callbackKeys };
}
