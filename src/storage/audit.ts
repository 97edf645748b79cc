/**
 * The audit log as it is kept. An entry is put under a deterministic id in a partition of its own, so that a burst
 * contends on nothing and a repetition is the same entry. It stands in the `due` index until a link of its tenant's
 * chain has it (I11). Links are appended with `absent` and never changed.
 */
import { auditId, contentText } from "../core/audit.ts";
import type { AuditContent, AuditEntry, AuditKind, KeptEntry, Link, LinkedEntry } from "../core/audit.ts";
import type { TenantId, ThreadId } from "../core/ids.ts";
import type { Place } from "./encryption/envelope.ts";
import { plainSealers } from "./encryption/sealer.ts";
import type { Sealers } from "./encryption/sealer.ts";
import { auditKeys, duePartition, futureSort, listPartition, timePart } from "./keys.ts";
import type { SortedRow } from "./newest-first.ts";
import { createRecords, numberOf, textOf, update } from "./records.ts";
import type { Records } from "./records.ts";
import type { IndexEntries, Item, Page, Range, Table, Value } from "./table.ts";

/** Entries of so long share a link: nobody waits for it, and a burst becomes few links. */
const CHAINED_AFTER_MS = 2000;
const PAGE_LINKS = 50;

/** A row of the list of entries. */
export interface AuditRow extends SortedRow {
  readonly id: string;
  readonly kind: AuditKind;
  readonly at: number;
}

export interface Audit {
  /**
   * Resolves once the entry is durable; to be awaited before what it records is acknowledged. Repeating it is harmless.
   * `pool`: whose workers chain it.
   */
  record(entry: AuditEntry, pool?: string): Promise<void>;
  /** Entries of a tenant by their time (`rowSort`): rows of an index, to be confirmed by `kept`. */
  list(tenant: TenantId, range: Range): Promise<Page<AuditRow>>;
  kept(tenant: TenantId, ids: readonly string[]): Promise<readonly KeptEntry[]>;
  /** @throws HoldpointError `gone` once the keys of the tenant were dropped, `corrupt`, `unavailable` */
  content(tenant: TenantId, entry: KeptEntry): Promise<AuditContent>;
  /** Says on these entries that a link has them, which ends their being due. */
  mark(tenant: TenantId, ids: readonly string[], link: number): Promise<void>;
  head(tenant: TenantId): Promise<Link | undefined>;
  /** False when there is a link of this number already. */
  append(tenant: TenantId, link: Link): Promise<boolean>;
  /** The links of a chain from this number on, up to `to` if it is given; a page. */
  links(tenant: TenantId, from: number, to?: number): Promise<readonly Link[]>;
}

export interface AuditOptions {
  readonly table: Table;
  readonly shards: number;
  /** What encrypts the content of entries; nothing by default. */
  readonly sealers?: Sealers;
}

/** What is kept of an entry besides what a digest covers. */
type Entry = KeptEntry & { readonly tenant: TenantId; readonly pool: string };

