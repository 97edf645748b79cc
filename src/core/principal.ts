import type { TenantId } from "./ids.ts";

export const ROLES = ["viewer", "developer", "reviewer", "operator", "auditor", "admin"] as const;
export type Role = (typeof ROLES)[number];

/** Who asks: made from a verified credential and from nothing else (I8). */
export interface Principal {
  readonly tenant: TenantId;
  readonly subject: string;
  readonly roles: readonly Role[];
  readonly groups: readonly string[];
}

/** What a principal may want to do, in the words of the API's scopes. */
export type Action =
  | "assistants:read"
  | "assistants:write"
  | "threads:read"
  | "threads:write"
  | "runs:read"
  | "runs:write"
  | "store:read"
  | "store:write"
  | "effects:read"
  | "effects:settle"
  | "reviews:read"
  | "reviews:decide";

const READS: readonly Action[] = [
  "assistants:read",
  "threads:read",
  "runs:read",
  "store:read",
  "reviews:read",
  "effects:read",
];
const WRITES: readonly Action[] = ["assistants:write", "threads:write", "runs:write", "store:write"];
const GRANTS: Readonly<Record<Role, readonly Action[]>> = {
  viewer: READS,
  developer: [...READS, ...WRITES],
  reviewer: [...READS, "reviews:decide"],
  operator: [...READS, ...WRITES, "effects:settle"],
  auditor: READS,
  admin: [...READS, ...WRITES, "reviews:decide", "effects:settle"],
};

/** Deny by default: true only if one of the principal's roles grants the action. */
export function allows(principal: Principal, action: Action): boolean {
  return principal.roles.some((role) => GRANTS[role].includes(action));
}
