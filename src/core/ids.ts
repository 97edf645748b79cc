import { createHash, randomBytes } from "node:crypto";
import { v5, v7 } from "uuid";

export type TenantId = string & { readonly __tenant: never };
export type ThreadId = string & { readonly __thread: never };
export type RunId = string & { readonly __run: never };
export type HoldId = string & { readonly __hold: never };
export type DecisionId = string & { readonly __decision: never };

export const tenantId = (text: string): TenantId => text as TenantId;
export const threadId = (text: string): ThreadId => text as ThreadId;
export const runId = (text: string): RunId => text as RunId;
export const holdId = (text: string): HoldId => text as HoldId;
export const decisionId = (text: string): DecisionId => text as DecisionId;

/** Where new identifiers come from, passed in so that a simulation can draw them from its seed (I10). */
export interface IdSource {
  /** A UUID, version 7: ordered by the time at which it was made. */
  uuid(): string;
  /** `bytes` random bytes as lower-case hex. Unguessable in production. */
  token(bytes: number): string;
}

const POOL_BYTES = 4096;

/** The machine's randomness, drawn in larger pieces: every write needs some, and each draw is a system call. */
function createSystemIds(): IdSource {
  let pool = randomBytes(POOL_BYTES);
  let used = 0;
  const draw = (bytes: number): Uint8Array => {
    if (used + bytes > POOL_BYTES) {
      pool = randomBytes(Math.max(POOL_BYTES, bytes));
      used = 0;
    }
    used += bytes;
    return pool.subarray(used - bytes, used);
  };
  return {
    uuid: () => v7(),
    token: (bytes) => Buffer.from(draw(bytes)).toString("hex"),
  };
}

export const systemIds: IdSource = createSystemIds();

/** UUID version 5 (RFC 9562): the same name in the same namespace is always the same id. */
export function namedUuid(name: string, namespace: string): string {
  return v5(name, namespace);
}

/** Namespace of the default assistant of a graph, fixed by the LangGraph API. */
const GRAPH_NAMESPACE = "6ba7b821-9dad-11d1-80b4-00c04fd430c8";

/** The id of the assistant that every registered graph has. */
export function defaultAssistantId(graphId: string): string {
  return namedUuid(graphId, GRAPH_NAMESPACE);
}

/** SHA-256 as lower-case hex. */
export function sha256(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/i;

export function isUuid(text: string): boolean {
  return UUID.test(text);
}
