/** Verifies a tenant's chain of audit entries from its first link on. Needs no data keys: what is hashed is what is stored. */
import { GENESIS, problemsOf } from "../../core/audit.ts";
import type { ChainProblem, Verified } from "../../core/audit.ts";
import type { TenantId } from "../../core/ids.ts";
import type { Audit } from "../../storage/audit.ts";

/** A head that was noted elsewhere: only against one can be told that the end was cut off. */
export interface NotedHead {
  readonly n: number;
  readonly hash: string;
}

export interface Verification {
  readonly problems: readonly ChainProblem[];
  readonly links: number;
  readonly entries: number;
  /** To be noted where nobody who can change the table can change it. */
  readonly head: NotedHead;
}

/** Reads every link and every entry, a page at a time; what is remembered is the ids. */
export async function verifyChain(
  audit: Pick<Audit, "links" | "kept">,
  tenant: TenantId,
  noted?: NotedHead,
): Promise<Verification> {
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
  return { problems, links, entries: at.seen.size, head: { n: at.n, hash: at.hash } };
}

const notThere = (noted: NotedHead, { n }: Verified): string =>
  noted.n > n
    ? `the chain was cut off: it ends at link ${n}, and link ${noted.n} was noted as its head`
    : "the link of this number is not the one that was noted as the head: the chain was written anew";
