/**
 * What of a record is content: sealed as one, in the attribute `z` of an item that says format 2. The rest of the item
 * stays as it is without keys: what rules, indices and lists need.
 */
import { HoldpointError } from "../../core/errors.ts";
import { threadId } from "../../core/ids.ts";
import type { TenantId } from "../../core/ids.ts";
import { isKeysDropped } from "../../core/unreadable.ts";
import { newerFormat } from "../../core/newer-format.ts";
import type { Attributes, Item, Key } from "../table.ts";
import { parseEnvelope, placeText } from "./envelope.ts";
import type { Place } from "./envelope.ts";
import { packed, putBack, takenOut, unpacked } from "./parts.ts";
import type { Sealer, Sealers } from "./sealer.ts";

/** What an item says in `v` whose content is sealed. */
export const SEALED_FORMAT = 2;
/** Where the sealed bytes stand. */
export const SEALED = "z";

/** What of a noun its tenant's graphs and people wrote. */
export interface Content<T> {
  /** Fields of a value, such as `end.interrupts`. */
  readonly paths: readonly string[];
  tenantOf(value: T): TenantId;
  /**
   * What can still be read once the tenant's keys were dropped. Where it is not given, nothing can. Written again, the
   * record keeps what nobody can read; who asks for that must ask `whyUnreadable` first.
   */
  unreadable?(rest: T, why: HoldpointError): T;
}

export interface SealedContent<T> {
  /** What of the value is to be encoded, and the attributes that the item has besides. @throws HoldpointError as `Sealer.ready` */
  sealed(value: T, key: Key): Promise<{ readonly rest: T; readonly attributes: Attributes }>;
  /** The value as it was sealed. @throws HoldpointError as `Sealer.open` */
  opened(rest: T, item: Item): Promise<T>;
}

export function createSealedContent<T extends object>(content: Content<T>, sealers: Sealers): SealedContent<T> {
  const placeOf = (value: T, key: Key): Place => itemPlace(content.tenantOf(value), key);
  const fieldsOf = async (bytes: Uint8Array, rest: T, item: Item): Promise<T> => {
    const parts = unpacked(bytes);
    const unknown = [...parts.keys()].find((path) => !content.paths.includes(path));
    if (unknown !== undefined) throw newerFormat(`the content ${unknown} of item ${item.sk}`);
    return putBack(rest, parts);
  };
  return {
    async sealed(value, key) {
      const sealer = sealers(content.tenantOf(value));
      const [rest, parts] = takenOut(value, content.paths);
      const bytes = lostOf(value)?.bytes ?? (await sealedFor(sealer, packed(parts), placeOf(value, key)));
      return { rest, attributes: sealedAttributes(bytes) };
    },
    async opened(rest, item) {
      const sealer = sealers(content.tenantOf(rest));
      const place = placeOf(rest, item);
      const bytes = sealedBytesOf(item);
      if (!bytes) {
        await refusePlain(sealer, place);
        return rest;
      }
      try {
        return await fieldsOf(await openSealed(sealer, bytes, place), rest, item);
      } catch (error) {
        if (!content.unreadable || !isKeysDropped(error)) throw error;
        return { ...content.unreadable(rest, error), [LOST]: { bytes, why: error } };
      }
    },
  };
}

/** An item as a place for bytes. Its partition names the tenant, and what the item is part of. */
export const itemPlace = (tenant: TenantId, { pk, sk }: Key): Place => ({
  tenant,
  threadId: threadId(""),
  ns: pk,
  checkpointId: "",
  part: `item ${sk}`,
});

export const sealedAttributes = (bytes: Uint8Array): Attributes => ({ v: SEALED_FORMAT, [SEALED]: bytes });

/** Undefined for an item that is not sealed. @throws HoldpointError `corrupt` for one that says it is and has nothing */
export function sealedBytesOf({ sk, attributes }: Item): Uint8Array | undefined {
  const bytes = attributes[SEALED];
  if (bytes instanceof Uint8Array) return bytes;
  if (attributes["v"] !== SEALED_FORMAT && bytes === undefined) return undefined;
  throw new HoldpointError("corrupt", `item ${sk} lacks its encrypted content`);
}

/** @throws HoldpointError as `Sealer.ready` */
export async function sealedFor(sealer: Sealer, bytes: Uint8Array, place: Place): Promise<Uint8Array> {
  await sealer.ready();
  return sealer.seal(bytes, place);
}

/**
 * What was sealed, where nothing else may stand.
 * @throws HoldpointError as `Sealer.open`; `corrupt` for bytes that nobody sealed, also while plaintext is still read
 */
export async function openSealed(sealer: Sealer, bytes: Uint8Array, place: Place): Promise<Uint8Array> {
  if (parseEnvelope(bytes, place).kind === "sealed") return sealer.open(bytes, place);
  throw new HoldpointError("corrupt", `${placeText(place)} is not what was sealed there`);
}

/** For content in the clear. @throws HoldpointError `corrupt` where that is refused */
export async function refusePlain(sealer: Sealer, place: Place): Promise<void> {
  if (sealer.encrypts) await sealer.open(new Uint8Array(), place);
}

/** Where a value carries what nobody can read any more. A symbol: a spread copies it, JSON does not. */
const LOST = Symbol("content whose keys were dropped");

interface Lost {
  readonly bytes: Uint8Array;
  readonly why: HoldpointError;
}

const lostOf = (value: { readonly [LOST]?: Lost }): Lost | undefined => value[LOST];

/** Why a value lacks its content; undefined when it has it. */
export const whyUnreadable = (value: object): HoldpointError | undefined => lostOf(value)?.why;
