/** Auto-approval policies: which reviews need no person. */
import type { Request } from "express";
import { z } from "zod";
import { OVERRIDES, RISKS } from "../../core/approval-policy.ts";
import type { ApprovalPolicy, PolicyRule } from "../../core/approval-policy.ts";
import { HoldpointError } from "../../core/errors.ts";
import { MAX_COMMENT } from "../../core/hold-desk.ts";
import type { JsonObject } from "../../core/json.ts";
import type { DryRun, PolicyUseCases } from "../../runtime/policies/use-cases.ts";
import { isoTime } from "../langgraph/objects.ts";
import { jsonObject, name, optional, parse, present } from "../parse.ts";
import type { Call, Routes } from "../route.ts";
import { ifMatchOf } from "./review-bodies.ts";

const MAX_LAST = 1_000;
const MAX_SHOWN = 100;
const PATH = "/policies/:policy";

const rule = {
  enabled: optional(z.boolean()),
  description: optional(z.string().max(MAX_COMMENT)),
  graph: optional(name),
  action: name,
  args: jsonObject,
  max_risk: z.enum(RISKS),
  overrides: optional(z.array(z.enum(OVERRIDES)).max(OVERRIDES.length)),
};
const putBody = z.strictObject({ ...rule, reason: optional(z.string().max(MAX_COMMENT)) });
const dryRunBody = z.strictObject({
  policy: z.strictObject(rule),
  last: optional(z.int().min(1).max(MAX_LAST)),
});
const path = z.object({ policy: z.string().regex(/^[a-z0-9][a-z0-9_-]{0,63}$/, "not the name of a policy") });
const versionQuery = z.strictObject({ version: z.coerce.number().pipe(z.int().min(1)).optional() });

export function addPolicyRoutes(routes: Routes, policies: PolicyUseCases): void {
  routes.get("/policies", "policies:read", async ({ principal, response }) => {
    response.json({ items: (await policies.list(principal)).map(policyObject), next_cursor: null });
  });
  routes.get(PATH, "policies:read", async (call) => {
    const { version } = parse(versionQuery, call.request.query, "query");
    answer(call, await policies.get(call.principal, nameOf(call), version));
  });
  routes.get(`${PATH}/versions`, "policies:read", async (call) => {
    const versions = await policies.versions(call.principal, nameOf(call));
    call.response.json({ items: versions.map(policyObject), next_cursor: null });
  });
  routes.put(PATH, "policies:write", async (call) => {
    const { reason, ...given } = parse(putBody, call.body, "body");
    const change = { rule: ruleOf(given), ...present({ reason, ifMatch: versionOf(call.request) }) };
    const made = await policies.put(call.principal, nameOf(call), change);
    answer(call, made, { warnings: policies.warnings(made.rule) });
  });
  routes.post("/policies/dry-run", "policies:read", async ({ principal, body, response }) => {
    const { policy, last = MAX_SHOWN } = parse(dryRunBody, body, "body");
    const asked = ruleOf(policy);
    const ran = dryRunObject(await policies.dryRun(principal, asked, last));
    response.json({ ...ran, warnings: policies.warnings(asked) });
  });
}

const nameOf = ({ request }: Call): string => parse(path, request.params, "path").policy;

type Given = z.infer<z.ZodObject<typeof rule>>;

function ruleOf({
  enabled = true,
  description = "",
  graph,
  action,
  args,
  max_risk,
  overrides = [],
}: Given): PolicyRule {
  return { enabled, description, ...present({ graph }), action, args, maxRisk: max_risk, overrides };
}

function versionOf(request: Request): number | undefined {
  const given = ifMatchOf(request);
  if (given === undefined) return undefined;
  if (!/^\d{1,9}$/.test(given)) throw new HoldpointError("invalid", "header.if-match: not the version of a policy");
  return Number(given);
}

function answer({ response }: Call, policy: ApprovalPolicy, more: JsonObject = {}): void {
  response.setHeader("etag", `"${policy.version}"`);
  response.json({ ...policyObject(policy), ...more });
}

function policyObject({
  name: policy,
  version,
  rule: { maxRisk, graph, ...same },
  by,
  at,
}: ApprovalPolicy): JsonObject {
  const { enabled, description, action, args, overrides } = same;
  return {
    name: policy,
    version,
    enabled,
    description,
    graph: graph ?? null,
    action,
    args,
    max_risk: maxRisk,
    overrides,
    created_by: by,
    created_at: isoTime(at),
  };
}

function dryRunObject({ disagreements, ...counts }: DryRun): JsonObject {
  return {
    ...counts,
    disagreements: disagreements.length,
    disagreed: disagreements.slice(0, MAX_SHOWN).map(({ threadId, holdId, decision }) => ({
      review_id: `${threadId}.${holdId}`,
      decision: decision?.answer.type ?? null,
      by: decision?.by ?? null,
      at: decision ? isoTime(decision.at) : null,
    })),
  };
}
