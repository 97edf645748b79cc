/** `npm run ingest`: documents of a tenant that has a key, in a collection of its own. */
import { execFile } from "node:child_process";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, it } from "vitest";
import { tenantId } from "../../src/core/ids.ts";
import { createSqliteRetriever } from "../../src/local/sqlite-search.ts";
import { NO_SETTINGS, testFolder } from "../support/process.ts";
import type { TestFolder } from "../support/process.ts";

const SCRIPT = join(import.meta.dirname, "../../scripts/ingest.ts");

let folder: TestFolder;
let documents: string;
let dataDir: string;
beforeEach(async () => {
  folder = await testFolder();
  [documents, dataDir] = [join(folder.path, "documents"), join(folder.path, "data")];
  await mkdir(documents);
  await writeFile(join(documents, "returns.md"), "# Returns\n\nA refund takes nine days.");
  await writeFile(join(documents, "gone.md"), "# Gone\n\nA refund takes ten days.");
});
afterEach(() => folder[Symbol.asyncDispose]());

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

async function ingest(...args: readonly string[]): Promise<Ended> {
  const env = { ...process.env, ...NO_SETTINGS, HOLDPOINT_DATA_DIR: dataDir };
  const node = promisify(execFile)(process.execPath, ["--conditions=holdpoint-source", SCRIPT, ...args], { env });
  return node.then((said) => ({ code: 0, ...said })).catch((error: unknown) => error as Ended);
}

async function found(tenant: string, collection: string): Promise<readonly string[]> {
  await using retriever = createSqliteRetriever({ dataDir });
  const passages = await retriever.search("refund", { tenant: tenantId(tenant), collection, k: 5 });
  return passages.map(({ documentId }) => documentId).toSorted();
}

it("makes the tenant's collection the same as the folder, says how far it is, and nobody else's", async () => {
  const first = await ingest("--tenant", "acme", "--collection", "policies", documents);
  expect(first).toMatchObject({ code: 0, stderr: "" });
  expect(first.stdout).toMatch(/"documents":2.*documents ingested/);
  expect(await found("acme", "policies")).toEqual(["gone.md", "returns.md"]);
  expect(await found("acme", "documents")).toEqual([]);
  expect(await found("globex", "policies")).toEqual([]);
  await rm(join(documents, "gone.md"));
  expect((await ingest("--tenant", "acme", "--collection", "policies", documents)).code).toBe(0);
  expect(await found("acme", "policies")).toEqual(["returns.md"]);
});

it.each<[string, readonly string[], string]>([
  ["without a tenant", ["documents"], "usage: ingest --tenant <name>"],
  ["without a folder", ["--tenant", "acme"], "usage: ingest --tenant <name>"],
  ["for a name that no tenant has", ["--tenant", "ac me", "documents"], 'no tenant is called "ac me": 1 to 128'],
  ["for a folder that is none", ["--tenant", "acme", "nowhere"], "nowhere is not a folder of documents"],
])("ends with 1 %s, and says why", async (_, args, why) => {
  const { code, stderr } = await ingest(...args);
  expect(code).toBe(1);
  expect(stderr).toContain(why);
});
