/** `holdpoint/checkpoint-dynamodb`: a checkpointer and long-term memory for anyone's LangGraph.js graph in a DynamoDB table. */
import { assertTableExists, createDynamoTable, ensureTable } from "../aws/dynamodb-table.ts";
import { createKmsKeys } from "../aws/kms-keys.ts";
import { assertBucketExists, createS3Blobs } from "../aws/s3-blobs.ts";
import { openLibrary } from "../checkpoint/open.ts";
import type { Checkpoints, LibraryOptions } from "../checkpoint/open.ts";
import { systemClock } from "../core/clock.ts";
import { systemIds } from "../core/ids.ts";
import { assertNodeVersion } from "../core/node-version.ts";
import { movedBlobs } from "../storage/blobs.ts";
import { createItemBlobs } from "../storage/item-blobs.ts";

export { tableDefinition } from "../aws/table-definition.ts";
export type { Checkpoints } from "../checkpoint/open.ts";
export type { FencedSaver as HoldpointSaver } from "../checkpoint/saver.ts";
export { HoldpointError, isHoldpointError } from "../core/errors.ts";

export interface DynamoDBOptions extends LibraryOptions {
  readonly tableName: string;
  /** As the SDK finds it unless given. */
  readonly region?: string;
  /** A DynamoDB-compatible server other than Amazon's, such as DynamoDB Local. */
  readonly endpoint?: string;
  /** Makes a missing table, for development; otherwise a missing one is an error. */
  readonly createTable?: boolean;
  /** S3 bucket of values above 256 KB; without it they are kept in the table, in pieces. */
  readonly bucket?: { readonly name: string; readonly prefix?: string; readonly endpoint?: string };
  /** Encrypts what is stored with data keys that this KMS key wraps. */
  readonly kms?: { readonly keyId: string; readonly endpoint?: string };
}

/**
 * Opens the table. @throws HoldpointError `unavailable` when it is not there or cannot be reached; `conflict` when it has
 * not the shape of `tableDefinition`; `invalid` for a setting that cannot be used; `unsupported` on a Node below 24
 */
export async function openDynamoDB(options: DynamoDBOptions): Promise<Checkpoints> {
  assertNodeVersion(process.versions.node);
  const { tableName, region, endpoint, createTable = false, bucket, kms } = options;
  await using opening = new AsyncDisposableStack();
  const at = { tableName, region, endpoint, clock: systemClock, ids: systemIds };
  await (createTable ? ensureTable(at) : assertTableExists(at));
  const table = opening.use(createDynamoTable(at));
  const items = createItemBlobs({ table });
  const wrappingKeys = kms && opening.use(createKmsKeys({ region, ...kms }));
  const s3 = bucket && { bucket: bucket.name, region, prefix: bucket.prefix, endpoint: bucket.endpoint };
  if (s3) await assertBucketExists(s3);
  const bodies = s3 && opening.use(createS3Blobs({ ...s3, clock: systemClock, ids: systemIds }));
  const blobs = bodies ? movedBlobs(bodies, items) : items;
  const library = openLibrary({ table, blobs, wrappingKeys }, options);
  const opened = opening.move();
  return { ...library, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}
