/** One DynamoDB client: time-outs that are enforced, errors as codes, the table's time, and what each request consumed. */
import { ConditionalCheckFailedException, DynamoDBClient } from "@aws-sdk/client-dynamodb";
import type { ConsumedCapacity } from "@aws-sdk/client-dynamodb";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import type { Clock } from "../core/clock.ts";
import { errorInfo, HoldpointError } from "../core/errors.ts";
import type { IdSource } from "../core/ids.ts";
import { createTableTime } from "./table-time.ts";

/** What a request consumed, in DynamoDB's units; indexes included. */
export interface ConsumedUnits {
  readonly read?: number;
  readonly write?: number;
}

export interface DynamoOptions {
  readonly tableName: string;
  /** Undefined: as the SDK finds it. */
  readonly region?: string | undefined;
  /** A DynamoDB-compatible server other than Amazon's. */
  readonly endpoint?: string | undefined;
  readonly clock: Clock;
  /** Undefined: as the SDK finds them; on a loopback endpoint, which checks none, a local pair that is no secret. */
  readonly credentials?: { readonly accessKeyId: string; readonly secretAccessKey: string } | undefined;
  /** How often a request is sent before it counts as failed; 4 by default. Each repetition carries the same write id. */
  readonly maxAttempts?: number;
  /** Milliseconds that one attempt may take; 3,000 by default. */
  readonly requestTimeoutMs?: number;
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
  const client = createClient(options);
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

function createClient(options: DynamoOptions): DynamoDBClient {
  const { region, endpoint } = options;
  const local =
    endpoint !== undefined && isLoopback(endpoint) ? { accessKeyId: "local", secretAccessKey: "local" } : undefined;
  const credentials = options.credentials ?? local;
  return new DynamoDBClient({
    ...(region === undefined ? {} : { region }),
    ...(endpoint === undefined ? {} : { endpoint }),
    ...(credentials === undefined ? {} : { credentials }),
    maxAttempts: options.maxAttempts ?? 4,
    requestHandler: new NodeHttpHandler({
      connectionTimeout: 1000,
      requestTimeout: options.requestTimeoutMs ?? 3000,
      // Without this the time-out is only a warning, and a reply that never comes is waited for without end.
      throwOnRequestTimeout: true,
    }),
  });
}

/** True for the addresses of this machine, where a pair of made-up credentials can do no harm. */
export function isLoopback(endpoint: string): boolean {
  const host = URL.parse(endpoint)?.hostname ?? "";
  return host === "localhost" || host === "[::1]" || /^127\.\d+\.\d+\.\d+$/.test(host);
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
