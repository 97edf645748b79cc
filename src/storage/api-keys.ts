/**
 * API keys: `hp_<env>_<id>_<secret>`. Of the secret only a keyed hash is kept; the pepper stands in the header of the
 * same file, so the hash protects against a leaked list of keys that was copied without it, and the file itself must
 * be readable by its owner only.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { z } from "zod";
import { HoldpointError } from "../core/errors.ts";
import type { IdSource, TenantId } from "../core/ids.ts";
import { tenantId } from "../core/ids.ts";
import { ROLES, isReservedName } from "../core/principal.ts";
import type { Principal } from "../core/principal.ts";

/** Turns a presented key into who presented it. */
export interface ApiKeys {
  /** Undefined for a key that is unknown, wrong, expired or disabled. @throws HoldpointError `unavailable` */
  verify(presented: string): Promise<Principal | undefined>;
}

const SECRET_BYTES = 32;
const ID_BYTES = 8;
const PRESENTED = /^hp_[a-z0-9]{1,16}_([0-9a-f]{16})_([0-9a-f]{64})$/;
const NAME = z.string().regex(/^[\w.@:-]{1,128}$/, "1 to 128 letters, digits, or . @ : _ -");

const apiKey = z.object({
  id: z.string().regex(/^[0-9a-f]{16}$/),
  env: z.string().regex(/^[a-z0-9]{1,16}$/, "1 to 16 small letters or digits"),
  /** HMAC-SHA-256 of the whole key under the file's pepper, hex. */
  hash: z.string().regex(/^[0-9a-f]{64}$/),
  tenant: NAME,
  subject: NAME,
  roles: z.array(z.enum(ROLES)).min(1),
  groups: z.array(NAME),
  createdAt: z.iso.datetime(),
  expiresAt: z.iso.datetime().optional(),
  disabled: z.boolean().optional(),
});

const keyFile = z.object({
  version: z.literal(1),
  pepper: z.string().regex(/^[0-9a-f]{64}$/),
  keys: z.array(apiKey),
});
/** What a file of keys holds. */
export type KeyFile = z.infer<typeof keyFile>;

/** The tenant of that name. @throws HoldpointError `invalid` for a name that no key can have */
export function namedTenant(name: string): TenantId {
  const parsed = NAME.safeParse(name);
  if (parsed.success) return tenantId(parsed.data);
  throw new HoldpointError("invalid", `no tenant is called "${name}": ${parsed.error.issues[0]?.message}`);
}

/** @throws HoldpointError `invalid` for text that is not a file of keys */
export function parseKeyFile(text: string): KeyFile {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new HoldpointError("invalid", "the file of API keys is not JSON", { cause });
  }
  const parsed = keyFile.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new HoldpointError(
    "invalid",
    `the file of API keys is not valid at ${issue?.path.join(".")}: ${issue?.message}`,
  );
}

export function emptyKeyFile(ids: IdSource): KeyFile {
  return { version: 1, pepper: ids.token(SECRET_BYTES), keys: [] };
}

export interface NewKey {
  readonly env: string;
  readonly tenant: string;
  readonly subject: string;
  readonly roles: readonly string[];
  readonly groups: readonly string[];
  /** Milliseconds since the epoch. */
  readonly createdAt: number;
  readonly expiresAt?: number;
}

/** The file with one more key, and the key itself, which is stored nowhere. @throws HoldpointError `invalid` */
export function withNewKey(
  file: KeyFile,
  ids: IdSource,
  key: NewKey,
): { readonly file: KeyFile; readonly key: string } {
  const { createdAt, expiresAt, ...rest } = key;
  if (isReservedName(key.subject)) throw new HoldpointError("invalid", "subject: the name of what is no person");
  const id = ids.token(ID_BYTES);
  const presented = `hp_${key.env}_${id}_${ids.token(SECRET_BYTES)}`;
  const parsed = apiKey.safeParse({
    ...rest,
    id,
    hash: hashOf(file, presented),
    createdAt: new Date(createdAt).toISOString(),
    ...(expiresAt === undefined ? {} : { expiresAt: new Date(expiresAt).toISOString() }),
  });
  if (!parsed.success) {
    const issue = parsed.error.issues[0];
    throw new HoldpointError("invalid", `${issue?.path.join(".")}: ${issue?.message}`);
  }
  return { file: { ...file, keys: [...file.keys, parsed.data] }, key: presented };
}

/** The file with one key disabled; undefined if it has no key of that id. */
export function withoutKey(file: KeyFile, id: string): KeyFile | undefined {
  if (!file.keys.some((key) => key.id === id)) return undefined;
  return { ...file, keys: file.keys.map((key) => (key.id === id ? { ...key, disabled: true } : key)) };
}

/** Who presented the key, at the time `now`; takes as long for a wrong secret as for an unknown id. */
export function principalOf(file: KeyFile, presented: string, now: number): Principal | undefined {
  const id = PRESENTED.exec(presented)?.[1];
  if (id === undefined) return undefined;
  const key = file.keys.find((candidate) => candidate.id === id);
  const hash = Buffer.from(hashOf(file, presented), "hex");
  const matches = timingSafeEqual(hash, key ? Buffer.from(key.hash, "hex") : Buffer.alloc(hash.length));
  if (!key || !matches || key.disabled === true) return undefined;
  if (key.expiresAt !== undefined && Date.parse(key.expiresAt) <= now) return undefined;
  return { tenant: tenantId(key.tenant), subject: key.subject, roles: key.roles, groups: key.groups };
}

function hashOf(file: KeyFile, presented: string): string {
  return createHmac("sha256", Buffer.from(file.pepper, "hex")).update(presented).digest("hex");
}
