import { ruleProblems } from "../../core/approval-policy.ts";
import type { ApprovalPolicy, PolicyRule } from "../../core/approval-policy.ts";
import type { AuditEntry } from "../../core/audit.ts";
import { HoldpointError } from "../../core/errors.ts";
import type { JsonObject } from "../../core/json.ts";
import { jsonPatch } from "../../core/json-patch.ts";
import type { Principal } from "../../core/principal.ts";
import { sha256 } from "../../core/ids.ts";
import { canonicalJson } from "../../core/json.ts";
import type { Stored } from "../../storage/records.ts";
import type { Deps } from "../deps.ts";
import { dryRun } from "./dry-run.ts";
import type { PolicyChange, PolicyUseCases } from "./use-cases.ts";

/** All of them are read for each review that is raised. */
const MAX_POLICIES = 100;
const SHOWN_VERSIONS = 100;

export function createPolicyUseCases(deps: Deps): PolicyUseCases {
  const { policies } = deps;
  const current = async ({ tenant }: Principal, name: string): Promise<Stored<ApprovalPolicy>> => {
    const found = await policies.get(tenant, name);
    if (!found) throw new HoldpointError("not_found", `Policy ${name} not found`);
    return found;
  };
  return {
    list: ({ tenant }) => policies.list(tenant),
    async get(principal, name, version) {
      const { value } = await current(principal, name);
      if (version === undefined || version === value.version) return value;
      const older = await policies.older(principal.tenant, name, version);
      if (!older) throw new HoldpointError("not_found", `Policy ${name} has no version ${version}`);
      return older;
    },
    async versions(principal, name) {
      const { value } = await current(principal, name);
      return [value, ...(await policies.history(principal.tenant, name, SHOWN_VERSIONS))];
    },
    put: (principal, name, change) => put(deps, principal, name, change),
    warnings: (rule) => warningsOf(deps, rule),
    async dryRun(principal, rule, last) {
      assertSound(rule);
      return dryRun(deps, principal, rule, last);
    },
  };
}

/** @throws HoldpointError `invalid` with JSON pointers: a rule with a mistake is refused whole */
function assertSound(rule: PolicyRule): void {
  const errors = ruleProblems(rule);
  if (errors.length === 0) return;
  const said = errors.map(({ pointer, message }) => `${pointer}: ${message}`).join("; ");
  throw new HoldpointError("invalid", `the policy is not sound: ${said}`, { detail: { errors: [...errors] } });
}

/** A policy may be there before its graph is, and so it is taken: but a name may as well be misspelt. */
function warningsOf({ graphs }: Deps, { graph }: PolicyRule): readonly string[] {
  if (graph === undefined || graphs.get(graph) || graphs.failure(graph)) return [];
  const known = graphs.list().map(({ graphId }) => graphId);
  return [`/graph: there is no graph ${graph} here, so that it approves nothing; there are ${known.join(", ")}`];
}

async function put(
  deps: Deps,
  principal: Principal,
  name: string,
  { rule, ifMatch, reason }: PolicyChange,
): Promise<ApprovalPolicy> {
  assertSound(rule);
  const { tenant, subject: by } = principal;
  for (;;) {
    const before = await deps.policies.get(tenant, name);
    const version = before?.value.version ?? 0;
    if (ifMatch !== undefined && ifMatch !== version)
      throw new HoldpointError("precondition_failed", `the policy has version ${version}`, { detail: { version } });
    if (!before) await assertRoom(deps, principal);
    const policy: ApprovalPolicy = { tenant, name, version: version + 1, rule, by, at: deps.table.now() };
    // Before it is: an entry whose change lost is possible, a rule that nobody stands for is not.
    await deps.audit.record(changeEntry(policy, before?.value, { principal, reason }));
    const written = await deps.policies.put(policy, before);
    if (written.won) return policy;
  }
}

async function assertRoom({ policies }: Deps, { tenant }: Principal): Promise<void> {
  if ((await policies.list(tenant)).length < MAX_POLICIES) return;
  throw new HoldpointError("conflict", `a tenant has at most ${MAX_POLICIES} policies`);
}

function changeEntry(
  { tenant, name, version, rule, by, at }: ApprovalPolicy,
  before: ApprovalPolicy | undefined,
  { principal, reason }: { readonly principal: Principal; readonly reason: string | undefined },
): AuditEntry {
  const old: JsonObject = before ? { ...before.rule } : {};
  return {
    tenant,
    kind: "policy",
    key: [name, String(version), by, sha256(canonicalJson(rule))],
    at,
    actor: by,
    ...(principal.origin === undefined ? {} : { origin: principal.origin }),
    action: rule.enabled ? "enable" : "disable",
    subject: { policy: `${name}@${version}` },
    patch: jsonPatch({ rule: old }, { rule: { ...rule } }),
    ...(reason === undefined ? {} : { reason }),
  };
}
