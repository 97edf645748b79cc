import type { TenantId, ThreadId } from "../../core/ids.ts";
import { SECRET_PREFIX } from "../../core/webhook.ts";
import type { Endpoint, HookDelivery } from "../../core/webhook.ts";
import type { Place } from "../../storage/encryption/envelope.ts";
import type { Deps } from "../deps.ts";

const KEY_BYTES = 32;

/** Belongs to no thread: sealed under the id of its endpoint. */
const placeOf = (tenant: TenantId, id: string, part: string): Place => ({
  tenant,
  threadId: id as ThreadId,
  ns: "",
  checkpointId: "",
  part,
});
const SECRET = "webhook secret";

/** A new secret: as it is shown, once, and as it is stored. */
export async function newSecret(
  deps: Pick<Deps, "ids" | "sealers">,
  tenant: TenantId,
  endpointId: string,
): Promise<{ readonly shown: string; readonly sealed: string }> {
  const key = Buffer.from(deps.ids.token(KEY_BYTES), "hex");
  const sealer = deps.sealers(tenant);
  await sealer.ready();
  const sealed = Buffer.from(sealer.seal(key, placeOf(tenant, endpointId, SECRET))).toString("base64");
  return { shown: `${SECRET_PREFIX}${key.toString("base64")}`, sealed };
}

/** The keys that sign now: the newest, and for a day the one before it. */
export async function keysOf(
  deps: Pick<Deps, "sealers">,
  { tenant, endpointId, secrets }: Endpoint,
  now: number,
): Promise<readonly Uint8Array[]> {
  const sealer = deps.sealers(tenant);
  const valid = secrets.filter(({ until }) => until === undefined || now < until);
  return Promise.all(
    valid.map(async ({ sealed }) => sealer.open(Buffer.from(sealed, "base64"), placeOf(tenant, endpointId, SECRET))),
  );
}

export async function sealBody(deps: Pick<Deps, "sealers">, tenant: TenantId, id: string, text: string) {
  const sealer = deps.sealers(tenant);
  await sealer.ready();
  return sealer.seal(Buffer.from(text), placeOf(tenant, id, "webhook body"));
}

export async function openBody(deps: Pick<Deps, "sealers">, delivery: HookDelivery): Promise<Uint8Array> {
  const { tenant, event, body } = delivery;
  return deps.sealers(tenant).open(body, placeOf(tenant, event.id, "webhook body"));
}
