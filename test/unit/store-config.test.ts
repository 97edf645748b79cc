/** The store of other people's langgraph.json, loaded by a Node process of its own, as their graphs are. */
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { readGraphConfig } from "../../src/langgraph/graph-config.ts";
import { testFolder } from "../support/process.ts";

const PROJECT = join(import.meta.dirname, "../..");
const source = (path: string): string => pathToFileURL(join(PROJECT, path)).href;

const EMBED = `
  export const vectors = (texts: string[]): number[][] => texts.map((text) => [text.length, 1]);
  export const langchain = { embedDocuments: async (texts: string[]) => vectors(texts), embedQuery: async () => [1, 2] };
  export const nothing = 1;
`;

/** What the settings of a configuration come to, said by another process. */
async function settings(store: object): Promise<unknown> {
  await using folder = await testFolder();
  await writeFile(join(folder.path, "embed.ts"), EMBED);
  await writeFile(join(folder.path, "langgraph.json"), JSON.stringify({ graphs: { g: "./g.ts:g" }, store }));
  const script = `
    import { readGraphConfig } from "${source("src/langgraph/graph-config.ts")}";
    import { loadStoreSettings } from "${source("src/langgraph/store-config.ts")}";
    const say = (value) => process.stdout.write(JSON.stringify(value));
    try {
      const { store } = await readGraphConfig("langgraph.json");
      const { ttl, index } = await loadStoreSettings(store, process.cwd());
      const { embeddings, ...rest } = index ?? {};
      say({ ttl, ...rest, texts: await embeddings?.embedDocuments(["abc"]), query: await embeddings?.embedQuery("ab") });
    } catch (error) {
      say({ code: error.code, message: error.message });
    }
  `;
  const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "--eval", script], {
    cwd: folder.path,
  });
  return JSON.parse(stdout);
}

describe("the store of langgraph.json", () => {
  it("embeds with a function, or with LangChain's embeddings, and keeps items as long as it says", async () => {
    expect(await settings({ index: { embed: "./embed.ts:vectors", dims: 2, fields: ["text"] } })).toEqual({
      ttl: {},
      dims: 2,
      fields: ["text"],
      texts: [[3, 1]],
      query: [2, 1],
    });
    const ttl = { default_ttl: 90, refresh_on_read: false, sweep_interval_minutes: 5 };
    expect(await settings({ index: { embed: "./embed.ts:langchain" }, ttl })).toEqual({
      ttl: { defaultTtl: 90, refreshOnRead: false },
      texts: [[3, 1]],
      query: [1, 2],
    });
    expect(await settings({})).toEqual({ ttl: {} });
  });

  it.each([
    [{ index: { embed: "openai:text-embedding-3-small" } }, "names no"],
    [{ index: { embed: "./gone.ts:vectors" } }, "gone.ts"],
    [{ index: { embed: "./embed.ts:nothing" } }, "nothing is neither LangChain embeddings nor a function"],
    [{ index: { embed: "./embed.ts:missing" } }, "missing is neither"],
    [{ ttl: { default_ttl: 0 } }, "store.ttl.default_ttl"],
    [{ path: "./store.ts:store" }, "store"],
  ])("is refused when it cannot be had: %j", async (store, reason) => {
    const message = expect.stringContaining(reason) as string;
    expect(await settings(store)).toMatchObject({ code: "invalid", message });
  });

  it("is there when nothing is said of it", async () => {
    const { store } = await readGraphConfig(join(PROJECT, "langgraph.json"));
    expect(store).toEqual({});
  });
});
