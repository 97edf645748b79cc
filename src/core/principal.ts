import type { TenantId } from "./ids.ts";

/** What policies and time decide is recorded under such names; nobody may have one. */
export const isReservedName = (subject: string): boolean => /^(?:policy|holdpoint):/.test(subject);

export const ROLES = ["viewer", "developer", "reviewer", "operator", "notifier", "auditor", "admin"] as const;
export type Role = (typeof ROLES)[number];

/** Where a request came from, for the record. */
export interface Origin {
  /** The trace id that was answered with. */
  readonly requestId: string;
  /** Address of the peer. */
  readonly address?: string;
  /** W3C traceparent of its span; absent where nobody records traces. */
  readonly traceparent?: string;
}

/** Who asks: made from a verified credential and from nothing else (I8). */
export interface Principal {
  readonly tenant: TenantId;
  readonly subject: string;
  readonly roles: readonly Role[];
  readonly groups: readonly string[];
  /** Only of a request over HTTP. */
  readonly origin?: Origin;
}

/** What a principal may want to do, in the words of the API's scopes. */
export type Action =
  | "assistants:read"
  | "assistants:write"
  | "threads:read"
  | "threads:write"
  | "runs:read"
  | "runs:write"
  | "runs:operate"
  | "store:read"
  | "store:write"
  | "effects:read"
  | "effects:settle"
  | "reviews:read"
  | "reviews:decide"
  /** Ends the claims of others. */
  | "reviews:release"
  /** Makes links for oneself. */
  | "reviews:link"
  /** Makes links with which others answer. */
  | "reviews:delegate"
  | "policies:read"
  | "policies:write"
  | "audit:read"
  | "webhooks:read"
  | "webhooks:write";

const READS: readonly Action[] = [
  "assistants:read",
  "threads:read",
  "runs:read",
  "store:read",
  "reviews:read",
  "effects:read",
  "policies:read",
];
const WRITES: readonly Action[] = ["assistants:write", "threads:write", "runs:write", "store:write"];
/** Who registers an address has a tenant's events sent there. */
const WEBHOOKS: readonly Action[] = ["webhooks:read", "webhooks:write"];
/** Who hands links out answers for whom they name: given to nobody who also decides, or one alone would be a quorum. */
const LINKS: readonly Action[] = ["reviews:link", "reviews:delegate"];
const GRANTS: Readonly<Record<Role, readonly Action[]>> = {
  viewer: READS,
  developer: [...READS, ...WRITES],
  reviewer: [...READS, "reviews:decide", "reviews:link"],
  operator: [...READS, ...WRITES, ...WEBHOOKS, "runs:operate", "effects:settle"],
  notifier: ["reviews:read", ...LINKS],
  auditor: [...READS, "audit:read"],
  admin: [
    ...READS,
    ...WRITES,
    ...WEBHOOKS,
    "runs:operate",
    "reviews:decide",
    "reviews:release",
    "reviews:link",
    "effects:settle",
    "audit:read",
    "policies:write",
  ],
};

/** Deny by default: true only if one of the principal's roles grants the action. */
export function allows(principal: Principal, action: Action): boolean {
  return principal.roles.some((role) => GRANTS[role].includes(action));
}
