/** `npm run ingest`: documents of a tenant that has a key, in a collection of its own. */
import { execFile, spawn } from "node:child_process";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, expect, it } from "vitest";
import { tenantId } from "../../src/core/ids.ts";
import { createSqliteRetriever } from "../../src/local/sqlite-search.ts";
import { startFakeBedrock } from "../support/fake-bedrock.ts";
import { NO_SETTINGS, testFolder, until } from "../support/process.ts";
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

it("says what it wants when it is asked", async () => {
  expect(await ingest("--help")).toMatchObject({
    code: 0,
    stdout: expect.stringContaining("usage: ingest") as unknown,
  });
});

it("ends with 1 where the documents cannot be kept, and does not wait for another time", async () => {
  await mkdir(join(dataDir, "search"), { recursive: true });
  await writeFile(join(dataDir, "search", "t-acme.sqlite"), "garbage");
  const { code, stderr } = await ingest("--tenant", "acme", documents);
  expect([code, stderr]).toEqual([1, expect.stringContaining("not a database")]);
});

it("ends at once when it is told to, also while its embedder is silent, and can be started again", async () => {
  await using bedrock = await startFakeBedrock();
  bedrock.fault(() => ({ kind: "hang" }));
  const settings = {
    HOLDPOINT_EMBEDDER: "bedrock:amazon.titan-embed-text-v2:0",
    BEDROCK_ENDPOINT: bedrock.endpoint,
    AWS_REGION: bedrock.region,
    AWS_ACCESS_KEY_ID: "a",
    AWS_SECRET_ACCESS_KEY: "s",
  };
  const env = { ...process.env, ...NO_SETTINGS, HOLDPOINT_DATA_DIR: dataDir, ...settings };
  const args = ["--conditions=holdpoint-source", SCRIPT, "--tenant", "acme", documents];
  const child = spawn(process.execPath, args, { env, stdio: ["ignore", "ignore", "pipe"] });
  let said = "";
  child.stderr.on("data", (chunk) => (said += String(chunk)));
  const ended = new Promise((resolve) => child.once("close", resolve));
  await until("a request to the embedder", () => bedrock.seen.length > 0);
  child.kill("SIGTERM");
  expect([await ended, said]).toEqual([1, expect.stringContaining("start it again to go on")]);
  expect((await ingest("--tenant", "acme", documents)).code).toBe(0);
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
