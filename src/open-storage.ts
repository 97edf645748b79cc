/** The part of the composition root that opens table, bodies and keys. The SDKs are loaded only by who uses them. */
import { join } from "node:path";
import type { Config, Encryption } from "./config.ts";
import { systemClock } from "./core/clock.ts";
import { systemIds } from "./core/ids.ts";
import { movedBlobs } from "./storage/blobs.ts";
import type { Blobs } from "./storage/blobs.ts";
import { createDataKeys } from "./storage/encryption/data-keys.ts";
import type { DataKeys } from "./storage/encryption/data-keys.ts";
import { createSealers, plainSealers } from "./storage/encryption/sealer.ts";
import type { Sealers } from "./storage/encryption/sealer.ts";
import { combinedKeys } from "./storage/encryption/wrapping-keys.ts";
import type { WrappingKeys } from "./storage/encryption/wrapping-keys.ts";
import type { Table } from "./storage/table.ts";

/** The fields that are there. */
export function present<T extends Readonly<Record<string, string | undefined>>>(
  fields: T,
): { readonly [K in keyof T]?: string } {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as {
    [K in keyof T]?: string;
  };
}

/** Disposing lets go of what the bodies need; the table is disposed of by itself. */
export interface Storage extends Disposable {
  readonly table: Table;
  readonly blobs: Blobs;
  /** For the start-up line. */
  readonly place: string;
}

/** Opens what the configuration names. @throws HoldpointError, one line, when it is not there or cannot be used */
export async function openStorage(config: Config): Promise<Storage> {
  return config.dynamo ? openDynamo(config, config.dynamo) : openEmbedded(config.dataDir);
}

async function openEmbedded(dataDir: string): Promise<Storage> {
  const [{ createSqliteTable }, { createFolderBlobs }] = await Promise.all([
    import("./local/sqlite-table.ts"),
    import("./local/folder-blobs.ts"),
  ]);
  const path = join(dataDir, "holdpoint.db");
  const table = await createSqliteTable({ path, clock: systemClock, ids: systemIds });
  const blobs = createFolderBlobs({ dir: join(dataDir, "blobs") });
  return { table, blobs, place: `SQLite ${path}`, [Symbol.dispose]: () => {} };
}

/** The SDK costs a third of a second and 30 MB. */
async function openDynamo(config: Config, dynamo: NonNullable<Config["dynamo"]>): Promise<Storage> {
  await using opening = new AsyncDisposableStack();
  const [{ createDynamoTable, ensureTable, assertTableExists }, { createItemBlobs }] = await Promise.all([
    import("./aws/dynamodb-table.ts"),
    import("./storage/item-blobs.ts"),
  ]);
  const { tableName, endpoint, region } = dynamo;
  const options = { tableName, clock: systemClock, ids: systemIds, ...present({ endpoint, region }) };
  if (config.mode === "dev" && endpoint !== undefined) await ensureTable(options);
  else await assertTableExists(options);
  const table = opening.use(createDynamoTable(options));
  const items = createItemBlobs({ table });
  const bodies = config.s3 && opening.use(await openBucket(config, config.s3));
  const blobs = bodies ? movedBlobs(bodies, items) : items;
  const at = `DynamoDB ${tableName} at ${endpoint ?? region ?? "AWS"}`;
  const place = config.s3 ? `${at}, S3 ${config.s3.bucket}` : at;
  // From here on they are the caller's.
  opening.move();
  return { table, blobs, place, [Symbol.dispose]: () => bodies?.[Symbol.dispose]() };
}

async function openBucket(config: Config, s3: NonNullable<Config["s3"]>): Promise<Blobs & Disposable> {
  const { createS3Blobs, assertBucketExists, ensureBucket } = await import("./aws/s3-blobs.ts");
  if (config.mode === "dev" && s3.endpoint !== undefined) await ensureBucket(s3);
  else await assertBucketExists(s3);
  return createS3Blobs({ ...s3, clock: systemClock, ids: systemIds });
}

export interface OpenedEncryption extends Disposable {
  readonly sealers: Sealers;
  /** Undefined without keys. */
  readonly dataKeys: DataKeys | undefined;
}

/** What encrypts content; without keys, nothing. @throws HoldpointError `invalid` for a setting that is no key */
export async function openEncryption(encryption: Encryption | undefined, table: Table): Promise<OpenedEncryption> {
  if (encryption === undefined) return { sealers: plainSealers, dataKeys: undefined, [Symbol.dispose]: () => {} };
  const { kms, localKeys, required, dataKeyMs } = encryption;
  using opening = new DisposableStack();
  const all: WrappingKeys[] = [];
  if (kms) {
    const { createKmsKeys } = await import("./aws/kms-keys.ts");
    all.push(opening.use(createKmsKeys(kms)));
  }
  if (localKeys.length > 0) {
    const { createLocalKeys } = await import("./local/local-keys.ts");
    all.push(createLocalKeys(localKeys));
  }
  const keys = combinedKeys(all);
  const dataKeys = createDataKeys({ table, keys, clock: systemClock, ids: systemIds, maxAgeMs: dataKeyMs });
  const opened = opening.move();
  return { sealers: createSealers({ dataKeys, required }), dataKeys, [Symbol.dispose]: () => opened.dispose() };
}
