import { createServer } from "node:net";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Client } from "@langchain/langgraph-sdk";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemIds } from "../../src/core/ids.ts";
import { emptyKeyFile, withNewKey } from "../../src/storage/api-keys.ts";
import { PROJECT } from "../../scripts/demo/process.ts";
import { startDynalite } from "../support/dynalite.ts";
import { startTestService, testFolder, until } from "../support/process.ts";
import type { TestFolder, TestServiceOptions } from "../support/process.ts";

const GRAPHS = join(PROJECT, "test/e2e/graphs/langgraph.json");

let folder: TestFolder;
beforeEach(async () => {
  folder = await testFolder();
});
afterEach(() => folder[Symbol.asyncDispose]());

const start = (options: Partial<TestServiceOptions> = {}) =>
  startTestService({
    role: "all",
    dataDir: join(folder.path, "data"),
    ...options,
    env: { HOLDPOINT_CONFIG: GRAPHS, ...options.env },
  });

/** What a start that cannot succeed leaves: its exit code, and what it said on standard error. */
async function refused(options: Partial<TestServiceOptions>): Promise<string> {
  await using service = start(options);
  const { code, signal } = await service.exited;
  expect({ code, signal }).toEqual({ code: 1, signal: null });
  expect(service.stderr).toHaveLength(1);
  return service.stderr[0] ?? "";
}

async function file(name: string, text: string): Promise<string> {
  const path = join(folder.path, name);
  await writeFile(path, text);
  return path;
}

/** A port that somebody else listens on. */
async function takenPort(): Promise<{ readonly port: number } & AsyncDisposable> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("no port");
  return { port: address.port, [Symbol.asyncDispose]: () => new Promise((resolve) => server.close(() => resolve())) };
}

describe("starting the service", () => {
  it("says where it listens, what it stores where and which graphs it has, and ends with 0 on SIGTERM", async () => {
    await using service = start();
    const ready = await service.ready;
    expect(ready).toMatchObject({ role: "all", graphs: ["steps", "stray", "stuck"] });
    expect(ready["storage"]).toBe(`SQLite ${join(folder.path, "data", "holdpoint.db")}`);
    const answers = await Promise.all(["/ok", "/ready", "/info"].map((path) => fetch(`${ready.url}${path}`)));
    expect(answers.map((answer) => answer.status)).toEqual([200, 200, 200]);
    expect(service.lines.join("\n")).toContain("no API keys");
    expect(await service.stop("SIGTERM")).toEqual({ code: 0, signal: null });
    expect(service.stderr).toEqual([]);
  });

  it("serves without a graph that fails to load, names it with its file and error, and refuses its runs", async () => {
    const broken = await file("broken.ts", "export const graph = ;\n");
    const config = await file(
      "langgraph.json",
      JSON.stringify({ graphs: { steps: join(PROJECT, "test/e2e/graphs/steps.ts:graph"), broken: `${broken}:graph` } }),
    );
    await using service = start({ env: { HOLDPOINT_CONFIG: config } });
    const { url = "", ...ready } = await service.ready;
    expect(ready["failed"]).toEqual([expect.stringContaining(`broken (${broken}): `)]);
    const info = (await (await fetch(`${url}/info`)).json()) as { readonly failed_graphs: readonly unknown[] };
    expect(info.failed_graphs).toEqual([expect.objectContaining({ graph_id: "broken", file: broken })]);

    const client = new Client({ apiUrl: url });
    await expect(client.runs.wait(null, "broken", { input: {} })).rejects.toThrow(/broken/);
    expect(await client.runs.wait(null, "steps", { input: { steps: 1, pauseMs: 0 } })).toMatchObject({
      taken: [service.pid],
    });
  });

  it("lets in only who has a key, once keys are configured", async () => {
    const made = withNewKey(emptyKeyFile(systemIds), systemIds, {
      env: "test",
      tenant: "acme",
      subject: "alice",
      roles: ["developer"],
      groups: [],
      createdAt: 0,
    });
    const keys = await file("keys.json", JSON.stringify(made.file));
    await using service = start({ flags: ["--host", "0.0.0.0", "--keys", keys] });
    const { url = "" } = await service.ready;
    const here = url.replace("0.0.0.0", "127.0.0.1");
    const search = (headers: Record<string, string>) =>
      fetch(`${here}/threads/search`, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: "{}",
      });
    expect((await search({})).status).toBe(401);
    expect((await search({ "x-api-key": `${made.key.slice(0, -1)}x` })).status).toBe(401);
    expect((await search({ "x-api-key": made.key })).status).toBe(200);
  });

  it("opens no port as a worker", async () => {
    await using service = start({ role: "worker" });
    const ready = await service.ready;
    expect(ready).toMatchObject({ role: "worker" });
    expect(ready.url).toBeUndefined();
  });

  it("ends open streams on SIGTERM, and their runs stay where they are", async () => {
    await using service = start({ role: "api" });
    const { url = "" } = await service.ready;
    const client = new Client({ apiUrl: url });
    const { thread_id: thread } = await client.threads.create();
    const { run_id: run } = await client.runs.create(thread, "steps", { input: { steps: 1, pauseMs: 0 } });
    const stream = await fetch(`${url}/threads/${thread}/runs/${run}/stream`);
    const read = stream.text();
    const joined = fetch(`${url}/threads/${thread}/runs/${run}/join`);
    // By its answer that one has come as well.
    await fetch(`${url}/ok`);
    expect(await service.stop("SIGTERM")).toEqual({ code: 0, signal: null });
    await read;
    expect((await joined).status).toBe(503);

    await using again = start();
    const { url: there = "" } = await again.ready;
    expect(await new Client({ apiUrl: there }).runs.join(thread, run)).toMatchObject({ taken: [again.pid] });
  });

  it("ends at once on a second signal", async () => {
    await using service = start();
    const { url = "" } = await service.ready;
    const client = new Client({ apiUrl: url });
    const thread = await client.threads.create();
    for await (const { event } of client.runs.stream(thread.thread_id, "stuck", {
      input: { text: "" },
      streamMode: ["custom"],
    })) {
      if (event === "custom") break;
    }
    service.signal("SIGTERM");
    await service.line((line) => (line.includes('"stopping') ? true : undefined));
    let ended = false;
    void service.exited.then(() => (ended = true));
    await until("the service ends although its graph does not stop", () => {
      service.signal("SIGTERM");
      return ended;
    });
    expect(await service.exited).toEqual({ code: 1, signal: null });
  });
});

