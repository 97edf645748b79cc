/** The published checkpointers: anyone's graph, in a file or in a DynamoDB table, by several processes. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CreateTableCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { Annotation, Command, END, START, StateGraph, interrupt } from "@langchain/langgraph";
import type { BaseCheckpointSaver } from "@langchain/langgraph";
import { openDynamoDB, tableDefinition } from "holdpoint/checkpoint-dynamodb";
import type { Checkpoints, DynamoDBOptions } from "holdpoint/checkpoint-dynamodb";
import { openSqlite } from "holdpoint/checkpoint-sqlite";
import { afterEach, describe, expect, it } from "vitest";
import { noise } from "../support/checkpoints.ts";
import { startDynalite } from "../support/dynalite.ts";
import { startFakeKms } from "../support/fake-kms.ts";
import { startFakeS3 } from "../support/fake-s3.ts";

const KEY = "0123456789abcdef0123456789abcdef";
const SECRET = "the-card-number-is-4711";

const stack: AsyncDisposable[] = [];
afterEach(async () => {
  for (const one of stack.splice(0).toReversed()) await one[Symbol.asyncDispose]();
});
const held = <T extends AsyncDisposable>(one: T): T => {
  stack.push(one);
  return one;
};

async function folder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), "holdpoint-entry-"));
  held({ [Symbol.asyncDispose]: () => rm(dir, { recursive: true, force: true }) });
  return dir;
}

const State = Annotation.Root({
  said: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }),
  scan: Annotation<string>,
});

/** Takes a large document, asks a person, and ends. */
const build = (checkpointer: BaseCheckpointSaver) =>
  new StateGraph(State)
    .addNode("read", () => ({ said: [SECRET], scan: noise(700_000) }))
    .addNode("ask", () => ({ said: [String(interrupt("may I?"))] }))
    .addEdge(START, "read")
    .addEdge("read", "ask")
    .addEdge("ask", END)
    .compile({ checkpointer });

const ENDED = { said: ["in", SECRET, "yes"], scan: noise(700_000) };

const config = { configurable: { thread_id: "case-1" } };

/** One process asks, another one goes on with the answer, a third looks at it. */
async function story(open: () => Promise<Checkpoints>): Promise<unknown> {
  await build(held(await open()).checkpointer).invoke({ said: ["in"] }, config);
  const second = build(held(await open()).checkpointer);
  expect((await second.getState(config)).tasks).toMatchObject([{ name: "ask", interrupts: [{ value: "may I?" }] }]);
  await second.invoke(new Command({ resume: "yes" }), config);
  const third = await build(held(await open()).checkpointer).getState(config);
  return third.values;
}

