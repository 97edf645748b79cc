import type { ApprovalPolicy } from "../core/approval-policy.ts";
import type { TenantId } from "../core/ids.ts";
import { policyKeys } from "./keys.ts";
import { createRecords, textOf } from "./records.ts";
import type { Codec, Records, Stored, Written } from "./records.ts";
import type { Item, Key, Table } from "./table.ts";

/**
 * Auto-approval policies of a tenant. The item of a name holds its current version, and its write is the commit; a version
 * is put beside it before another takes its place there, so that each one stays readable.
 */
export interface Policies {
  get(tenant: TenantId, name: string): Promise<Stored<ApprovalPolicy> | undefined>;
  /** One that is not the current one any more. */
  older(tenant: TenantId, name: string, version: number): Promise<ApprovalPolicy | undefined>;
  /** The current version of each, in the order of their names. */
  list(tenant: TenantId): Promise<readonly ApprovalPolicy[]>;
  /** Those before the current one, newest first. */
  history(tenant: TenantId, name: string, limit: number): Promise<readonly ApprovalPolicy[]>;
  /** `before`: what it takes the place of. */
  put(policy: ApprovalPolicy, before: Stored<ApprovalPolicy> | undefined): Promise<Written<ApprovalPolicy>>;
}

export function createPolicies(table: Table): Policies {
  const codec = (key: (policy: ApprovalPolicy) => Key): Codec<ApprovalPolicy> => ({
    names: ["d"],
    key,
    encode: (policy) => ({ d: JSON.stringify(policy) }),
    decode: (item: Item) => JSON.parse(textOf(item, "d")) as ApprovalPolicy,
  });
  const heads: Records<ApprovalPolicy> = createRecords(
    table,
    codec(({ tenant, name }) => policyKeys.head(tenant, name)),
  );
  const versions: Records<ApprovalPolicy> = createRecords(
    table,
    codec(({ tenant, name, version }) => policyKeys.version(tenant, name, version)),
  );
  return {
    get: (tenant, name) => heads.get(policyKeys.head(tenant, name)),
    older: async (tenant, name, version) => (await versions.get(policyKeys.version(tenant, name, version)))?.value,
    async list(tenant) {
      const found: ApprovalPolicy[] = [];
      let after: string | undefined;
      do {
        const range = { prefix: policyKeys.headPrefix, ...(after === undefined ? {} : { after }) };
        // A rule that cannot be read approves nothing, and so may be left out.
        const page = await heads.query(policyKeys.partition(tenant), range, "skip");
        found.push(...page.items.map(({ value }) => value));
        after = page.next;
      } while (after !== undefined);
      return found;
    },
    async history(tenant, name, limit) {
      const range = { prefix: policyKeys.versionPrefix(name), descending: true, limit };
      const page = await versions.query(policyKeys.partition(tenant), range, "skip");
      return page.items.map(({ value }) => value);
    },
    async put(policy, before) {
      if (before) await versions.put(before.value, "absent");
      return heads.put(policy, before ? { version: before.version } : "absent");
    },
  };
}
