/** Who may do what: no star that was not reviewed, and a tenant's role that reads one tenant. */
import { describe, expect, it } from "vitest";
import { tenantId, threadId } from "../../src/core/ids.ts";
import { auditKeys, effectKeys, eventKeys, runMapKey, threadKeys } from "../../src/storage/keys.ts";
import { WITHOUT_RESOURCE } from "../lib/roles.ts";
import { listOf, resources, roleStatements } from "./infra-kit.ts";
import type { Statement } from "./infra-kit.ts";

/** What of these statements is allowed on everything, or is everything. */
const stars = (statements: readonly Statement[]): readonly string[] =>
  statements.flatMap(({ Action, Resource }) => {
    const actions = listOf(Action).map(String);
    return listOf(Resource).includes("*") ? actions : actions.filter((action) => action.includes("*"));
  });

describe("policies of roles", () => {
  it("name resources, but for actions that were reviewed", () => {
    const found = stars(roleStatements());
    expect([...new Set(found)].toSorted()).toEqual(WITHOUT_RESOURCE);
  });

  it("have no star that this would not see (negative control)", () => {
    const statement = { Effect: "Allow", Action: ["s3:GetObject"], Resource: ["arn:aws:s3:::a", "*"] };
    expect(stars([statement, { ...statement, Action: "kms:*", Resource: "arn" }])).toEqual(["s3:GetObject", "kms:*"]);
  });

  it("let nobody delete, scan or export the table, nor change its shape", () => {
    const actions = roleStatements().flatMap(({ Action }) => listOf(Action).map(String));
    expect(
      actions.filter(
        (action) => /^dynamodb:.*(Scan|Table$|Export|Backup)/.test(action) && action !== "dynamodb:DescribeTable",
      ),
    ).toEqual([]);
  });

  it("let workers, and nobody else, protect tasks of their own cluster", () => {
    const found = roleStatements().filter(({ Action }) => listOf(Action).includes("ecs:UpdateTaskProtection"));
    expect(found.map(({ at }) => at.replace(/DefaultPolicy\w+$/, ""))).toEqual([
      "development/service/WorkerRole",
      "production/service/WorkerRole",
    ]);
    expect(JSON.stringify(found[1]?.Resource)).toContain(":task/holdpoint-production/*");
  });
});

describe("the role that reads for one tenant", () => {
  const statement = () => {
    const found = roleStatements().filter(({ at }) => at.includes("production/service/TenantReader"));
    return found.find(({ Action }) => listOf(Action).includes("dynamodb:Query"));
  };

  it("reads the table alone, no index, and changes nothing", () => {
    const { Action, Resource } = statement() ?? {};
    expect(Action).toEqual(["dynamodb:BatchGetItem", "dynamodb:GetItem", "dynamodb:Query"]);
    expect(JSON.stringify(Resource)).not.toContain("/index");
  });

  it("reads partitions of its session's tenant, of every kind, and of no other tenant", () => {
    const { Condition } = statement() ?? {};
    const [pattern] = listOf(Condition?.["ForAllValues:StringLike"]?.["dynamodb:LeadingKeys"]).map(String);
    expect(pattern).toBe(`\${aws:PrincipalTag/tenant}#*`);
    expect(Condition?.["Null"]).toEqual({ "dynamodb:LeadingKeys": "false" });
    const partitions = (tenant: string): readonly string[] => {
      const at = { tenant: tenantId(tenant), threadId: threadId("t-1") };
      return [
        threadKeys.partition(at),
        eventKeys.partition(at),
        auditKeys.chain(at.tenant),
        effectKeys.entry(at.tenant, "r", "x").pk,
        runMapKey(at.tenant, "r").pk,
      ];
    };
    // What IAM makes of the pattern in a session of `acme`: everything that begins so.
    const isAllowed = (pk: string): boolean => pk.startsWith("acme#");
    expect(partitions("acme").every(isAllowed)).toBe(true);
    expect([...partitions("globex"), ...partitions("acme2"), ...partitions("acme#t")].some(isAllowed)).toBe(false);
  });

  it("is taken on with a tag that names a tenant, by roles of this account that are made for it", () => {
    const [role] = resources("AWS::IAM::Role").filter(({ at }) => at.includes("production/service/TenantReader"));
    expect(role?.properties["AssumeRolePolicyDocument"]).toMatchObject({
      Statement: [
        {
          Action: ["sts:AssumeRole", "sts:TagSession"],
          Condition: {
            StringLike: { "aws:RequestTag/tenant": "?*" },
            StringNotLike: { "aws:RequestTag/tenant": [`*\${*}*`, `*\${?}*`] },
            "ForAllValues:StringEquals": { "aws:TagKeys": ["tenant"] },
          },
        },
      ],
    });
  });
});
