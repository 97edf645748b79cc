/**
 * Chaining the audit log. Must stay true:
 * - An entry is in one link and no other: a link is appended on the strength of entries that were read as unchained after
 *   every entry of the link before it was marked, and the append fails if there is a newer link.
 * - An entry stays due until its mark stands (I11), so whoever dies in between leaves nothing behind that is not found.
 */
import { linkAfter } from "../../core/audit.ts";
import type { Link } from "../../core/audit.ts";
import type { TenantId } from "../../core/ids.ts";
import type { Deps } from "../deps.ts";
import type { DueRow } from "../worker/due-rows.ts";

/** Entries of one link: about 11 KB. */
const LINK_ENTRIES = 100;

/** Chains these entries of a tenant, unless they are chained already. */
export async function chainEntries(
  { audit, table }: Pick<Deps, "audit" | "table">,
  tenant: TenantId,
  found: readonly string[],
): Promise<void> {
  // An index shows a row twice that moves while it is read.
  const ids = [...new Set(found)];
  let complete: Link | undefined;
  for (;;) {
    const head = await audit.head(tenant);
    if (head && head.hash !== complete?.hash) await marked(head);
    const kept = await audit.kept(tenant, ids);
    const open = kept
      .filter(({ link }) => link === undefined)
      .toSorted((a, b) => a.at - b.at || (a.id < b.id ? -1 : 1));
    if (open.length === 0) return;
    const link = linkAfter(head, { tenant, entries: open.slice(0, LINK_ENTRIES), at: table.now() });
    if (!(await audit.append(tenant, link))) continue;
    await marked(link);
    complete = link;
  }

  async function marked(link: Link): Promise<void> {
    await audit.mark(
      tenant,
      link.entries.map(({ id }) => id),
      link.n,
    );
  }
}

/** Chains what is due, tenant by tenant. What cannot be done for one keeps nobody from the others. */
export async function chainDue(deps: Deps, rows: readonly DueRow[]): Promise<void> {
  const byTenant = Map.groupBy(
    rows.filter(({ audit }) => audit !== undefined),
    ({ ref }) => ref.tenant,
  );
  for (const [tenant, due] of byTenant) {
    await chainEntries(
      deps,
      tenant,
      due.flatMap(({ audit }) => audit ?? []),
    ).catch((error: unknown) => deps.log.warn({ err: error }, "audit entries could not be chained; they stay due"));
  }
}
