/** What the DynamoDB table must look like, making one for development, and checking for one in production. */
import {
  CreateTableCommand,
  DescribeTableCommand,
  ResourceInUseException,
  ResourceNotFoundException,
  UpdateTimeToLiveCommand,
} from "@aws-sdk/client-dynamodb";
import type { CreateTableCommandInput, TableDescription } from "@aws-sdk/client-dynamodb";
import { errorInfo, HoldpointError, isHoldpointError } from "../core/errors.ts";
import { createRequests } from "./dynamodb-requests.ts";
import type { DynamoOptions, Requests } from "./dynamodb-requests.ts";

/** Attribute that DynamoDB's time to live is to be enabled on. */
export const TTL_ATTRIBUTE = "x";

const INDEXES = ["due", "list"] as const;
const KEYS = ["pk", "sk", ...INDEXES.flatMap((name) => [`${name}_pk`, `${name}_sk`])];

/** The table: a partition and a sort key, and two indexes of keys only, paid per request. */
export function tableDefinition(tableName: string): CreateTableCommandInput {
  return {
    TableName: tableName,
    BillingMode: "PAY_PER_REQUEST",
    AttributeDefinitions: KEYS.map((name) => ({ AttributeName: name, AttributeType: "S" as const })),
    KeySchema: keySchema("pk", "sk"),
    GlobalSecondaryIndexes: INDEXES.map((name) => ({
      IndexName: name,
      KeySchema: keySchema(`${name}_pk`, `${name}_sk`),
      Projection: { ProjectionType: "KEYS_ONLY" as const },
    })),
  };
}

const keySchema = (pk: string, sk: string) => [
  { AttributeName: pk, KeyType: "HASH" as const },
  { AttributeName: sk, KeyType: "RANGE" as const },
];

/** How long a missing server is waited for, in all. */
const CHECK_MS = 5000;
const CREATE_MS = 120_000;

/**
 * Makes sure that a table of this shape can be used: for development, where a missing one is created.
 * @throws HoldpointError `unavailable` naming table and endpoint, `conflict` when the table has another shape
 */
export async function ensureTable(options: DynamoOptions): Promise<void> {
  using requests = createRequests(impatient(options));
  const described = await describe(requests, options);
  if (described === undefined) await create(requests, options);
  await whenActive(requests, options, described);
  if (described === undefined) await enableTimeToLive(requests, options.tableName);
}

/**
 * Fails within about five seconds unless a table of this shape is there.
 * @throws HoldpointError `unavailable` or `conflict`, one line that names table and endpoint
 */
export async function assertTableExists(options: DynamoOptions): Promise<void> {
  using requests = createRequests(impatient(options));
  const described = await describe(requests, options);
  if (described === undefined) {
    throw new HoldpointError(
      "unavailable",
      `${placeOf(options)} does not exist: create it, or set HOLDPOINT_TABLE to the right name`,
    );
  }
  assertShape(described, options);
}

/** Two short attempts: a wrong address should be reported, not waited for. */
const impatient = (options: DynamoOptions): DynamoOptions => ({ ...options, maxAttempts: 2, requestTimeoutMs: 2000 });

const placeOf = ({ tableName, endpoint, region }: DynamoOptions): string =>
  `the DynamoDB table ${tableName} at ${endpoint ?? region ?? "the default region"}`;

/** Undefined when there is no such table. */
async function describe(requests: Requests, options: DynamoOptions): Promise<TableDescription | undefined> {
  const stop = new AbortController();
  const late = options.clock.sleep(CHECK_MS, stop.signal).then(() => {
    throw new HoldpointError("unavailable", `${placeOf(options)} cannot be reached: no answer within ${CHECK_MS} ms`);
  });
  try {
    const command = new DescribeTableCommand({ TableName: options.tableName });
    const answer = requests.call("table", (client) => client.send(command, { abortSignal: stop.signal }));
    return (await Promise.race([answer, late])).Table;
  } catch (error) {
    if (error instanceof HoldpointError && error.cause instanceof ResourceNotFoundException) return undefined;
    throw isHoldpointError(error) && error.cause === undefined ? error : unreachable(options, error);
  } finally {
    // Lets go of the timer; by then nobody listens to its promise any more.
    late.catch(() => {});
    stop.abort();
  }
}

function unreachable(options: DynamoOptions, error: unknown): HoldpointError {
  const { name, message } = errorInfo(error instanceof Error && error.cause !== undefined ? error.cause : error);
  return new HoldpointError(
    "unavailable",
    `${placeOf(options)} cannot be reached: ${name}: ${message.split("\n")[0]}`,
    {
      cause: error,
    },
  );
}

async function create(requests: Requests, { tableName }: DynamoOptions): Promise<void> {
  try {
    await requests.call("table", (client) => client.send(new CreateTableCommand(tableDefinition(tableName))));
  } catch (error) {
    // Another process of the same kind came first.
    if (!(error instanceof HoldpointError && error.cause instanceof ResourceInUseException)) throw error;
  }
}

async function whenActive(
  requests: Requests,
  options: DynamoOptions,
  known: TableDescription | undefined,
): Promise<void> {
  const { clock } = options;
  const deadline = clock.monotonic() + CREATE_MS;
  let described = known;
  while (!isActive(described)) {
    if (clock.monotonic() >= deadline) {
      throw new HoldpointError("unavailable", `${placeOf(options)} is not active after ${CREATE_MS} ms`);
    }
    if (described !== undefined) await clock.sleep(100);
    described = await describe(requests, options);
  }
  if (described !== undefined) assertShape(described, options);
}

const isActive = (described: TableDescription | undefined): boolean =>
  described?.TableStatus === "ACTIVE" &&
  (described.GlobalSecondaryIndexes ?? []).every((index) => index.IndexStatus === "ACTIVE");

async function enableTimeToLive(requests: Requests, tableName: string): Promise<void> {
  const specification = { AttributeName: TTL_ATTRIBUTE, Enabled: true };
  try {
    await requests.call("table", (client) =>
      client.send(new UpdateTimeToLiveCommand({ TableName: tableName, TimeToLiveSpecification: specification })),
    );
  } catch (error) {
    // Not every compatible server can do this, and nothing but disk space depends on it.
    if (!isHoldpointError(error)) throw error;
  }
}

function assertShape(described: TableDescription, options: DynamoOptions): void {
  const schemaOf = (schema: TableDescription["KeySchema"]): string =>
    (schema ?? []).map((key) => `${key.AttributeName} ${key.KeyType}`).join(", ");
  const wanted = tableDefinition(options.tableName);
  const indexes = new Map((described.GlobalSecondaryIndexes ?? []).map((index) => [index.IndexName, index]));
  const notText = (described.AttributeDefinitions ?? []).filter(
    ({ AttributeName: name = "", AttributeType: type }) => KEYS.includes(name) && type !== "S",
  );
  const wrong = [
    ...(schemaOf(described.KeySchema) === schemaOf(wanted.KeySchema)
      ? []
      : [`its key is not ${schemaOf(wanted.KeySchema)}`]),
    ...(wanted.GlobalSecondaryIndexes ?? []).flatMap(({ IndexName, KeySchema }) =>
      schemaOf(indexes.get(IndexName)?.KeySchema) === schemaOf(KeySchema)
        ? []
        : [`it has no index ${IndexName} on ${schemaOf(KeySchema)}`],
    ),
    ...notText.map(({ AttributeName }) => `its key ${AttributeName} is not text`),
  ];
  if (wrong.length > 0) throw new HoldpointError("conflict", `${placeOf(options)} cannot be used: ${wrong.join("; ")}`);
}
