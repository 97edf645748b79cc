import type { IdSource } from "../../core/ids.ts";

/** An estimated time to come back, half to one and a half of it, so that those who are sent away together do not come back so. */
export function jittered(estimateMs: number, ids: IdSource): number {
  return estimateMs * (0.5 + Number.parseInt(ids.token(2), 16) / 0xffff);
}
