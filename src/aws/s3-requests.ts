/** One S3 client: time-outs that are enforced, errors as codes, and the bucket that it speaks of. */
import { CreateBucketCommand, HeadBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { errorInfo, HoldpointError } from "../core/errors.ts";
import { clientOptions } from "./client-options.ts";
import type { AwsOptions } from "./client-options.ts";

export interface S3Options extends AwsOptions {
  readonly bucket: string;
}

export interface S3Requests extends Disposable {
  /**
   * Sends a command. What `expected` maps the SDK's error to is the answer instead.
   * @throws HoldpointError `unavailable` with the cause
   */
  call<T>(
    send: (client: S3Client) => Promise<T>,
    expected?: (error: { readonly name: string; readonly status: number | undefined }) => T | undefined,
  ): Promise<T>;
  /** The error that says what went wrong at this bucket. */
  failed(what: string, cause?: unknown): HoldpointError;
  /** How often a body whose transfer breaks off is asked for. */
  readonly attempts: number;
}

export function createS3Requests(options: S3Options): S3Requests {
  const { bucket, endpoint, maxAttempts = 4, requestTimeoutMs = 30_000, silenceMs = 5000 } = options;
  const client = new S3Client({
    ...clientOptions({ ...options, maxAttempts, requestTimeoutMs, silenceMs }),
    // A server that is not Amazon's rarely has a host name for every bucket.
    forcePathStyle: endpoint !== undefined,
    // Bodies are named by their SHA-256, which is checked when they are read.
    responseChecksumValidation: "WHEN_REQUIRED",
  });
  const place = `S3 bucket ${bucket}${endpoint === undefined ? "" : ` at ${endpoint}`}`;
  const failed = (what: string, cause?: unknown): HoldpointError =>
    new HoldpointError("unavailable", `${place}: ${what}`, { cause });
  return {
    async call(send, expected) {
      try {
        return await send(client);
      } catch (error) {
        if (error instanceof HoldpointError) throw error;
        const { name, message } = errorInfo(error);
        const answer = expected?.({ name, status: statusOf(error) });
        if (answer !== undefined) return answer;
        throw failed(`${name}: ${message}`, error);
      }
    },
    failed,
    attempts: maxAttempts,
    [Symbol.dispose]: () => client.destroy(),
  };
}

function statusOf(error: unknown): number | undefined {
  if (typeof error !== "object" || error === null || !("$metadata" in error)) return undefined;
  const metadata = error.$metadata;
  if (typeof metadata !== "object" || metadata === null || !("httpStatusCode" in metadata)) return undefined;
  return typeof metadata.httpStatusCode === "number" ? metadata.httpStatusCode : undefined;
}

/**
 * Fails within seconds unless the bucket is there and may be used.
 * @throws HoldpointError `unavailable`, one line that names bucket and endpoint
 */
export async function assertBucketExists(options: S3Options): Promise<void> {
  using requests = createS3Requests(impatient(options));
  if (!(await exists(requests, options.bucket))) {
    throw requests.failed("does not exist: create it, or set HOLDPOINT_BUCKET to the right name");
  }
}

/** Makes sure that the bucket is there: for development, where a missing one is created. @throws HoldpointError `unavailable` */
export async function ensureBucket(options: S3Options): Promise<void> {
  using requests = createS3Requests(impatient(options));
  if (await exists(requests, options.bucket)) return;
  await requests.call(
    (client) => client.send(new CreateBucketCommand({ Bucket: options.bucket })).then(() => true),
    // Another process of the same kind came first.
    ({ name }) => (name === "BucketAlreadyOwnedByYou" ? true : undefined),
  );
}

const impatient = (options: S3Options): S3Options => ({ ...options, maxAttempts: 2, requestTimeoutMs: 2000 });

const exists = (requests: S3Requests, bucket: string): Promise<boolean> =>
  requests.call(
    (client) => client.send(new HeadBucketCommand({ Bucket: bucket })).then(() => true),
    ({ status }) => (status === 404 ? false : undefined),
  );
