import type { SaverOptions } from "../checkpoint/options.ts";
import type { TenantId } from "../core/ids.ts";
import type { Deps } from "./deps.ts";

/** What every saver of a tenant is made of, whatever thread and lease it is for. */
export const saverParts = (
  { table, blobs, clock, sealers, segments }: Pick<Deps, "table" | "blobs" | "clock" | "sealers" | "segments">,
  tenant: TenantId,
): SaverOptions => ({ table, blobs, clock, tenant, sealer: sealers(tenant), cache: segments });
