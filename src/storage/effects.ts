import { isHoldpointError } from "../core/errors.ts";
import type { EffectEntry, EffectOutcome, KeptWith } from "../core/effect.ts";
import { resultNotKept } from "../core/effect-result.ts";
import type { RunId, TenantId } from "../core/ids.ts";
import type { Json } from "../core/json.ts";
import type { BlobOwner, Blobs } from "./blobs.ts";
import { plainSealers } from "./encryption/sealer.ts";
import type { Sealers } from "./encryption/sealer.ts";
import { duePartition, effectKeys, listPartition, readySort, timePart } from "./keys.ts";
import { createRecords, textOf } from "./records.ts";
import type { Codec, Records, Stored, Written } from "./records.ts";
import type { IndexEntries, Item, Key, Page, Range, Table, Value } from "./table.ts";

/** How long a journal entry is kept. */
const RETENTION_MS = 400 * 24 * 3_600_000;
/** A longer result becomes a body of its own. */
const INLINE_BYTES = 128 * 1024;
/** A result above this is not kept: it is no result, it is a document. */
const MAX_RESULT_BYTES = 32 * 1024 * 1024;

/** Which entry of the journal. */
export interface EffectRef {
  readonly tenant: TenantId;
  readonly root: RunId;
  readonly token: string;
}

/** `parked`: a run waits for somebody's word; `settled`: somebody has said it. Of others there is no list. */
export type EffectList = "parked" | "settled";

/** The effect journal: one item per token (I5). */
export interface Effects {
  get(tenant: TenantId, root: RunId, token: string): Promise<Stored<EffectEntry> | undefined>;
  put(entry: EffectEntry, when: "absent" | { readonly version: number }): Promise<Written<EffectEntry>>;
  /** Every entry of a lineage. */
  ofRoot(tenant: TenantId, root: RunId): Promise<readonly EffectEntry[]>;
  /** A page of a tenant's entries, parked ones oldest first; confirmed on the base items. */
  list(tenant: TenantId, which: EffectList, range: Range): Promise<Page<EffectEntry>>;
  /**
   * The outcome as an entry keeps it: a long result is stored first, as a body of its own, which goes with this thread.
   * Without a thread there is none, and that it happened is all that is kept.
   */
  kept(tenant: TenantId, outcome: EffectOutcome, thread: KeptWith | undefined): Promise<EffectOutcome>;
  /** The outcome with its result, wherever that is kept; a body that is gone stands as a result that was not kept. */
  whole(tenant: TenantId, outcome: EffectOutcome): Promise<EffectOutcome>;
}

export interface EffectsOptions {
  readonly table: Table;
  readonly blobs: Blobs;
  readonly shards: number;
  /** What encrypts results, the digests of arguments, and what operators say; nothing by default. */
  readonly sealers?: Sealers;
}

/** What of an entry nobody may read who has no key. */
const CONTENT = ["argsDigest", "accepted", "outcome", "parked", "settlement", "proposal", "followUp"];

export function createEffects({ table, blobs, shards, sealers = plainSealers }: EffectsOptions): Effects {
  const key = (entry: EffectRef): Key => effectKeys.entry(entry.tenant, entry.root, entry.token);
  const codec: Codec<EffectEntry> = {
    names: ["f", "d"],
    key: (entry: EffectEntry) => key(entry),
    encode: (entry): Record<string, Value> => ({ f: entry.fence, d: JSON.stringify(entry) }),
    decode: (item: Item) => JSON.parse(textOf(item, "d")) as EffectEntry,
    index: (entry) => indexEntries(entry, shards),
    expiresAt: (entry) => entry.updatedAt + RETENTION_MS,
    content: { paths: CONTENT, tenantOf: ({ tenant }) => tenant },
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
    async list(tenant, which, range) {
      const rows = await table.queryIndex("list", listPartition(tenant, "effects"), { ...range, prefix: `${which}#` });
      const keys = rows.items.map((row) => row.key);
      const bySort = new Map((await records.getMany(keys, "skip")).map(({ value }) => [listSort(value), value]));
      return { ...rows, items: rows.items.flatMap(({ sort }) => bySort.get(sort) ?? []) };
    },
    async kept(tenant, outcome, thread) {
      if (outcome.kind === "rejected") return outcome;
      const bytes = Buffer.from(JSON.stringify(outcome.value));
      if (bytes.length <= INLINE_BYTES) return outcome;
      const notKeptFor = (reason: string): EffectOutcome => ({ kind: "result", value: resultNotKept(reason) });
      if (bytes.length > MAX_RESULT_BYTES)
        return notKeptFor(`its result of ${bytes.length} bytes is too long to keep: return a reference to it`);
      if (!thread) return notKeptFor("its result is long, and its thread was deleted");
      const { threadId, generation } = thread;
      const body = await blobs.put({ tenant, threadId, generation }, bytes);
      // What a version that knows no bodies reads: that it happened, and must not be repeated.
      const value = resultNotKept("its result is a body of its own, which this version cannot read");
      return { kind: "result", value, body, keptWith: { threadId, generation } };
    },
    async whole(tenant, outcome) {
      if (outcome.kind === "rejected" || outcome.body === undefined || !outcome.keptWith) return outcome;
      return { kind: "result", value: await resultIn(blobs, { tenant, ...outcome.keptWith }, outcome.body) };
    },
  };
}

/** It has happened, whatever became of its result: what reads this must not be stopped from knowing that. */
async function resultIn(blobs: Blobs, owner: BlobOwner, name: string): Promise<Json> {
  try {
    return JSON.parse(Buffer.from(await blobs.get(owner, name)).toString("utf8")) as Json;
  } catch (error) {
    if (!isHoldpointError(error, "corrupt")) throw error;
    return resultNotKept(`its result was removed with its thread, or is damaged: ${error.message}`);
  }
}

function listSort({ parked, settlement, root, token }: EffectEntry): string | undefined {
  if (parked) return `parked#${timePart(parked.at)}#${root}#${token}`;
  return settlement && `settled#${timePart(settlement.at)}#${root}#${token}`;
}

/** Only what an operator has to do with stands in an index: an ordinary effect costs its two writes here and no more. */
function indexEntries(entry: EffectEntry, shards: number): IndexEntries {
  const { tenant, root, token, followUp } = entry;
  const sort = listSort(entry);
  const at = followUp && { tenant, priority: 5, dueAt: followUp.at, subject: `effects/${root}/${token}` };
  return {
    ...(sort === undefined ? {} : { list: { pk: listPartition(tenant, "effects"), sk: sort } }),
    ...(at && { due: { pk: duePartition(followUp.pool, tenant, shards), sk: readySort(at) } }),
  };
}
