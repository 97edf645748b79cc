/** What only a table on DynamoDB has: a definition, an address that may be wrong, and a time of its own. */
import { CreateTableCommand, DescribeTimeToLiveCommand, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import { createServer } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createDynamoTable } from "../../src/aws/dynamodb-table.ts";
import { assertTableExists, ensureTable } from "../../src/aws/table-definition.ts";
import { systemClock } from "../../src/core/clock.ts";
import { systemIds } from "../../src/core/ids.ts";
import { dynamoEngines } from "../support/engines.ts";
import type { OpenTable } from "../support/engines.ts";
import { dynamoOptions } from "../support/table-place.ts";
import type { DynamoPlace } from "../support/table-place.ts";

const credentials = { accessKeyId: "local", secretAccessKey: "local" };

describe.each(dynamoEngines())("the definition of a table on $name", (engine) => {
  let opened: OpenTable<DynamoPlace>;
  beforeAll(async () => {
    opened = await engine.open();
  });
  afterAll(() => opened[Symbol.asyncDispose]());
  const optionsFor = (tableName: string) => dynamoOptions({ endpoint: opened.place.endpoint, tableName });

  it("is made once, also by several processes at the same time", async () => {
    const options = optionsFor(`test-${systemIds.token(8)}`);
    await Promise.all([ensureTable(options), ensureTable(options), ensureTable(options)]);
    await ensureTable(options);
    await assertTableExists(options);
    await using table = createDynamoTable(options);
    expect(await table.put({ pk: "p", sk: "s", attributes: {} }, "absent")).toMatchObject({ won: true });
  });

  it("is found missing in one line that names table and endpoint", async () => {
    const checking = assertTableExists(optionsFor("no-such-table"));
    await expect(checking).rejects.toMatchObject({ code: "unavailable" });
    await expect(checking).rejects.toThrow(
      `the DynamoDB table no-such-table at ${opened.place.endpoint} does not exist: ` +
        "create it, or set HOLDPOINT_TABLE to the right name",
    );
  });

  it("is refused when the table of that name is not one of ours", async () => {
    const options = optionsFor(`test-${systemIds.token(8)}`);
    const client = new DynamoDBClient({ endpoint: opened.place.endpoint, region: "us-east-1", credentials });
    await client.send(
      new CreateTableCommand({
        TableName: options.tableName,
        BillingMode: "PAY_PER_REQUEST",
        AttributeDefinitions: [{ AttributeName: "id", AttributeType: "S" }],
        KeySchema: [{ AttributeName: "id", KeyType: "HASH" }],
      }),
    );
    client.destroy();
    for (const check of [assertTableExists, ensureTable]) {
      await expect(check(options)).rejects.toMatchObject({ code: "conflict" });
      await expect(check(options)).rejects.toThrow(
        /cannot be used: its key is not pk HASH, sk RANGE; it has no index due/,
      );
    }
  });

  it("names the attribute by which DynamoDB removes expired items, where the engine can", async () => {
    const client = new DynamoDBClient({ endpoint: opened.place.endpoint, region: "us-east-1", credentials });
    const answer = await client.send(new DescribeTimeToLiveCommand({ TableName: opened.place.tableName }));
    client.destroy();
    const { TimeToLiveStatus, AttributeName } = answer.TimeToLiveDescription ?? {};
    expect(TimeToLiveStatus === "DISABLED" ? engine.name : AttributeName).toBe(
      engine.name === "dynalite" ? "dynalite" : "x",
    );
  });
});

describe("a wrong address of a table", () => {
  it("is reported within seconds when nobody listens there", async () => {
    const place = { endpoint: "http://127.0.0.1:9", tableName: "t" };
    const checking = assertTableExists(dynamoOptions(place));
    await expect(checking).rejects.toMatchObject({ code: "unavailable" });
    await expect(checking).rejects.toThrow(/^the DynamoDB table t at http:\/\/127\.0\.0\.1:9 cannot be reached: .*$/);
  });

  it("is reported within seconds when somebody listens who never answers", async () => {
    const server = createServer(() => {});
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    const port = typeof address === "object" ? address?.port : undefined;
    const started = systemClock.monotonic();
    const checking = assertTableExists(dynamoOptions({ endpoint: `http://127.0.0.1:${port}`, tableName: "t" }));
    await expect(checking).rejects.toThrow(/cannot be reached/);
    console.log(`given up after ${Math.round(systemClock.monotonic() - started)} ms`);
    server.close();
  });
});
