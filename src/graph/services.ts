import type { TenantId } from "../core/ids.ts";
import type { JsonObject } from "../core/json.ts";
import type { ChatModel } from "../models/chat-model.ts";
import type { Model } from "../models/model.ts";
import type { Passage, SearchOptions } from "../retrieval/retriever.ts";
import { contextOf } from "./context.ts";
import { createHttp } from "./http.ts";
import type { Http } from "./http.ts";
import type { NodeConfig } from "./context.ts";

/** One of the tenant's collections of documents. Whose it is, is not the graph's to say (I8). */
export interface Documents {
  /** Passages, best first; none from a collection that does not exist. */
  search(query: string, options: Omit<SearchOptions, "tenant" | "collection">): Promise<readonly Passage[]>;
}

/** What the runtime offers to the graphs of one tenant. */
export interface Services {
  readonly tenant: TenantId;
  /** A model by its name in the catalogue; the default one without a name. @throws HoldpointError `not_found` */
  models(name?: string): Model;
  /**
   * A chat model by its name in the catalogue, as LangChain has them: it takes tools, and streams its tokens. Where the
   * catalogue has no such name, or there is none, it is `offline`.
   * @throws HoldpointError `not_found` when there is neither
   */
  chat(name: string, offline?: ChatModel): ChatModel;
  retriever(collection: string): Documents;
  readonly settings: JsonObject;
}

/** The services of the tenant for whom this run executes, and requests to the world outside. */
export function services(config: NodeConfig): Services & { readonly http: Http } {
  const { services: ofTenant, signal } = contextOf(config, "services()");
  const own = config.signal;
  return { ...ofTenant, http: createHttp(own === undefined ? signal : AbortSignal.any([signal, own])) };
}
