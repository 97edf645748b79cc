/** Auto-approval policies as the API sees them. */
import type { ApprovalPolicy, PolicyRule } from "../../core/approval-policy.ts";
import type { Hold } from "../../core/hold.ts";
import type { Principal } from "../../core/principal.ts";

export interface PolicyUseCases {
  /** The current version of each. */
  list(principal: Principal): Promise<readonly ApprovalPolicy[]>;
  /** A version of it, the current one unless it is given. */
  get(principal: Principal, name: string, version?: number): Promise<ApprovalPolicy>;
  /** The current version and those before it, newest first. */
  versions(principal: Principal, name: string): Promise<readonly ApprovalPolicy[]>;
  /** Makes the rule the next version. @throws HoldpointError `invalid` for a mistake in it; `precondition_failed` */
  put(principal: Principal, name: string, change: PolicyChange): Promise<ApprovalPolicy>;
  /** What may be a mistake in a rule that is sound. */
  warnings(rule: PolicyRule): readonly string[];
  dryRun(principal: Principal, rule: PolicyRule, last: number): Promise<DryRun>;
}

export interface PolicyChange {
  readonly rule: PolicyRule;
  /** The version that it is to take the place of. */
  readonly ifMatch?: number;
  readonly reason?: string;
}

/** What a rule would have done with reviews that people have decided, the newest first. */
export interface DryRun {
  /** Reviews that were looked at: decided by people. */
  readonly reviews: number;
  readonly approves: number;
  /** Of those, approved by people too. */
  readonly agreements: number;
  /** Decided otherwise by people. */
  readonly disagreements: readonly Hold[];
}
