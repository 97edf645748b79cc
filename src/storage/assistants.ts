import type { TenantId } from "../core/ids.ts";
import type { JsonObject } from "../core/json.ts";
import { plainSealers } from "./encryption/sealer.ts";
import type { Sealers } from "./encryption/sealer.ts";
import { assistantKey } from "./keys.ts";
import { createRecords, textOf } from "./records.ts";
import type { Codec, Records, Stored, Written } from "./records.ts";
import type { Item, Table } from "./table.ts";

/** A named configuration of a graph, as somebody created it. */
export interface AssistantRecord {
  readonly tenant: TenantId;
  readonly assistantId: string;
  readonly graphId: string;
  readonly name: string;
  readonly description: string | null;
  readonly config: JsonObject;
  readonly context: JsonObject;
  readonly metadata: JsonObject;
  readonly version: number;
  readonly createdAt: number;
  readonly updatedAt: number;
}

/** Assistants of a tenant: one partition, so that listing them is as consistent as reading one. */
export interface AssistantRecords {
  get(tenant: TenantId, assistantId: string): Promise<Stored<AssistantRecord> | undefined>;
  create(assistant: AssistantRecord): Promise<Written<AssistantRecord>>;
  /** At most `limit` of them, in the order of their ids. Without those of a later format. */
  list(tenant: TenantId, limit: number): Promise<readonly AssistantRecord[]>;
}

/** `sealers`: what encrypts what somebody wrote into an assistant; nothing by default. */
export function createAssistantRecords(table: Table, sealers: Sealers = plainSealers): AssistantRecords {
  const codec: Codec<AssistantRecord> = {
    names: ["d"],
    key: (assistant: AssistantRecord) => assistantKey(assistant.tenant, assistant.assistantId),
    encode: (assistant) => ({ d: JSON.stringify(assistant) }),
    decode: (item: Item) => JSON.parse(textOf(item, "d")) as AssistantRecord,
    content: {
      paths: ["name", "description", "config", "context", "metadata"],
      tenantOf: ({ tenant }) => tenant,
    },
  };
  const records: Records<AssistantRecord> = createRecords(table, codec, sealers);
  return {
    get: (tenant, assistantId) => records.get(assistantKey(tenant, assistantId)),
    create: (assistant) => records.put(assistant, "absent"),
    async list(tenant, limit) {
      const { pk } = assistantKey(tenant, "");
      const found: AssistantRecord[] = [];
      let after: string | undefined;
      do {
        const range = { limit: limit - found.length, ...(after === undefined ? {} : { after }) };
        const page = await records.query(pk, range, "skip");
        found.push(...page.items.map((stored) => stored.value));
        after = page.next;
      } while (after !== undefined && found.length < limit);
      return found;
    },
  };
}
