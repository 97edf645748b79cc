/** The templates: that nothing in them is unexplained, and what must be true of each of them. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Stack } from "aws-cdk-lib";
import { Bucket } from "aws-cdk-lib/aws-s3";
import { CfnTable } from "aws-cdk-lib/aws-dynamodb";
import { Match, Template } from "aws-cdk-lib/assertions";
import { describe, expect, it } from "vitest";
import { DEFAULT_LIMITS as HTTP_LIMITS } from "../../src/http/limits.ts";
import { KEEP_ALIVE_MS } from "../../src/http/server.ts";
import { TTL_ATTRIBUTE, tableDefinition } from "../../src/aws/table-definition.ts";
import { createApp } from "../lib/stacks.ts";
import { TEMPLATES, published } from "../synth.ts";
import { containers, environments, resources, templateOf } from "./infra-kit.ts";

const ENVIRONMENTS = ["development", "production"] as const;

/** A template under the matchers of the CDK. */
const asserted = (environment: string, stack: string): Template => Template.fromJSON(templateOf(environment, stack));

async function synthesising(add: (stack: Stack) => void): Promise<unknown> {
  const outdir = await mkdtemp(join(tmpdir(), "holdpoint-synth-"));
  try {
    const app = createApp(outdir);
    add(new Stack(app, "Wrong"));
    return app.synth();
  } finally {
    await rm(outdir, { recursive: true, force: true });
  }
}

describe("synthesis", { timeout: 180_000 }, () => {
  it("has no finding that is not explained, and made the templates that are published", async () => {
    const files = environments().flatMap(({ environment, templates }) =>
      Object.entries(templates).map(async ([stack, template]) => {
        const file = join(TEMPLATES, environment, `${stack}.json`);
        // Run `npm run infra:synth` when this fails.
        expect([file, await readFile(file, "utf8")]).toEqual([file, published(template)]);
      }),
    );
    await Promise.all(files);
    expect(files).toHaveLength(12);
  });

  it("fails on a bucket that nobody has explained (negative control)", async () => {
    await expect(synthesising((stack) => void new Bucket(stack, "Open"))).rejects.toThrow("AwsSolutions-S1");
  });

  it("fails on a property that CloudFormation does not know (negative control)", async () => {
    const wrong = (stack: Stack): void => {
      const table = new CfnTable(stack, "Table", { keySchema: [{ attributeName: "pk", keyType: "HASH" }] });
      table.addPropertyOverride("BillingMode", "FREE");
      table.addPropertyOverride("PointInTimeRecoverySpecification.PointInTimeRecoveryEnabled", true);
    };
    await expect(synthesising(wrong)).rejects.toThrow("'FREE' is not one of");
  });

  it("asks AWS for nothing: no look-ups, no assets, no bootstrap", () => {
    for (const { templates } of environments()) {
      for (const template of Object.values(templates)) {
        expect(JSON.stringify(template)).not.toMatch(/cdk-hnb659fds|dummy-value/);
        expect(template["Parameters"]).toBeUndefined();
      }
    }
  });
});