describe("holdpoint/checkpoint-sqlite", () => {
  it("carries a thread from process to process", async () => {
    const dir = await folder();
    expect(await story(() => openSqlite({ dir: join(dir, "new") }))).toEqual(ENDED);
  });

  it("refuses what would do something else than was meant", async () => {
    const invalid = { code: "invalid" };
    await expect(openSqlite({} as never)).rejects.toMatchObject(invalid);
    await expect(openSqlite({ dir: await folder(), encryptionKeys: KEY as never })).rejects.toMatchObject(invalid);
    const { checkpointer } = held(await openSqlite({ dir: await folder() }));
    for (const thread of ["o", "n"]) {
      const at = { configurable: { thread_id: thread } };
      await build(checkpointer).updateState(at, { said: ["kept"] }, "read");
    }
    await expect(checkpointer.prune("on" as never, { strategy: "delete" })).rejects.toMatchObject(invalid);
    await expect(checkpointer.prune(["o"], { strategy: "keep-latest" as never })).rejects.toMatchObject(invalid);
    await expect(checkpointer.deleteForRuns("x" as never)).rejects.toMatchObject(invalid);
    await expect(checkpointer.copyThread("nobody", "copy")).rejects.toMatchObject({ code: "not_found" });
    for (const thread of ["o", "n"]) {
      const state = await build(checkpointer).getState({ configurable: { thread_id: thread } });
      expect(state).toMatchObject({ values: { said: ["kept"] } });
    }
  });

  it("encrypts what it keeps, and reads it with that key only", async () => {
    const dir = await folder();
    const path = join(dir, "checkpoints.db");
    expect(await story(() => openSqlite({ dir, encryptionKeys: [KEY] }))).toEqual(ENDED);
    for (const file of [path, `${path}-wal`])
      expect((await readFile(file).catch(() => "")).includes("4711")).toBe(false);
    const other = build(held(await openSqlite({ dir, encryptionKeys: [KEY.toUpperCase()] })).checkpointer);
    await expect(other.getState(config)).rejects.toThrow(/cannot be (decrypted|unwrapped|opened)|was wrapped/);
    const rotated = await openSqlite({ dir, encryptionKeys: ["another-key-of-32-characters-..!", KEY] });
    expect((await build(held(rotated).checkpointer).getState(config)).values).toMatchObject({
      said: ["in", SECRET, "yes"],
    });
  });

  it("refuses what is not encrypted, if it is told to, and reads it otherwise", async () => {
    const dir = await folder();
    expect(await story(() => openSqlite({ dir }))).toEqual(ENDED);
    const encryptionKeys = [KEY];
    const required = held(await openSqlite({ dir, encryptionKeys, encryptionRequired: true }));
    await expect(build(required.checkpointer).getState(config)).rejects.toMatchObject({ code: "corrupt" });
    const migrating = held(await openSqlite({ dir, encryptionKeys }));
    expect((await build(migrating.checkpointer).getState(config)).values).toEqual(ENDED);
    await expect(openSqlite({ dir, encryptionRequired: true })).rejects.toMatchObject({ code: "invalid" });
  });

  it("drops the keys of its tenant: nobody reads what was there, and there are new ones when that is asked for", async () => {
    const dir = await folder();
    const open = async (tenant: string) =>
      held(await openSqlite({ dir, tenant, encryptionKeys: [KEY], encryptionRequired: true }));
    for (const tenant of ["acme", "umbrella"]) expect(await story(() => open(tenant))).toEqual(ENDED);
    await (await open("acme")).dropDataKeys();
    const after = await open("acme");
    const app = build(after.checkpointer);
    await expect(app.getState(config)).rejects.toMatchObject({ code: "gone" });
    const fresh = { configurable: { thread_id: "case-2" } };
    const sync = { ...fresh, durability: "sync" as const };
    await expect(app.invoke({ said: ["in"] }, sync)).rejects.toMatchObject({ code: "gone" });
    await after.renewDataKeys();
    await build((await open("acme")).checkpointer).updateState(fresh, { said: ["new"] }, "read");
    expect((await build((await open("acme")).checkpointer).getState(fresh)).values).toEqual({ said: ["new"] });
    await expect(build((await open("acme")).checkpointer).getState(config)).rejects.toMatchObject({ code: "gone" });
    expect((await build((await open("umbrella")).checkpointer).getState(config)).values).toEqual(ENDED);
    const plain = held(await openSqlite({ dir }));
    await expect(plain.dropDataKeys()).rejects.toMatchObject({ code: "invalid" });
  });

  it("has a store that a graph's nodes write, and another process searches", async () => {
    const dir = await folder();
    const { checkpointer, store } = held(await openSqlite({ dir }));
    const remembers = new StateGraph(State)
      .addNode("keep", async (_, { store: given }) => {
        await given?.put(["users", "ada"], "likes", { text: "tea", cups: 3 });
        return {};
      })
      .addEdge(START, "keep")
      .addEdge("keep", END)
      .compile({ checkpointer, store });
    await remembers.invoke({}, config);
    const other = held(await openSqlite({ dir })).store;
    const found = await other.search(["users"], { filter: { cups: { $gte: 3 } } });
    expect(found.map(({ key, value }) => [key, value])).toEqual([["likes", { text: "tea", cups: 3 }]]);
    expect(await other.listNamespaces({ prefix: ["users"] })).toEqual([["users", "ada"]]);
  });

  it("keeps tenants apart, and says what a tenant may be called", async () => {
    const dir = await folder();
    expect(await story(() => openSqlite({ dir, tenant: "acme" }))).toEqual(ENDED);
    const other = build(held(await openSqlite({ dir, tenant: "umbrella" })).checkpointer);
    expect((await other.getState(config)).values).toEqual({});
    await expect(openSqlite({ dir, tenant: "a#b" })).rejects.toMatchObject({ code: "invalid" });
  });

  it("says which file it cannot open", async () => {
    const dir = await folder();
    await writeFile(join(dir, "checkpoints.db"), "no database");
    await expect(openSqlite({ dir })).rejects.toThrow(join(dir, "checkpoints.db"));
  });

  it("refuses a state above its limit, and keeps what was there", async () => {
    const dir = await folder();
    const { checkpointer } = held(await openSqlite({ dir, maxStateBytes: 10_000 }));
    await build(checkpointer).updateState(config, { said: ["before"] }, "ask");
    const sync = { ...config, durability: "sync" as const };
    await expect(build(checkpointer).invoke({ said: ["in"] }, sync)).rejects.toMatchObject({ code: "limit" });
    expect((await build(checkpointer).getState(config)).values).toEqual({ said: ["before", "in"] });
  });
});

describe("holdpoint/checkpoint-dynamodb", () => {
  const place = async (): Promise<DynamoDBOptions> => {
    const { endpoint } = held(await startDynalite());
    return { tableName: "graphs", endpoint, region: "us-east-1", createTable: true };
  };

  it("carries a thread from process to process", async () => {
    const options = await place();
    expect(await story(() => openDynamoDB(options))).toEqual(ENDED);
  });

  it("keeps large values in a bucket, encrypted with a key of KMS", async () => {
    const options = await place();
    const s3 = held(await startFakeS3("bodies"));
    const kms = held(await startFakeKms());
    const all: DynamoDBOptions = {
      ...options,
      bucket: { name: "bodies", prefix: "graphs/", endpoint: s3.endpoint },
      kms: { keyId: kms.createKey("graphs"), endpoint: kms.endpoint },
    };
    expect(await story(() => openDynamoDB(all))).toEqual(ENDED);
    const keys = [...s3.objects("bodies").keys()];
    expect(keys.length).toBeGreaterThan(0);
    for (const key of keys) expect(key).toMatch(/^graphs\//);
  });

  it("says what is missing: the table, or its indexes", async () => {
    const options = { ...(await place()), createTable: false };
    await expect(openDynamoDB(options)).rejects.toMatchObject({ code: "unavailable", message: /graphs/ });
    const credentials = { accessKeyId: "local", secretAccessKey: "local" };
    using client = Object.assign(
      new DynamoDBClient({ region: "us-east-1", endpoint: options.endpoint ?? "", credentials }),
      {
        [Symbol.dispose]: () => client.destroy(),
      },
    );
    const { GlobalSecondaryIndexes: _, ...bare } = tableDefinition("graphs");
    const keys = bare.AttributeDefinitions?.filter(({ AttributeName = "" }) => ["pk", "sk"].includes(AttributeName));
    await client.send(new CreateTableCommand({ ...bare, AttributeDefinitions: keys }));
    await expect(openDynamoDB(options)).rejects.toMatchObject({ code: "conflict" });
  });
});
