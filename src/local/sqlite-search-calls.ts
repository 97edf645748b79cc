import type { ErrorCode } from "../core/errors.ts";
import type { IndexedDocument } from "../retrieval/ingest.ts";
import type { Found, IndexQuery } from "./sqlite-search-query.ts";

interface Addressed {
  readonly tenant: string;
  readonly collection: string;
}

/** What the search thread can be asked for. */
export type IndexCall =
  | (Addressed & { readonly verb: "digests"; readonly ids: readonly string[] })
  | (Addressed & {
      readonly verb: "replace";
      readonly documents: readonly IndexedDocument[];
      readonly embedder: string | undefined;
    })
  | (Addressed & { readonly verb: "remove"; readonly ids: readonly string[] })
  | (Addressed & { readonly verb: "documentIds" })
  | (Addressed & { readonly verb: "search"; readonly query: IndexQuery });

/** What each verb answers with. */
export interface IndexAnswers {
  readonly digests: ReadonlyMap<string, string>;
  readonly replace: undefined;
  readonly remove: number;
  readonly documentIds: readonly string[];
  readonly search: Found;
}

/** What the search thread is started with. */
export interface ThreadData {
  /** Holds one file per tenant. */
  readonly folder: string;
  /** Path of sqlite-vec; undefined: vectors are neither written nor searched. */
  readonly extension: string | undefined;
}

/** A call on its way to the thread; `call` is echoed in the answer. */
export interface CallMessage {
  readonly call: number;
  readonly request: IndexCall;
}

export type AnswerMessage =
  | { readonly call: number; readonly answer: IndexAnswers[keyof IndexAnswers] }
  | { readonly call: number; readonly code: ErrorCode; readonly error: string };