describe.each(ENVIRONMENTS)("data of %s", (environment) => {
  it("has the table that the service asks for", () => {
    const template = asserted(environment, "data");
    const { TableName: _, ...shape } = tableDefinition("any");
    const [table = {}] = Object.values(template.findResources("AWS::DynamoDB::Table"));
    const { Properties } = table as {
      readonly Properties: Readonly<Record<string, readonly { readonly AttributeName: string }[]>>;
    };
    const byName = (some: readonly { readonly AttributeName?: string | undefined }[] = []) =>
      some.toSorted((a, b) => (a.AttributeName ?? "").localeCompare(b.AttributeName ?? ""));
    expect({ ...Properties, AttributeDefinitions: byName(Properties["AttributeDefinitions"]) }).toMatchObject({
      ...shape,
      AttributeDefinitions: byName(shape.AttributeDefinitions),
      TimeToLiveSpecification: { AttributeName: TTL_ATTRIBUTE, Enabled: true },
      PointInTimeRecoverySpecification: { PointInTimeRecoveryEnabled: true },
      SSESpecification: { SSEEnabled: true, SSEType: "KMS" },
    });
    expect(Properties["GlobalSecondaryIndexes"]).toHaveLength(shape.GlobalSecondaryIndexes?.length ?? 0);
  });

  it("is encrypted with keys that rotate, and closed to everybody else", () => {
    const template = asserted(environment, "data");
    template.allResourcesProperties("AWS::KMS::Key", { EnableKeyRotation: true });
    const closed = {
      BlockPublicAcls: true,
      BlockPublicPolicy: true,
      IgnorePublicAcls: true,
      RestrictPublicBuckets: true,
    };
    template.allResourcesProperties("AWS::S3::Bucket", { PublicAccessBlockConfiguration: closed });
    template.resourcePropertiesCountIs(
      "AWS::S3::BucketPolicy",
      Match.objectLike({
        PolicyDocument: {
          Statement: Match.arrayWith([
            Match.objectLike({ Effect: "Deny", Condition: { Bool: { "aws:SecureTransport": "false" } } }),
          ]),
        },
      }),
      3,
    );
  });
});

describe("what production keeps", () => {
  it("cannot be deleted by mistake, and outlives its stack", () => {
    const kept = resources(
      "AWS::DynamoDB::Table",
      "AWS::S3::Bucket",
      "AWS::KMS::Key",
      "AWS::ECR::Repository",
      "AWS::Cognito::UserPool",
    );
    const production = kept.filter(({ at }) => at.startsWith("production/"));
    expect(production).toHaveLength(8);
    expect(production.map(({ at, resource }) => [at, resource["DeletionPolicy"]])).toEqual(
      production.map(({ at }) => [at, "Retain"]),
    );
    asserted("production", "data").hasResourceProperties("AWS::DynamoDB::Table", { DeletionProtectionEnabled: true });
  });

  it("has audit records that nobody removes for seven years; development's may be, by who is allowed to", () => {
    const rule = (Mode: string, Days: number) => ({
      ObjectLockConfiguration: { Rule: { DefaultRetention: { Mode, Days } } },
    });
    asserted("production", "data").hasResourceProperties("AWS::S3::Bucket", rule("COMPLIANCE", 7 * 365));
    asserted("development", "data").hasResourceProperties("AWS::S3::Bucket", rule("GOVERNANCE", 365));
  });
});

describe.each(ENVIRONMENTS)("network of %s", (environment) => {
  it("has every rule of a security group in one stack", () => {
    const rules = resources(
      "AWS::EC2::SecurityGroupIngress",
      "AWS::EC2::SecurityGroupEgress",
      "AWS::EC2::SecurityGroup",
    );
    expect(rules.map(({ at }) => at.split("/")[1]).filter((stack) => stack !== "network")).toEqual([]);
  });

  it("lets nobody connect to a worker, and to the api only the load balancer", () => {
    const into = resources("AWS::EC2::SecurityGroupIngress").filter(({ at }) => at.startsWith(environment));
    const groupsOf = (name: string): readonly unknown[] =>
      into
        .filter(({ properties }) => JSON.stringify(properties["GroupId"]).includes(name))
        .map(({ properties }) => properties["SourceSecurityGroupId"]);
    expect(groupsOf("Worker")).toEqual([]);
    expect(JSON.stringify(groupsOf("Api"))).toMatch(/^\[{"Fn::GetAtt":\["Balancer\w+","GroupId"\]}\]$/);
  });

  it("gives no task a public address", () => {
    for (const { properties } of resources("AWS::ECS::Service"))
      expect(properties["NetworkConfiguration"]).toMatchObject({ AwsvpcConfiguration: { AssignPublicIp: "DISABLED" } });
    for (const { properties } of resources("AWS::EC2::Subnet")) expect(properties["MapPublicIpOnLaunch"]).toBe(false);
  });
});

