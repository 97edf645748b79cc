/**
 * Auto-approval policies: which reviews need no person. A policy changes by a new version, and each version stays as it
 * was. What a policy does not say, it does not approve.
 */
import { policySchemaProblems } from "./policy-schema.ts";
import { continuationId, decided, keyedDecisionId } from "./hold.ts";
import type { Hold, ReviewRequest } from "./hold.ts";
import { isClaimedByOthers } from "./hold-desk.ts";
import type { TenantId } from "./ids.ts";
import { schemaProblems } from "./json-schema.ts";
import type { Problem } from "./json-schema.ts";
import type { JsonObject } from "./json.ts";

/** Demands of a review that only a policy which names them passes over. */
export const OVERRIDES = ["groups", "quorum", "four_eyes"] as const;
export type Override = (typeof OVERRIDES)[number];
export const RISKS = ["low", "medium", "high"] as const;
export type Risk = (typeof RISKS)[number];

export interface PolicyRule {
  /** False: it approves nothing any more. */
  readonly enabled: boolean;
  readonly description: string;
  /** Of this graph; of any, when it is left out. */
  readonly graph?: string;
  readonly action: string;
  /** JSON Schema that the arguments fit, of the part that `policySchemaProblems` knows. */
  readonly args: JsonObject;
  /** A review that names no risk counts as `high`. */
  readonly maxRisk: Risk;
  readonly overrides: readonly Override[];
}

/** One version of a policy. */
export interface ApprovalPolicy {
  readonly tenant: TenantId;
  readonly name: string;
  /** From 1 on. */
  readonly version: number;
  readonly rule: PolicyRule;
  readonly by: string;
  readonly at: number;
}

/** Who decides where a policy does. */
export const policySubject = ({ name, version }: Pick<ApprovalPolicy, "name" | "version">): string =>
  `policy:${name}@${version}`;

/** What is wrong with a rule that has the right shape, each with its JSON pointer. */
export const ruleProblems = ({ args }: PolicyRule): readonly Problem[] => policySchemaProblems(args, "/args");

/** Whether the rule approves what this review asks. Pure, so that a dry run answers what would have happened. */
export function approves(rule: PolicyRule, { graphId, origin, request }: Hold): boolean {
  if (!rule.enabled || origin !== "review" || request === undefined) return false;
  return (
    (rule.graph ?? graphId) === graphId &&
    rule.action === request.action &&
    RISKS.indexOf(request.risk ?? "high") <= RISKS.indexOf(rule.maxRisk) &&
    demandsOf(request).every((demand) => rule.overrides.includes(demand)) &&
    schemaProblems(rule.args, request.args).length === 0
  );
}

function demandsOf({ groups = [], quorum = 1, fourEyes = false }: ReviewRequest): readonly Override[] {
  return [
    ...(groups.length > 0 ? (["groups"] as const) : []),
    ...(quorum > 1 ? (["quorum"] as const) : []),
    ...(fourEyes ? (["four_eyes"] as const) : []),
  ];
}

/** Whether people have begun to work on it: then it is theirs. */
const isBegun = (hold: Hold, now: number): boolean => (hold.votes ?? []).length > 0 || isClaimedByOthers("", hold, now);

/** What the policies make of a review that was just raised: decided, or left to people for good. */
export function byPolicy(hold: Hold, policies: readonly ApprovalPolicy[], now: number): Hold {
  const { policyAt: _, ...times } = hold.times ?? {};
  const { times: _times, ...rest } = hold;
  const asked: Hold = Object.keys(times).length === 0 ? rest : { ...rest, times };
  const policy = isBegun(hold, now) ? undefined : policies.find(({ rule }) => approves(rule, hold));
  if (!policy) return asked;
  const by = policySubject(policy);
  const id = keyedDecisionId(hold.holdId, by, "policy");
  return decided(asked, {
    id,
    by,
    at: now,
    cause: "policy",
    answer: { type: "approve" },
    continuation: continuationId(hold.holdId, id),
  });
}
