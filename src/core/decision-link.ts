/**
 * Links with which one person gives one answer to one review: short-lived, and used once, since the decision's id follows
 * from the link.
 */
import { keyedDecisionId } from "./hold.ts";
import type { Hold, HoldAnswer } from "./hold.ts";
import { holdId as asHoldId, tenantId, threadId as asThreadId } from "./ids.ts";
import type { DecisionId, HoldId, TenantId, ThreadId } from "./ids.ts";
import type { Json } from "./json.ts";
import type { Principal } from "./principal.ts";

export const LINK_ANSWERS = ["approve", "reject"] as const;

export interface DecisionLink {
  readonly id: string;
  readonly tenant: TenantId;
  readonly threadId: ThreadId;
  readonly holdId: HoldId;
  /** Of what was shown when it was made. */
  readonly digest: string;
  /** Whose answer it is, and the groups in which they are. */
  readonly user: string;
  readonly groups: readonly string[];
  readonly answer: (typeof LINK_ANSWERS)[number];
  readonly issuedBy: string;
  /** Table time. */
  readonly expiresAt: number;
}

export const linkToJson = (link: DecisionLink): Json => ({ ...link });

/** Reads what `linkToJson` made, once its signature was found good. */
export function linkOf(said: Json): DecisionLink {
  const link = said as unknown as DecisionLink; // nobody else can have signed it
  return {
    ...link,
    tenant: tenantId(link.tenant),
    threadId: asThreadId(link.threadId),
    holdId: asHoldId(link.holdId),
  };
}

/** The person as who they answer: the policy of the review holds for them as for anybody. */
export const bearerOf = ({ tenant, user, groups }: DecisionLink): Principal => ({
  tenant,
  subject: user,
  roles: ["reviewer"],
  groups,
});

/** What no `Idempotency-Key` can be, which stands in a header. */
export const linkKey = ({ id }: DecisionLink): string => `\u0000link ${id}`;

export const linkDecisionId = (link: DecisionLink, { returned }: Pick<Hold, "returned">): DecisionId =>
  keyedDecisionId(link.holdId, link.user, linkKey(link), returned);

export const linkAnswer = ({ answer }: DecisionLink): HoldAnswer => ({ type: answer });
