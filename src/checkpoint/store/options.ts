import type { EmbeddingsInterface } from "@langchain/core/embeddings";
import type { IdSource, TenantId } from "../../core/ids.ts";
import type { Blobs } from "../../storage/blobs.ts";
import type { Sealers } from "../../storage/encryption/sealer.ts";
import type { Table } from "../../storage/table.ts";

/** Semantic search: what makes vectors of texts, and of which texts. */
export interface StoreIndex {
  readonly embeddings: EmbeddingsInterface;
  /** Numbers in a vector; whatever the model returns unless given. */
  readonly dims?: number;
  /** Paths into a value, of items that name none themselves; `["$"]`, the whole value as JSON, unless given. */
  readonly fields?: readonly string[];
}

/** How long items live. */
export interface TtlConfig {
  /** Minutes, of items that name none themselves; for ever unless given. */
  readonly defaultTtl?: number;
  /** Whether reading an item gives it its whole time again; true unless given. */
  readonly refreshOnRead?: boolean;
}

export interface StoresOptions {
  readonly table: Table;
  /** Takes values and vectors that are too large for an item; encrypted already, where anything is. */
  readonly blobs: Blobs;
  /** What encrypts values and vectors in their items; nothing unless given. */
  readonly sealers?: Sealers;
  /** The machine's own unless given. */
  readonly ids?: IdSource;
  /** Without it `query` is ignored, as LangGraph's own stores do. */
  readonly index?: StoreIndex;
  readonly ttl?: TtlConfig;
}

export interface StoreOptions extends StoresOptions {
  /** Whose store it is: the first component of every key, whatever a namespace says (I8). */
  readonly tenant: TenantId;
}
