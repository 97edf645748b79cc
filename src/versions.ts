import { readFile } from "node:fs/promises";

/** The versions of this package, and of LangGraph beside it. */
export async function versions(): Promise<{ readonly version: string; readonly langgraphVersion: string }> {
  const [version, langgraphVersion] = await Promise.all([
    versionIn(import.meta.resolve("../package.json")),
    versionIn(import.meta.resolve("@langchain/langgraph/package.json")),
  ]);
  return { version, langgraphVersion };
}

async function versionIn(file: string): Promise<string> {
  const { version } = JSON.parse(await readFile(new URL(file), "utf8")) as { readonly version: string };
  return version;
}
