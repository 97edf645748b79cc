/**
 * Verifies a tenant's chain of audit entries from its first link on, and that every entry is in the link that it names.
 * Needs no data keys: what is hashed is what is stored.
 */
import { GENESIS, problemsOf } from "../../core/audit.ts";
import type { ChainProblem, Verified } from "../../core/audit.ts";
import type { TenantId } from "../../core/ids.ts";
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

/** Reads every link and every entry, a page at a time; what is remembered is the ids. */
export async function verifyChain(
  audit: Pick<Audit, "links" | "kept" | "list">,
  tenant: TenantId,
  noted?: NotedHead,
): Promise<Verification> {
  // Before the links are: whatever says by now that a link has it stands in one that will be read.
  const named = await linksNamed(audit, tenant);
  const problems: ChainProblem[] = [];
  let at: Verified = { n: 0, hash: GENESIS, seen: new Map() };
  let links = 0;
  let isNotedThere = noted === undefined || (noted.n === 0 && noted.hash === GENESIS);
  for (;;) {
    const page = await audit.links(tenant, at.n + 1);
    if (page.length === 0) break;
    for (const link of page) {
      const ids = link.entries.map(({ id }) => id);
      const kept = new Map((await audit.kept(tenant, ids)).map((entry) => [entry.id, entry]));
      problems.push(...problemsOf(tenant, at, { link, kept }));
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
  const unchained = named.unchained.filter((id) => !at.seen.has(id)).length;
  return { problems, links, entries: at.seen.size, unchained, head: { n: at.n, hash: at.hash } };
}

const ROWS_AT_ONCE = 100;

/** The link that each entry of a tenant says it is in, and those that say none. */
async function linksNamed(
  audit: Pick<Audit, "list" | "kept">,
  tenant: TenantId,
): Promise<{ readonly links: ReadonlyMap<string, number>; readonly unchained: readonly string[] }> {
  const links = new Map<string, number>();
  const unchained: string[] = [];
  for await (const rows of newestFirst((range) => audit.list(tenant, range), {}, ROWS_AT_ONCE)) {
    const ids = rows.map(({ id }) => id);
    for (const { id, link } of await audit.kept(tenant, ids)) {
      if (link === undefined) unchained.push(id);
      else links.set(id, link);
    }
  }
  return { links, unchained };
}

const notThere = (noted: NotedHead, { n }: Verified): string =>
  noted.n > n
    ? `the chain was cut off: it ends at link ${n}, and link ${noted.n} was noted as its head`
    : "the link of this number is not the one that was noted as the head: the chain was written anew";