describe("a start that cannot succeed is one clear line and exit code 1", () => {
  it("for a flag or a value that is not understood", async () => {
    expect(await refused({ flags: ["--colour"] })).toBe("holdpoint: Unknown option '--colour' (see --help)");
    expect(await refused({ env: { HOLDPOINT_PORT: "http" } })).toBe(
      "holdpoint: HOLDPOINT_PORT: a whole number from 0 to 65535 is expected (see --help)",
    );
  });

  it("for a port that is in use", async () => {
    await using taken = await takenPort();
    expect(await refused({ flags: ["--port", String(taken.port)] })).toBe(
      `holdpoint: port ${taken.port} of 127.0.0.1 is in use; choose another with --port`,
    );
  });

  it("for a data folder that cannot be written", async () => {
    const path = await file("not-a-folder", "");
    expect(await refused({ dataDir: path })).toContain(path);
  });

  it("for an address that others could reach, without keys", async () => {
    expect(await refused({ flags: ["--host", "0.0.0.0"] })).toBe(
      "holdpoint: without API keys only this machine is served: set HOLDPOINT_KEYS, or listen on 127.0.0.1 instead of 0.0.0.0",
    );
  });

  it("for a langgraph.json that is missing or malformed", async () => {
    const missing = join(folder.path, "nowhere.json");
    expect(await refused({ env: { HOLDPOINT_CONFIG: missing } })).toContain(missing);
    const malformed = await file("langgraph.json", "{ graphs");
    expect(await refused({ env: { HOLDPOINT_CONFIG: malformed } })).toContain(malformed);
  });

  it("for keys and documents that cannot be read", async () => {
    const missing = join(folder.path, "nowhere");
    expect(await refused({ flags: ["--keys", missing] })).toContain(
      `the API keys in ${missing} cannot be used: ENOENT: no such file`,
    );
    expect(await refused({ flags: ["--documents", missing] })).toBe(
      `holdpoint: HOLDPOINT_DOCUMENTS: ${missing} is not a folder of documents`,
    );
  });

  it("for another number of partitions than the table was first used with", async () => {
    const first = start();
    await first.ready;
    await first.stop("SIGTERM");
    expect(await refused({ env: { HOLDPOINT_SHARDS: "3" } })).toBe(
      "holdpoint: the table was first used with HOLDPOINT_SHARDS=1 and cannot be used with 3",
    );
  });

  it("for an endpoint where no DynamoDB answers", async () => {
    await using closed = await takenPort();
    const endpoint = `http://127.0.0.1:${closed.port}`;
    await closed[Symbol.asyncDispose]();
    const said = await refused({ env: { HOLDPOINT_TABLE: "runs", DYNAMODB_ENDPOINT: endpoint } });
    expect(said).toContain(`the DynamoDB table runs at ${endpoint} cannot be reached`);
  });

  it("for a table that does not exist, which only `dev` creates", async () => {
    await using dynalite = await startDynalite();
    const env = { HOLDPOINT_TABLE: "runs", DYNAMODB_ENDPOINT: dynalite.endpoint };
    expect(await refused({ env })).toContain(`the DynamoDB table runs at ${dynalite.endpoint} does not exist`);
    await using created = start({ mode: "dev", env });
    await created.ready;
    await created.stop("SIGTERM");
    await using service = start({ env });
    expect((await service.ready)["storage"]).toBe(`DynamoDB runs at ${dynalite.endpoint}`);
  });
});

it("names what looks like a setting and is none", async () => {
  await using service = start({ env: { HOLDPOINT_ENCRYPTION_REQUIRD: "true" } });
  await service.ready;
  const said = service.lines.find((line) => line.includes("there are no settings of these names")) ?? "{}";
  expect(JSON.parse(said)).toMatchObject({
    level: "warn",
    unknown: expect.arrayContaining(["HOLDPOINT_ENCRYPTION_REQUIRD"]) as unknown,
  });
});

it("prints every setting for --help and ends with 0", async () => {
  await using service = start({ flags: ["--help"] });
  expect(await service.exited).toEqual({ code: 0, signal: null });
  expect(service.lines.join("\n")).toContain("HOLDPOINT_LEASE_MS");
});
