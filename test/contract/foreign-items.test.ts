/** A table in which something else keeps items of its own: we do not see them, and leave them as they are. */
import { CreateTableCommand, DynamoDBClient, PutItemCommand, ScanCommand } from "@aws-sdk/client-dynamodb";
import { describe, expect, it } from "vitest";
import { tableDefinition, assertTableExists } from "../../src/aws/table-definition.ts";
import { systemClock } from "../../src/core/clock.ts";
import { systemIds, tenantId, threadId } from "../../src/core/ids.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import type { Principal } from "../../src/core/principal.ts";
import { createDeps, createRuntime } from "../../src/runtime/create.ts";
import type { Deps } from "../../src/runtime/deps.ts";
import { langGraphEngine } from "../../src/runtime/engine.ts";
import { createWorker } from "../../src/runtime/worker/worker.ts";
import { dueShard, listPartition, threadKeys } from "../../src/storage/keys.ts";
import type { Key, Table } from "../../src/storage/table.ts";
import { dynamoEngines } from "../support/engines.ts";
import { eventually } from "../support/eventually.ts";
import { createTestGraphs } from "../support/graphs.ts";
import { createMemoryLog } from "../support/http.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { dynamoOptions } from "../support/table-place.ts";
import type { DynamoPlace } from "../support/table-place.ts";

const credentials = { accessKeyId: "local", secretAccessKey: "local" };
const ALICE: Principal = { tenant: tenantId("acme"), subject: "alice", roles: ["admin"], groups: [] };
const THREAD = { tenant: ALICE.tenant, threadId: threadId("0190a6c4-7b1e-7000-8000-000000000001") };
const SHARDS = 1;

interface Foreign extends Key {
  readonly due?: string;
  readonly list?: string;
  readonly expires?: boolean;
}

/** Where others might put things: elsewhere, in the partition of a thread of ours, and in both indexes. */
const FOREIGN: readonly Foreign[] = [
  { pk: "user#42", sk: "profile" },
  { pk: "user#42", sk: "H", due: "r#", expires: true },
  { pk: "acme#t#someone", sk: "H", due: "r#acme#5#0000000000000#someone" },
  { pk: "acme#t#someone", sk: "A#hold", due: "r#acme#5" },
  { pk: "acme#t#someone", sk: "R#run", due: "t#0000000000000#acme" },
  { pk: "acme#t#other", sk: "H", due: "t#", list: "2020" },
  { pk: "x", sk: "y", due: "zzz", list: "zzz" },
  { pk: "x", sk: "z", due: "r#$", list: "0000000000000#x" },
  { pk: threadKeys.partition(THREAD), sk: "R#zzz" },
  { pk: threadKeys.partition(THREAD), sk: "C#000000##zzz" },
  { pk: threadKeys.partition(THREAD), sk: "note" },
];

class Stranger implements Disposable {
  readonly #client: DynamoDBClient;
  readonly #tableName: string;

  constructor({ endpoint, tableName }: Omit<DynamoPlace, "kind">) {
    this.#client = new DynamoDBClient({ endpoint, region: "us-east-1", credentials });
    this.#tableName = tableName;
  }

  async put({ pk, sk, due, list, expires }: Foreign): Promise<void> {
    const Item = {
      pk: { S: pk },
      sk: { S: sk },
      colours: { SS: ["red", "green"] },
      ...(due === undefined ? {} : { due_pk: { S: dueShard("default", 0) }, due_sk: { S: due } }),
      ...(list === undefined ? {} : { list_pk: { S: listPartition(ALICE.tenant, "threads") }, list_sk: { S: list } }),
      ...(expires === true ? { xm: { N: "1" } } : {}),
    };
    await this.#client.send(new PutItemCommand({ TableName: this.#tableName, Item }));
  }

  /** The keys of everything that has colours. */
  async keys(): Promise<readonly string[]> {
    const { Items = [] } = await this.#client.send(new ScanCommand({ TableName: this.#tableName }));
    return Items.filter(({ colours }) => colours !== undefined)
      .map(({ pk, sk }) => `${pk?.S} ${sk?.S}`)
      .toSorted();
  }

  async create(change: (definition: ReturnType<typeof tableDefinition>) => ReturnType<typeof tableDefinition>) {
    await this.#client.send(new CreateTableCommand(change(tableDefinition(this.#tableName))));
  }