describe.each(ENVIRONMENTS)("edge of %s", (environment) => {
  it("speaks TLS 1.3 only", () => {
    const template = asserted(environment, "edge");
    template.allResourcesProperties("AWS::ElasticLoadBalancingV2::Listener", {
      Protocol: "HTTPS",
      SslPolicy: "ELBSecurityPolicy-TLS13-1-3-2021-06",
    });
  });

  it("waits longer than streams are silent, and less long than the service keeps an idle connection", () => {
    const [balancer] = resources("AWS::ElasticLoadBalancingV2::LoadBalancer").filter(({ at }) =>
      at.startsWith(environment),
    );
    const attributes = balancer?.properties["LoadBalancerAttributes"] as readonly {
      readonly Key: string;
      readonly Value: string;
    }[];
    const idleMs = 1000 * Number(attributes.find(({ Key }) => Key === "idle_timeout.timeout_seconds")?.Value);
    expect(idleMs).toBeGreaterThan(2 * HTTP_LIMITS.heartbeatMs);
    expect(idleMs).toBeLessThan(KEEP_ALIVE_MS);
  });

  it("asks the process whether it lives, and not the table", () => {
    const template = asserted(environment, "edge");
    template.resourceCountIs("AWS::ElasticLoadBalancingV2::TargetGroup", 2);
    template.allResourcesProperties("AWS::ElasticLoadBalancingV2::TargetGroup", { HealthCheckPath: "/ok" });
  });

  it("stands behind a firewall whose log has no credential in it", () => {
    const template = asserted(environment, "edge");
    template.resourceCountIs("AWS::WAFv2::WebACLAssociation", 1);
    template.hasResourceProperties("AWS::WAFv2::LoggingConfiguration", {
      RedactedFields: ["x-api-key", "authorization", "cookie"].map((Name) => ({ SingleHeader: { Name } })),
    });
  });
});

describe("tasks", () => {
  it("run as nobody, on a root that they cannot write to, without any capability", () => {
    const all = containers();
    expect(all.map(({ Name }) => Name).toSorted()).toEqual([
      "collector",
      "collector",
      "collector",
      "collector",
      "holdpoint",
      "holdpoint",
      "holdpoint",
      "holdpoint",
      "keys",
      "keys",
    ]);
    for (const { at, Name, User, ReadonlyRootFilesystem, LinuxParameters } of all) {
      expect([at, ReadonlyRootFilesystem, LinuxParameters?.Capabilities?.Drop]).toEqual([at, true, ["ALL"]]);
      if (Name !== "collector") expect([at, User]).toEqual([at, "10001:10001"]);
    }
  });

  it("have the longest time that Fargate gives to stop, which is more than the service takes", () => {
    const services = containers().filter(({ Name }) => Name === "holdpoint");
    expect(services.map(({ StopTimeout }) => StopTimeout)).toEqual([120, 120, 120, 120]);
  });

  it("are replaced by canary (api) and one by one (workers), and rolled back when that fails", () => {
    const services = resources("AWS::ECS::Service");
    const of = (id: string) =>
      services
        .filter(({ at }) => at.includes(`/${id}Service`))
        .map(({ properties }) => properties["DeploymentConfiguration"]);
    const common = {
      MinimumHealthyPercent: 100,
      MaximumPercent: 200,
      DeploymentCircuitBreaker: { Enable: true, Rollback: true },
    };
    const canary = {
      Strategy: "CANARY",
      CanaryConfiguration: { CanaryPercent: 10 },
      Alarms: { Enable: true, Rollback: true },
    };
    expect(of("Api")).toMatchObject([
      { ...common, ...canary },
      { ...common, ...canary },
    ]);
    expect(of("Worker")).toMatchObject([common, common]);
  });

  it("of workers run on spare capacity beyond the first ones, those of the api never", () => {
    const services = resources("AWS::ECS::Service");
    const spot = services.filter(({ properties }) =>
      JSON.stringify(properties["CapacityProviderStrategy"]).includes("FARGATE_SPOT"),
    );
    expect(spot.map(({ at }) => at.replace(/Service\w+$/, ""))).toEqual([
      "development/service/Worker",
      "production/service/Worker",
    ]);
  });
});
