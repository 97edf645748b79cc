/** What can be asked of a store, told apart, checked, and with its defaults. */
import { InvalidNamespaceError, validateNamespace } from "@langchain/langgraph-checkpoint";
import type {
  GetOperation,
  ListNamespacesOperation,
  MatchCondition,
  Operation,
  PutOperation,
  SearchOperation,
} from "@langchain/langgraph-checkpoint";
import { HoldpointError, errorInfo } from "../../core/errors.ts";
import type { TtlConfig } from "./options.ts";

/** What this version of LangGraph's types leaves out of its operations, and its servers have. */
interface ReadTtl {
  /** Whether reading an item gives it its whole time to live again; the store's configuration unless given. */
  readonly refreshTtl?: boolean | undefined;
}
interface WriteTtl {
  /** Minutes to live; null for ever. The store's default unless given. */
  readonly ttl?: number | null;
}
export type StoreOperation =
  | (GetOperation & ReadTtl)
  | (SearchOperation & ReadTtl)
  | (PutOperation & WriteTtl)
  | ListNamespacesOperation;

export interface Get {
  readonly do: "get";
  readonly namespace: readonly string[];
  readonly key: string;
  readonly refresh: boolean;
}
export interface Search {
  readonly do: "search";
  readonly prefix: readonly string[];
  readonly filter: Readonly<Record<string, unknown>>;
  readonly query?: string;
  readonly limit: number;
  readonly offset: number;
  readonly refresh: boolean;
}
export interface Put {
  readonly do: "put";
  readonly namespace: readonly string[];
  readonly key: string;
  /** Undefined deletes. */
  readonly value: object | undefined;
  /** The paths to embed; the store's own unless given. */
  readonly index?: readonly string[] | false;
  readonly ttlMs?: number;
}
export interface List {
  readonly do: "list";
  readonly conditions: readonly MatchCondition[];
  readonly maxDepth: number;
  readonly limit: number;
  readonly offset: number;
}
export type Asked = Get | Search | Put | List;

const MINUTE_MS = 60_000;
/** Almost two hundred years: whoever wants more wants no end. */
const MAX_MINUTES = 1e8;
const DEFAULT_LIMIT = { search: 10, list: 100 };

/**
 * @throws InvalidNamespaceError for a namespace that LangGraph's own stores refuse, HoldpointError `invalid` for anything
 *   else that cannot be done
 */
export function askedFor(operation: Operation | StoreOperation, ttl: TtlConfig): Asked {
  if ("namespacePrefix" in operation) return searchOf(operation, ttl);
  if ("value" in operation) return putOf(operation, ttl);
  if ("key" in operation) {
    assertNamespace(operation.namespace);
    return { do: "get", namespace: operation.namespace, key: operation.key, refresh: refreshes(operation, ttl) };
  }
  // Not all who write JavaScript say all that the types ask for.
  const list: Partial<ListNamespacesOperation> = operation;
  const { matchConditions = [], maxDepth = Infinity, limit = DEFAULT_LIMIT.list, offset = 0 } = list;
  for (const { matchType } of matchConditions) {
    if (matchType !== "prefix" && matchType !== "suffix")
      throw new HoldpointError(
        "invalid",
        `a condition on namespaces is a prefix or a suffix, not ${String(matchType)}`,
      );
  }
  assertCount("limit", limit);
  assertCount("offset", offset);
  if (maxDepth !== Infinity) assertCount("maxDepth", maxDepth);
  return { do: "list", conditions: matchConditions, maxDepth, limit, offset };
}

function searchOf(operation: SearchOperation & ReadTtl, ttl: TtlConfig): Search {
  const { namespacePrefix: prefix, filter = {}, query, limit = DEFAULT_LIMIT.search, offset = 0 } = operation;
  if (prefix.length > 0) assertNamespace(prefix);
  assertCount("limit", limit);
  assertCount("offset", offset);
  const refresh = refreshes(operation, ttl);
  return { do: "search", prefix, filter, limit, offset, refresh, ...(query ? { query } : {}) };
}

function putOf({ namespace, key, value, index, ttl }: PutOperation & WriteTtl, config: TtlConfig): Put {
  assertNamespace(namespace);
  if (typeof key !== "string") throw new HoldpointError("invalid", "the key of an item is a text");
  if (value === null) return { do: "put", namespace, key, value: undefined };
  if (typeof value !== "object" || Array.isArray(value))
    throw new HoldpointError("invalid", `the value of ${key} is no object`);
  const minutes = ttl === undefined ? config.defaultTtl : (ttl ?? undefined);
  if (minutes !== undefined && !(minutes > 0 && minutes <= MAX_MINUTES))
    throw new HoldpointError("invalid", `a time to live of ${minutes} minutes`);
  return {
    do: "put",
    namespace,
    key,
    value,
    ...(index === undefined || index === null ? {} : { index }),
    ...(minutes === undefined ? {} : { ttlMs: Math.ceil(minutes * MINUTE_MS) }),
  };
}

const refreshes = (operation: ReadTtl | GetOperation | SearchOperation, { refreshOnRead = true }: TtlConfig): boolean =>
  ("refreshTtl" in operation ? operation.refreshTtl : undefined) ?? refreshOnRead;

/** As InMemoryStore has it: also what only `batch` lets through. */
const assertNamespace = (namespace: readonly string[]): void =>
  validateNamespace([...namespace], { allowReservedRoot: true });

function assertCount(name: string, count: number): void {
  if (!Number.isInteger(count) || count < 0)
    throw new HoldpointError("invalid", `${name} is a whole number, not ${count}`);
}

/** LangGraph's error for a namespace as one of ours; any other error stays what it is. */
export const asRefusal = (error: unknown): unknown =>
  error instanceof InvalidNamespaceError
    ? new HoldpointError("invalid", errorInfo(error).message, { cause: error })
    : error;