  [Symbol.dispose](): void {
    this.#client.destroy();
  }
}

function depsOn(table: Table, log: Deps["log"]): Deps {
  return createDeps({
    table,
    blobs: createMemoryBlobs(),
    graphs: createTestGraphs().registry,
    clock: systemClock,
    ids: systemIds,
    log,
    settings: {
      leaseMs: 1000,
      concurrency: 4,
      pool: "default",
      shards: SHARDS,
      limits: DEFAULT_LIMITS,
      owner: "test/owner",
    },
  });
}

describe.each(dynamoEngines())("items that something else keeps in our table on $name", (engine) => {
  it("are not there for readers, and never overwritten", async () => {
    await using opened = await engine.open();
    using stranger = new Stranger(opened.place);
    await stranger.put({ pk: "p", sk: "theirs" });
    const { table } = opened;
    await table.put({ pk: "p", sk: "ours", attributes: { n: 1 } }, "absent");
    expect(await table.get({ pk: "p", sk: "theirs" })).toBeUndefined();
    expect((await table.query("p", {})).items.map(({ sk }) => sk)).toEqual(["ours"]);
    expect(
      await table.batchGet([
        { pk: "p", sk: "theirs" },
        { pk: "p", sk: "ours" },
      ]),
    ).toHaveLength(1);
    const draft = { pk: "p", sk: "theirs", attributes: {} };
    await expect(table.put(draft, "absent")).rejects.toMatchObject({ code: "corrupt" });
    await expect(table.put(draft, { version: 1 })).rejects.toMatchObject({ code: "corrupt" });
    await expect(table.remove(draft, { version: 1 })).rejects.toMatchObject({ code: "corrupt" });
    expect(await stranger.keys()).toEqual(["p theirs"]);
  });

  it("disturb neither workers nor readers, and outlive our threads", { timeout: 60_000 }, async () => {
    await using opened = await engine.open();
    using stranger = new Stranger(opened.place);
    for (const item of FOREIGN) await stranger.put(item);
    const before = await stranger.keys();
    expect(before).toHaveLength(FOREIGN.length);

    const log = createMemoryLog();
    const deps = depsOn(opened.table, log);
    const runtime = createRuntime(deps);
    await using worker = createWorker({
      deps,
      engine: langGraphEngine,
      assistants: runtime.assistants,
      services: () => ({}) as never, // no graph asks for one
      isKnownDead: () => false,
    });
    worker.start();
    const run = await runtime.runs.accept(ALICE, {
      threadId: THREAD.threadId,
      ifNotExists: "create",
      assistantId: "echo",
      payload: { input: { text: "hi" } },
      settings: { streamModes: [], streamSubgraphs: false, streamResumable: false, multitaskStrategy: "enqueue" },
    });
    await eventually(async () => (await deps.runs.get(run, run.runId))?.value.status === "success", "the run's end");
    expect(await runtime.runs.list(ALICE, THREAD.threadId)).toHaveLength(1);
    const search = { limit: 10, offset: 0, sortBy: "created_at", sortOrder: "asc" } as const;
    expect((await runtime.threads.search(ALICE, search)).total).toBe(1);
    await runtime.threads.remove(ALICE, THREAD.threadId);
    // Long enough for the worker to have looked at every row of the index several times.
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect(await stranger.keys()).toEqual(before);
    expect(log.lines.filter(({ level }) => level === "warn" || level === "error")).toEqual([]);
  });
});

describe.each(dynamoEngines())("a table with other keys than ours on $name", (engine) => {
  it("is refused in one line", async () => {
    await using opened = await engine.open();
    const place = { ...opened.place, tableName: `test-${systemIds.token(8)}` };
    using stranger = new Stranger(place);
    await stranger.create((definition) => ({
      ...definition,
      AttributeDefinitions: definition.AttributeDefinitions?.map((attribute) =>
        attribute.AttributeName === "sk" ? { ...attribute, AttributeType: "N" as const } : attribute,
      ),
    }));
    const checking = assertTableExists(dynamoOptions(place));
    await expect(checking).rejects.toMatchObject({ code: "conflict" });
    await expect(checking).rejects.toThrow(
      `the DynamoDB table ${place.tableName} at ${place.endpoint} cannot be used: its key sk is not text`,
    );
  });
});
