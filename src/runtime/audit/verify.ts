/**
 * Verifies a tenant's chain of audit entries from its first link on, that every entry is in the link that it names, and
 * that the list which auditors read has it. Needs no data keys: what is hashed is what is stored.
 */
import { GENESIS, problemsOf } from "../../core/audit.ts";
import type { ChainProblem, FoundEntry, KeptEntry, Link, Verified } from "../../core/audit.ts";
import type { TenantId } from "../../core/ids.ts";
import { unlessUnreadable } from "../../core/unreadable.ts";
import { rowSort } from "../../storage/audit.ts";
import type { Audit } from "../../storage/audit.ts";
import { newestFirst } from "../../storage/newest-first.ts";

/** A head that was noted elsewhere: only against one can be told that the end was cut off. */
export interface NotedHead {
  readonly n: number;
  readonly hash: string;
}

export interface Verification {
  readonly problems: readonly ChainProblem[];
  readonly links: number;
  readonly entries: number;
  /** Those that no link has yet. */
  readonly unchained: number;
  /** To be noted where nobody who can change the table can change it. */
  readonly head: NotedHead;
}

type Reading = Pick<Audit, "links" | "kept" | "list">;

/** Reads every link and every entry, a page at a time; what is remembered is ids, and where the list has them. */
export async function verifyChain(audit: Reading, tenant: TenantId, noted?: NotedHead): Promise<Verification> {
  // Before the links are: whatever says by now that a link has it stands in one that will be read.
  const named = await linksNamed(audit, tenant);
  const problems: ChainProblem[] = [];
  let at: Verified = { n: 0, hash: GENESIS, seen: new Map() };
  let links = 0;
  let isNotedThere = noted === undefined || (noted.n === 0 && noted.hash === GENESIS);
  for await (const link of linksOf(audit, tenant)) {
    if (typeof link === "number") problems.push({ link, what: "is damaged: it cannot be read" });
    else {
      const found = await entriesOf(audit, tenant, { link, listed: named.listed });
      problems.push(...problemsOf(tenant, at, { link, found }));
      if (noted?.n === link.n && noted.hash === link.hash) isNotedThere = true;
      at = { ...at, n: link.n, hash: link.hash };
      links++;
    }
  }
  if (noted && !isNotedThere) problems.push({ link: noted.n, what: notThere(noted, at) });
  for (const [id, link] of named.links) {
    const inLink = at.seen.get(id);
    if (inLink === link) continue;
    const where = inLink === undefined ? "in none" : `in link ${inLink}`;
    problems.push({ link, what: `entry ${id} says that it is in this link, and is ${where}` });
  }
  for (const id of named.damaged)
    if (!at.seen.has(id)) problems.push({ link: undefined, what: `entry ${id} is damaged: it cannot be read` });
  const unchained = named.unchained.filter((id) => !at.seen.has(id)).length;
  return { problems, links, entries: at.seen.size, unchained, head: { n: at.n, hash: at.hash } };
}

const ROWS_AT_ONCE = 100;

interface Named {
  /** Sort keys of the rows of the list. */
  readonly listed: ReadonlySet<string>;
  /** The link that each listed entry says it is in. */
  readonly links: ReadonlyMap<string, number>;
  /** Those that say none. */
  readonly unchained: readonly string[];
  /** Those that nobody can read. */
  readonly damaged: readonly string[];
}

async function linksNamed(audit: Reading, tenant: TenantId): Promise<Named> {
  const listed = new Set<string>();
  const links = new Map<string, number>();
  const unchained: string[] = [];
  const damaged: string[] = [];
  for await (const rows of newestFirst((range) => audit.list(tenant, range), {}, ROWS_AT_ONCE)) {
    for (const { sort } of rows) listed.add(sort);
    const ids = rows.map(({ id }) => id);
    const found = await readEntries(audit, tenant, ids);
    damaged.push(...found.damaged);
    for (const { id, link } of found.kept) {
      if (link === undefined) unchained.push(id);
      else links.set(id, link);
    }
  }
  return { listed, links, unchained, damaged };
}

async function entriesOf(
  audit: Reading,
  tenant: TenantId,
  { link, listed }: { readonly link: Link; readonly listed: ReadonlySet<string> },
): Promise<ReadonlyMap<string, FoundEntry>> {
  const ids = link.entries.map(({ id }) => id);
  const { kept, damaged } = await readEntries(audit, tenant, ids);
  // What was put since the list was read is looked for once more.
  const found = kept.map(async (entry) => {
    const isListed = listed.has(rowSort(entry)) || (await isInList(audit, tenant, entry));
    return [entry.id, { entry, isListed }] as const;
  });
  return new Map<string, FoundEntry>([...(await Promise.all(found)), ...damaged.map((id) => [id, "damaged"] as const)]);
}

interface ReadEntries {
  readonly kept: readonly KeptEntry[];
  readonly damaged: readonly string[];
}

/** One that is damaged keeps nobody from the others: they are then read one by one. */
async function readEntries(audit: Reading, tenant: TenantId, ids: readonly string[]): Promise<ReadEntries> {
  const kept = await unlessUnreadable(audit.kept(tenant, ids));
  if (kept) return { kept, damaged: [] };
  if (ids.length === 1) return { kept: [], damaged: ids };
  const each = await Promise.all(ids.map((id) => readEntries(audit, tenant, [id])));
  return { kept: each.flatMap((one) => one.kept), damaged: each.flatMap((one) => one.damaged) };
}

/** Every link of a chain in its order, and the number of each that nobody can read. */
async function* linksOf(audit: Reading, tenant: TenantId): AsyncIterable<Link | number> {
  for (let from = 1; ;) {
    const page = await unlessUnreadable(audit.links(tenant, from));
    if (page?.length === 0) return;
    const read = page ?? (await unlessUnreadable(audit.links(tenant, from, from))) ?? [from];
    yield* read;
    const last = read.at(-1) ?? from;
    from = (typeof last === "number" ? last : last.n) + 1;
  }
}

async function isInList(audit: Reading, tenant: TenantId, entry: KeptEntry): Promise<boolean> {
  const sort = rowSort(entry);
  return (await audit.list(tenant, { from: sort, to: sort })).items.length > 0;
}

const notThere = (noted: NotedHead, { n }: Verified): string =>
  noted.n > n
    ? `the chain was cut off: it ends at link ${n}, and link ${noted.n} was noted as its head`
    : "the link of this number is not the one that was noted as the head: the chain was written anew";
