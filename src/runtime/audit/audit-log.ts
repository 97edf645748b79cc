/** Reading the audit log: pages of bounded work, newest first. */
import { isHoldpointError } from "../../core/errors.ts";
import type { AuditContent, AuditKind, KeptEntry } from "../../core/audit.ts";
import type { TenantId } from "../../core/ids.ts";
import type { Principal } from "../../core/principal.ts";
import { newestFirst } from "../../storage/newest-first.ts";
import type { TimeWindow } from "../../storage/newest-first.ts";
import type { AuditRow } from "../../storage/audit.ts";
import type { Deps } from "../deps.ts";

export interface AuditFilter {
  readonly kind?: AuditKind;
  readonly actor?: string;
  readonly action?: string;
  readonly threadId?: string;
  readonly runId?: string;
  readonly review?: string;
}

/** `content`: undefined once it was erased, by dropping the keys of its tenant. */
export interface ShownEntry extends Omit<KeptEntry, "bytes"> {
  readonly content: AuditContent | undefined;
}

export interface AuditUseCases {
  /** `next`: where the next page goes on (`before`); there may be one although this one is not full. */
  list(
    principal: Principal,
    page: AuditFilter & TimeWindow & { readonly limit: number },
  ): Promise<{ readonly items: readonly ShownEntry[]; readonly next?: string }>;
}

/** Entries that are read for one page at most: where few of them pass, the page ends and its cursor goes on. */
const READ_PER_PAGE = 1000;
const READ_AT_ONCE = 100;

export function createAuditUseCases({ audit }: Pick<Deps, "audit">): AuditUseCases {
  const entriesOf = async (tenant: TenantId, rows: readonly AuditRow[]): Promise<ReadonlyMap<string, ShownEntry>> => {
    const kept = await audit.kept(
      tenant,
      rows.map(({ id }) => id),
    );
    return new Map(
      await Promise.all(kept.map(async (entry) => [entry.id, await shown(audit, tenant, entry)] as const)),
    );
  };
  return {
    async list({ tenant }, { limit, ...asked }) {
      const items: ShownEntry[] = [];
      let read = 0;
      for await (const rows of newestFirst((range) => audit.list(tenant, range), asked, READ_AT_ONCE)) {
        const meant = rows.filter(({ kind }) => (asked.kind ?? kind) === kind);
        const entries = await entriesOf(tenant, meant);
        for (const { id, sort } of meant) {
          const entry = entries.get(id);
          if (entry && passes(asked, entry)) items.push(entry);
          if (items.length === limit) return { items, next: sort };
        }
        read += rows.length;
        const last = rows.at(-1);
        if (last && read >= READ_PER_PAGE) return { items, next: last.sort };
      }
      return { items };
    },
  };
}

async function shown(audit: Deps["audit"], tenant: TenantId, { bytes, ...entry }: KeptEntry): Promise<ShownEntry> {
  try {
    return { ...entry, content: await audit.content(tenant, { ...entry, bytes }) };
  } catch (error) {
    if (!isHoldpointError(error, "gone")) throw error;
    return { ...entry, content: undefined };
  }
}

function passes({ actor, action, threadId, runId, review }: AuditFilter, { content }: ShownEntry): boolean {
  const is = (wanted: string | undefined, found: string | undefined): boolean =>
    wanted === undefined || wanted === found;
  const { subject } = content ?? {};
  return (
    is(actor, content?.actor) &&
    is(action, content?.action) &&
    is(threadId, subject?.threadId) &&
    is(runId, subject?.runId) &&
    is(review, subject?.review)
  );
}
