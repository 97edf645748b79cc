import { tool } from "@langchain/core/tools";
import { services } from "holdpoint/graph";
import type { NodeConfig } from "holdpoint/graph";
import { z } from "zod";

const Query = z.object({
  query: z.string().describe("What to look for, in words or as a question."),
  k: z.number().int().min(1).max(50).default(8).describe("How many passages at most."),
  collection: z.string().default("documents").describe("Which collection of documents to search."),
  filter: z
    .record(z.string(), z.union([z.string(), z.array(z.string())]))
    .default({})
    .describe("Labels that a document must have, such as its source or folder."),
});

/** Searches the tenant's documents; the passages come best first. */
export const retrieve = tool(
  async ({ query, k, collection, filter }, config: NodeConfig) =>
    services(config)
      .retriever(collection)
      .search(query, { k, filter, ...(config.signal === undefined ? {} : { signal: config.signal }) }),
  {
    name: "retrieve",
    description: "Searches the documents for passages about something. Each passage names its document and place.",
    schema: Query,
  },
);
