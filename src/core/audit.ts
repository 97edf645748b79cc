/**
 * The audit log: what was decided and done, by whom. Entries stand by themselves and are chained afterwards, in links of
 * many: each link's hash covers the one before it and the digest of every entry. A digest covers an entry as it is
 * stored, sealed where anything is: whoever cannot read the entries any more can still verify the chain.
 */
import { namedUuid, sha256 } from "./ids.ts";
import type { TenantId } from "./ids.ts";
import { canonicalJson } from "./json.ts";
import type { JsonObject } from "./json.ts";
import type { PatchOperation } from "./json-patch.ts";
import type { Origin } from "./principal.ts";

export const AUDIT_KINDS = [
  "decision", // a review or interrupt was answered, or cancelled on the record
  "settlement", // an ambiguous effect was said to have happened, or not
  "effect", // a side effect took place
  "retry",
  "resume", // a parked run goes on
  "cancel",
  "park",
  "webhook", // an address that is told of what happens was made, changed, or removed
  "schedule", // a cron was
  "policy",
] as const;
export type AuditKind = (typeof AUDIT_KINDS)[number];

/** What an entry is about, by the ids under which it is found. */
export interface AuditSubject {
  readonly threadId?: string;
  readonly runId?: string;
  readonly root?: string;
  /** `<thread id>.<hold id>`. */
  readonly review?: string;
  /** Token of an entry of the journal. */
  readonly effect?: string;
  readonly policy?: string;
  readonly webhook?: string;
  readonly schedule?: string;
}

/** What is recorded. */
export interface AuditEntry {
  readonly tenant: TenantId;
  readonly kind: AuditKind;
  /** What makes a repetition the same entry, within tenant and kind: an id that was there before, never a fresh one. */
  readonly key: readonly string[];
  /** Table time of what is recorded. */
  readonly at: number;
  readonly actor: string;
  readonly origin?: Origin;
  /** In one word: `approve`, `retry`, `happened`. */
  readonly action: string;
  readonly subject: AuditSubject;
  /** From what was before to what is after. */
  readonly patch?: readonly PatchOperation[];
  readonly reason?: string;
  readonly detail?: JsonObject;
}

/** The part of an entry that is sealed. */
export type AuditContent = Omit<AuditEntry, "tenant" | "kind" | "key" | "at">;

const NAMESPACE = "5b1c4f0e-3d6a-5e0b-9c6c-7a4b7c1f9d02";

/** The same for every repetition, so that whoever records again after a crash records nothing new. */
export function auditId({ tenant, kind, key }: Pick<AuditEntry, "tenant" | "kind" | "key">): string {
  return namedUuid(canonicalJson([tenant, kind, ...key]), NAMESPACE);
}

/** Longest content, in bytes of its JSON: an entry that could not be written would keep its follow-up for ever. */
const MAX_CONTENT_BYTES = 256 * 1024;

/** The content as JSON; of what is too long, size and SHA-256 of the parts that are left out. */
export function contentText(entry: AuditEntry): string {
  const { tenant: _tenant, kind: _kind, key: _key, at: _at, ...content } = entry;
  const whole = JSON.stringify(content);
  if (Buffer.byteLength(whole) <= MAX_CONTENT_BYTES) return whole;
  const { patch, reason, detail, ...rest } = content;
  const left = JSON.stringify([patch ?? null, reason ?? null, detail ?? null]);
  const omitted = { bytes: Buffer.byteLength(left), sha256: sha256(left) };
  return JSON.stringify({ ...rest, detail: { omitted } });
}

/** An entry as it is stored. */
export interface KeptEntry {
  readonly id: string;
  readonly kind: AuditKind;
  readonly at: number;
  /** Its content, sealed where anything is. */
  readonly bytes: Uint8Array;
  /** Number of the link that has it; undefined until then. */
  readonly link?: number;
}

export function entryDigest({ id, kind, at, bytes }: Omit<KeptEntry, "link">): string {
  return sha256(canonicalJson([id, kind, at, sha256(bytes)]));
}

/** One link of a tenant's chain. The first has the number 1. */
export interface Link {
  readonly n: number;
  /** Hash of the link before. */
  readonly previous: string;
  readonly at: number;
  readonly entries: readonly LinkedEntry[];
  readonly hash: string;
}

export interface LinkedEntry {
  readonly id: string;
  readonly digest: string;
}

/** What stands before the first link. */
export const GENESIS = "0".repeat(64);

export function linkHash(tenant: TenantId, { n, previous, at, entries }: Omit<Link, "hash">): string {
  return sha256(canonicalJson([tenant, n, previous, at, entries.map(({ id, digest }) => [id, digest])]));
}

/** The link that comes after `head` and holds these entries, in their order. */
export function linkAfter(
  head: Pick<Link, "n" | "hash"> | undefined,
  { tenant, entries, at }: { readonly tenant: TenantId; readonly entries: readonly KeptEntry[]; readonly at: number },
): Link {
  const link = {
    n: (head?.n ?? 0) + 1,
    previous: head?.hash ?? GENESIS,
    at,
    entries: entries.map((entry) => ({ id: entry.id, digest: entryDigest(entry) })),
  };
  return { ...link, hash: linkHash(tenant, link) };
}

/** What is wrong with a chain, and where. */
export interface ChainProblem {
  /** Undefined where no link has to do with it. */
  readonly link: number | undefined;
  readonly what: string;
}

/** Where a verification stands. */
export interface Verified {
  /** Number and hash of the link before. */
  readonly n: number;
  readonly hash: string;
  /** Entries that were met, and in which link. */
  readonly seen: Map<string, number>;
}

/** An entry of a link as it is stored now; damaged: there is one, and nobody can read it. */
export type FoundEntry =
  | "damaged"
  | {
      readonly entry: KeptEntry;
      /** Whether the list that auditors read has it. */
      readonly isListed: boolean;
    };

/**
 * What is wrong with the next link of a chain. `found`: its entries, by id. The hashes go on from what the link itself
 * says, so that one change is reported once.
 */
export function problemsOf(
  tenant: TenantId,
  before: Verified,
  { link, found }: { readonly link: Link; readonly found: ReadonlyMap<string, FoundEntry> },
): readonly ChainProblem[] {
  const problems: string[] = [];
  if (link.n !== before.n + 1) problems.push(`links ${before.n + 1} to ${link.n - 1} are missing`);
  else if (link.previous !== before.hash) problems.push(`does not follow link ${before.n}: changed, or reordered`);
  if (linkHash(tenant, link) !== link.hash) problems.push("is not what was hashed: changed, or its entries reordered");
  for (const { id, digest } of link.entries) {
    const first = before.seen.get(id);
    const here = found.get(id);
    if (first !== undefined) problems.push(`entry ${id} stands in link ${first} already`);
    else if (!here) problems.push(`entry ${id} is missing`);
    else if (here === "damaged") problems.push(`entry ${id} is damaged: it cannot be read`);
    else if (entryDigest(here.entry) !== digest) problems.push(`entry ${id} was changed`);
    else if (!here.isListed) problems.push(`entry ${id} is hidden: the list that auditors read does not have it`);
    before.seen.set(id, first ?? link.n);
  }
  return problems.map((what) => ({ link: link.n, what }));
}