export function createAudit({ table, shards, sealers = plainSealers }: AuditOptions): Audit {
  const entries: Records<Entry> = createRecords(table, {
    names: ["t", "i", "k", "a", "d", "n", "p"],
    key: (entry: Entry) => auditKeys.entry(entry.tenant, entry.id),
    encode: ({ tenant, id, kind, at, bytes, link, pool }): Record<string, Value> => ({
      t: tenant,
      i: id,
      k: kind,
      a: at,
      d: bytes,
      p: pool,
      ...(link === undefined ? {} : { n: link }),
    }),
    decode: decodeEntry,
    index: (entry) => indexEntries(entry, shards),
  });
  const links: Records<Link & { readonly tenant: TenantId }> = createRecords(table, {
    names: ["t", "n", "p", "a", "e", "h"],
    key: (link) => auditKeys.link(link.tenant, link.n),
    encode: ({ tenant, n, previous, at, entries: of, hash }): Record<string, Value> => ({
      t: tenant,
      n,
      p: previous,
      a: at,
      e: JSON.stringify(of.map(({ id, digest }) => [id, digest])),
      h: hash,
    }),
    decode: decodeLink,
  });
  const keysOf = (tenant: TenantId, ids: readonly string[]) => ids.map((id) => auditKeys.entry(tenant, id));
  return {
    async record(entry, pool = "default") {
      const { tenant, kind, at } = entry;
      const id = auditId(entry);
      const sealer = sealers(tenant);
      if (sealer.encrypts) await sealer.ready();
      const bytes = sealer.seal(Buffer.from(contentText(entry)), placeOf(tenant, id));
      // One that is there already is this one.
      await entries.put({ tenant, id, kind, at, bytes, pool }, "absent");
    },
    async list(tenant, range) {
      const page = await table.queryIndex("list", listPartition(tenant, "audit"), range);
      return { ...page, items: page.items.flatMap(({ sort }) => rowOf(sort)) };
    },
    async kept(tenant, ids) {
      const found = await entries.getMany(keysOf(tenant, ids));
      return found.map(({ value }) => value);
    },
    async content(tenant, { id, bytes }) {
      const opened = await sealers(tenant).open(bytes, placeOf(tenant, id));
      return JSON.parse(Buffer.from(opened).toString("utf8")) as AuditContent;
    },
    async mark(tenant, ids, link) {
      const found = await entries.getMany(keysOf(tenant, ids));
      const unmarked = found.filter(({ value }) => value.link === undefined);
      await Promise.all(
        unmarked.map((stored) =>
          update(
            entries,
            auditKeys.entry(tenant, stored.value.id),
            (entry) => (entry.link === undefined ? { ...entry, link } : undefined),
            stored,
          ),
        ),
      );
    },
    async head(tenant) {
      const range = { prefix: auditKeys.linkPrefix, descending: true, limit: 1 };
      return (await links.query(auditKeys.chain(tenant), range)).items[0]?.value;
    },
    append: async (tenant, link) => (await links.put({ ...link, tenant }, "absent")).won,
    async links(tenant, from, to) {
      const end = to === undefined ? `${auditKeys.linkPrefix}~` : auditKeys.link(tenant, to).sk;
      const range = { from: auditKeys.link(tenant, from).sk, to: end, limit: PAGE_LINKS };
      return (await links.query(auditKeys.chain(tenant), range)).items.map(({ value }) => value);
    },
  };
}

const placeOf = (tenant: TenantId, id: string): Place => ({
  tenant,
  threadId: "" as ThreadId, // an entry belongs to no thread, and outlives those that it speaks of
  ns: "",
  checkpointId: "",
  part: `audit ${id}`,
});

function decodeEntry(item: Item): Entry {
  const { d, n, p } = item.attributes;
  if (!(d instanceof Uint8Array)) throw new TypeError(`audit entry ${item.pk} has no content`);
  return {
    tenant: textOf(item, "t") as TenantId,
    id: textOf(item, "i"),
    kind: textOf(item, "k") as AuditKind,
    at: numberOf(item, "a"),
    bytes: d,
    pool: typeof p === "string" ? p : "default",
    ...(typeof n === "number" ? { link: n } : {}),
  };
}

function decodeLink(item: Item): Link & { readonly tenant: TenantId } {
  const pairs = JSON.parse(textOf(item, "e")) as readonly (readonly [string, string])[];
  const [tenant, n] = [textOf(item, "t") as TenantId, numberOf(item, "n")];
  // Who reads on from a number must not be sent back by one.
  if (auditKeys.link(tenant, n).sk !== item.sk) throw new TypeError(`link ${item.sk} says that it is number ${n}`);
  return {
    tenant,
    n,
    previous: textOf(item, "p"),
    at: numberOf(item, "a"),
    entries: pairs.map(([id, digest]): LinkedEntry => ({ id, digest })),
    hash: textOf(item, "h"),
  };
}

function indexEntries({ tenant, id, kind, at, link, pool }: Entry, shards: number): IndexEntries {
  const list = { pk: listPartition(tenant, "audit"), sk: rowSort({ at, kind, id }) };
  if (link !== undefined) return { list };
  const sk = futureSort({ tenant, priority: 9, dueAt: at + CHAINED_AFTER_MS, subject: `audit/${id}` });
  return { list, due: { pk: duePartition(pool, tenant, shards), sk } };
}

/** Sort key of an entry's row in the list. */
export const rowSort = ({ at, kind, id }: Pick<KeptEntry, "at" | "kind" | "id">): string =>
  `${timePart(at)}#${kind}#${id}`;

function rowOf(sort: string): readonly AuditRow[] {
  const [at, kind, id] = sort.split("#");
  return id === undefined ? [] : [{ sort, at: Number(at), kind: kind as AuditKind, id }]; // as rowSort wrote it
}
