import type { EffectEntry } from "../core/effect.ts";
import type { RunId, TenantId } from "../core/ids.ts";
import { plainSealers } from "./encryption/sealer.ts";
import type { Sealers } from "./encryption/sealer.ts";
import { effectKeys } from "./keys.ts";
import { createRecords, textOf } from "./records.ts";
import type { Codec, Records, Stored, Written } from "./records.ts";
import type { Item, Key, Table, Value } from "./table.ts";

/** How long a journal entry is kept. */
const RETENTION_MS = 400 * 24 * 3_600_000;

/** The effect journal: one item per token (I5). */
export interface Effects {
  get(tenant: TenantId, root: RunId, token: string): Promise<Stored<EffectEntry> | undefined>;
  put(entry: EffectEntry, when: "absent" | { readonly version: number }): Promise<Written<EffectEntry>>;
  /** Every entry of a lineage. */
  ofRoot(tenant: TenantId, root: RunId): Promise<readonly EffectEntry[]>;
}

/** `sealers`: what encrypts results and the digests of arguments; nothing by default. */
export function createEffects(table: Table, sealers: Sealers = plainSealers): Effects {
  const key = (entry: Pick<EffectEntry, "tenant" | "root" | "token">): Key =>
    effectKeys.entry(entry.tenant, entry.root, entry.token);
  const codec: Codec<EffectEntry> = {
    names: ["f", "d"],
    key: (entry: EffectEntry) => key(entry),
    encode: (entry): Record<string, Value> => ({ f: entry.fence, d: JSON.stringify(entry) }),
    decode: (item: Item) => JSON.parse(textOf(item, "d")) as EffectEntry,
    expiresAt: (entry) => entry.updatedAt + RETENTION_MS,
    content: { paths: ["argsDigest", "outcome"], tenantOf: ({ tenant }) => tenant },
  };
  const records: Records<EffectEntry> = createRecords(table, codec, sealers);
  return {
    get: (tenant, root, token) => records.get(key({ tenant, root, token })),
    put: (entry, when) => records.put(entry, when),
    async ofRoot(tenant, root) {
      const { pk } = effectKeys.entry(tenant, root, "");
      const entries: EffectEntry[] = [];
      let after: string | undefined;
      do {
        const page = await records.query(pk, { prefix: effectKeys.prefix, ...(after === undefined ? {} : { after }) });
        entries.push(...page.items.map((stored) => stored.value));
        after = page.next;
      } while (after !== undefined);
      return entries;
    },
  };
}
