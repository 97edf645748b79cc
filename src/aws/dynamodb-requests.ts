/** One DynamoDB client: time-outs that are enforced, errors as codes, the table's time, and what each request consumed. */
import { ConditionalCheckFailedException, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import type { ConsumedCapacity } from "@aws-sdk/client-dynamodb";
import type { Clock } from "../core/clock.ts";
import { errorInfo, HoldpointError } from "../core/errors.ts";
import type { IdSource } from "../core/ids.ts";
import { clientOptions } from "./client-options.ts";
import type { AwsOptions } from "./client-options.ts";
import { createTableTime } from "./table-time.ts";

/** What a request consumed, in DynamoDB's units; indexes included. */
export interface ConsumedUnits {
  readonly read?: number;
  readonly write?: number;
}

/** Each repetition of a write carries the same write id. */
export interface DynamoOptions extends AwsOptions {
  readonly tableName: string;
  readonly clock: Clock;
  /** Told of every request after its last attempt, for measurements; only then does DynamoDB report units. */
  readonly onRequest?: ((kind: RequestKind, units?: ConsumedUnits) => void) | undefined;
}

export type RequestKind = "get" | "put" | "remove" | "query" | "queryIndex" | "batchGet" | "batchPut" | "add" | "table";

/** What the operations of one table share. */
export interface DynamoContext {
  readonly tableName: string;
  readonly requests: Requests;
  readonly clock: Clock;
  readonly ids: IdSource;
}

interface Metered {
  readonly ConsumedCapacity?: ConsumedCapacity | ConsumedCapacity[] | undefined;
}

export interface Requests extends Disposable {
  /**
   * Sends a command. A failed condition throws the SDK's own error.
   * @throws HoldpointError `unavailable` with the cause; `internal` for a request that DynamoDB does not understand
   */
  call<T extends object>(kind: RequestKind, send: (client: DynamoDBClient) => Promise<T>): Promise<T>;
  /** Part of every request's input. */
  readonly metering: { readonly ReturnConsumedCapacity?: "INDEXES" };
  /** The table's time. */
  now(): number;
}

export function createRequests(options: DynamoOptions): Requests {
  const { clock, onRequest } = options;
  const time = createTableTime(clock);
  const client = new DynamoDBClient(clientOptions(options));
  client.middlewareStack.add(
    (next) => async (args) => {
      const sentAt = clock.monotonic();
      const output = await next(args);
      time.observe(dateOf(output.response), sentAt);
      return output;
    },
    // Inside the SDK's repetitions, and next to the socket: an attempt that failed is observed as well.
    { step: "deserialize", priority: "low", name: "tableTime" },
  );
  return {
    async call(kind, send) {
      try {
        const output = await send(client);
        onRequest?.(kind, consumed(kind, output));
        return output;
      } catch (error) {
        onRequest?.(kind);
        throw error instanceof ConditionalCheckFailedException ? error : translated(error, options);
      }
    },
    metering: onRequest === undefined ? {} : { ReturnConsumedCapacity: "INDEXES" },
    now: () => time.now(),
    [Symbol.dispose]: () => client.destroy(),
  };
}

function dateOf(response: unknown): string | undefined {
  if (typeof response !== "object" || response === null || !("headers" in response)) return undefined;
  const { headers } = response;
  if (typeof headers !== "object" || headers === null || !("date" in headers)) return undefined;
  return typeof headers.date === "string" ? headers.date : undefined;
}

const READS: ReadonlySet<RequestKind> = new Set(["get", "query", "queryIndex", "batchGet"]);

function consumed(kind: RequestKind, output: Metered): ConsumedUnits | undefined {
  const capacity = output.ConsumedCapacity;
  if (capacity === undefined) return undefined;
  const units = [capacity].flat().reduce((sum, part) => sum + (part.CapacityUnits ?? 0), 0);
  return READS.has(kind) ? { read: units } : { write: units };
}

/** Requests that DynamoDB refused unread: repeating them would not help, and nothing of them has happened. */
const REFUSED: ReadonlySet<string> = new Set(["ValidationException", "SerializationException"]);

function translated(error: unknown, { tableName, endpoint }: DynamoOptions): HoldpointError {
  if (error instanceof HoldpointError) return error;
  const { name, message } = errorInfo(error);
  const place = `DynamoDB table ${tableName}${endpoint === undefined ? "" : ` at ${endpoint}`}`;
  if (name === "ValidationException" && /item size/i.test(message)) {
    return new HoldpointError("item_too_large", `${place}: ${message}`, { cause: error });
  }
  const code = REFUSED.has(name) ? "internal" : "unavailable";
  return new HoldpointError(code, `${place}: ${name}: ${message}`, { cause: error });
}
