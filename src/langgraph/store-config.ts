/** The `store` of `langgraph.json`: how long-term memory searches by meaning, and how long it keeps what it is given. */
import { resolve } from "node:path";
import { z } from "zod";
import type { StoreIndex, StoresOptions } from "../checkpoint/store/options.ts";
import { HoldpointError } from "../core/errors.ts";
import { graphErrorInfo } from "./errors.ts";
import { createModuleLoader } from "./module-loader.ts";

/** What `createStores` is to be given beside its adapters. */
export type StoreSettings = Pick<StoresOptions, "index" | "ttl">;

const minutes = z.number().positive();
export const storeSchema = z.strictObject({
  index: z
    .strictObject({
      dims: z.int().min(1).optional(),
      embed: z.string().regex(/^.+\.[cm]?[jt]s:[\w$]+$/, 'names no "./file.ts:export"'),
      fields: z.array(z.string()).min(1).optional(),
    })
    .optional(),
  ttl: z
    .strictObject({
      default_ttl: minutes.optional(),
      refresh_on_read: z.boolean().optional(),
      // Others sweep; here the table does.
      sweep_interval_minutes: minutes.optional(),
    })
    .optional(),
});
export type StoreEntry = z.infer<typeof storeSchema>;

/** @throws HoldpointError `invalid` when what the configuration names cannot be loaded, or makes no vectors */
export async function loadStoreSettings(entry: StoreEntry, folder: string): Promise<StoreSettings> {
  const { default_ttl: defaultTtl, refresh_on_read: refreshOnRead } = entry.ttl ?? {};
  const { dims, embed, fields } = entry.index ?? {};
  const ttl = {
    ...(defaultTtl === undefined ? {} : { defaultTtl }),
    ...(refreshOnRead === undefined ? {} : { refreshOnRead }),
  };
  if (embed === undefined) return { ttl };
  const embeddings = await loadEmbeddings(embed, folder);
  return {
    ttl,
    index: { embeddings, ...(dims === undefined ? {} : { dims }), ...(fields === undefined ? {} : { fields }) },
  };
}

async function loadEmbeddings(embed: string, folder: string): Promise<StoreIndex["embeddings"]> {
  const colon = embed.lastIndexOf(":");
  const file = resolve(folder, embed.slice(0, colon));
  const exportName = embed.slice(colon + 1);
  const exports = await createModuleLoader()
    .load(file)
    .catch((cause: unknown) => {
      throw new HoldpointError("invalid", `store.index.embed: ${file}: ${graphErrorInfo(cause).message}`, { cause });
    });
  const embeddings = embeddingsOf(await exports[exportName]);
  if (embeddings) return embeddings;
  throw new HoldpointError(
    "invalid",
    `store.index.embed: ${file}: ${exportName} is neither LangChain embeddings nor a function of texts`,
  );
}

/** LangChain's embeddings, or a function that makes vectors of texts. */
function embeddingsOf(exported: unknown): StoreIndex["embeddings"] | undefined {
  if (isEmbeddings(exported)) return exported;
  if (!isEmbed(exported)) return undefined;
  return {
    embedDocuments: async (texts) => exported(texts),
    async embedQuery(text) {
      const [vector] = await exported([text]);
      if (vector === undefined) throw new HoldpointError("invalid", "the function of store.index.embed made no vector");
      return vector;
    },
  };
}

const isEmbeddings = (value: unknown): value is StoreIndex["embeddings"] =>
  typeof value === "object" && value !== null && "embedDocuments" in value && "embedQuery" in value;

type Embed = (texts: string[]) => Promise<number[][]> | number[][];
const isEmbed = (value: unknown): value is Embed => typeof value === "function";
