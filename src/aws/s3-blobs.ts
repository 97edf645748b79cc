/**
 * Bodies as objects of an S3 bucket: `<prefix><tenant>/<thread>/<generation>/<sha256>`.
 *
 * Must stay true:
 * - What is uploaded carries its SHA-256, and S3 refuses whatever does not match it: an object is whole or not there.
 * - An upload is left out only when S3 says that an object of this very SHA-256 and length is there.
 * - Nothing is handed out whose content is not what its name says. A transfer that breaks off says nothing of the object.
 */
import {
  DeleteObjectsCommand,
  GetObjectCommand,
  HeadObjectCommand,
  ListObjectsV2Command,
  PutObjectCommand,
} from "@aws-sdk/client-s3";
import type { Clock } from "../core/clock.ts";
import { errorInfo, HoldpointError } from "../core/errors.ts";
import type { IdSource } from "../core/ids.ts";
import { pauseMs } from "../storage/backoff.ts";
import { assertBodyName, isOld, ownerPath, readPlaced, threadPath } from "../storage/blobs.ts";
import type { Blobs, OldBodies } from "../storage/blobs.ts";
import { contentName, generationPart } from "../storage/keys.ts";
import { createS3Requests } from "./s3-requests.ts";
import type { S3Options, S3Requests } from "./s3-requests.ts";

/** Whoever loads the SDK for a bucket also has what makes or checks one. */
export { assertBucketExists, ensureBucket } from "./s3-requests.ts";

export interface S3BlobsOptions extends S3Options {
  /** Beginning of every key, such as `holdpoint/`; none by default. Two tables never share bucket and prefix. */
  readonly prefix?: string | undefined;
  /** The KMS key with which S3 encrypts bodies (`aws:kms`). Undefined: as the bucket's own settings say. */
  readonly kmsKeyId?: string | undefined;
  readonly clock: Clock;
  readonly ids: IdSource;
}

/** A body of this length or more is looked for before it is sent: below, the look costs as much as the upload. */
const LOOK_FIRST_BYTES = 1024 * 1024;
/** What S3 lists, and deletes, at once. */
const PAGE_KEYS = 1000;
/** Before a broken transfer is tried again; more each time. */
const PAUSE_MS = { base: 50, cap: 1000 } as const;

interface Bucket {
  readonly requests: S3Requests;
  readonly bucket: string;
  readonly prefix: string;
  readonly encryption: { readonly ServerSideEncryption?: "aws:kms"; readonly SSEKMSKeyId?: string };
  readonly clock: Clock;
  readonly ids: IdSource;
}

/** A body as it is to be stored. */
interface Upload {
  readonly key: string;
  readonly bytes: Uint8Array;
  /** SHA-256 in base64, as S3 writes checksums. */
  readonly checksum: string;
}

/** A Blob port on a bucket that exists; nothing is sent until it is used. See `ensureBucket` and `assertBucketExists`. */
export function createS3Blobs(options: S3BlobsOptions): Blobs & Disposable {
  const { prefix = "", kmsKeyId } = options;
  const requests = createS3Requests(options);
  const at: Bucket = {
    requests,
    bucket: options.bucket,
    prefix,
    encryption: kmsKeyId === undefined ? {} : { ServerSideEncryption: "aws:kms", SSEKMSKeyId: kmsKeyId },
    clock: options.clock,
    ids: options.ids,
  };
  return {
    async put(owner, bytes) {
      const name = contentName(bytes);
      const key = `${prefix}${ownerPath(owner)}/${name}`;
      const upload = { key, bytes, checksum: Buffer.from(name, "hex").toString("base64") };
      if (bytes.byteLength >= LOOK_FIRST_BYTES && (await isThere(at, upload))) return name;
      if (await putIfAbsent(at, upload)) return name;
      // Our own upload whose answer was lost, somebody else's of the same body, or damage that has to be repaired.
      if (!(await isThere(at, upload))) await send(at, upload);
      return name;
    },
    async get(owner, name) {
      assertBodyName(name);
      return readPlaced(owner, (place) => read(at, `${prefix}${ownerPath(place)}/${name}`, name));
    },
    removeOld: (thread, which) => removeOld(at, `${prefix}${threadPath(thread)}/`, which),
    [Symbol.dispose]: () => requests[Symbol.dispose](),
  };
}

/** True only if S3 itself says that the very bytes are there. */
function isThere({ requests, bucket }: Bucket, { key, bytes, checksum }: Upload): Promise<boolean> {
  return requests.call(
    async (client) => {
      const found = await client.send(new HeadObjectCommand({ Bucket: bucket, Key: key, ChecksumMode: "ENABLED" }));
      return found.ChecksumSHA256 === checksum && found.ContentLength === bytes.byteLength;
    },
    ({ status }) => (status === 404 ? false : undefined),
  );
}

/** False when something stands under this key, or is on its way there. */
function putIfAbsent(at: Bucket, upload: Upload): Promise<boolean> {
  return at.requests.call(
    (client) => client.send(putCommand(at, upload, "*")).then(() => true),
    ({ status }) => (status === 412 || status === 409 ? false : undefined),
  );
}

async function send(at: Bucket, upload: Upload): Promise<void> {
  await at.requests.call((client) => client.send(putCommand(at, upload)));
}

const putCommand = ({ bucket, encryption }: Bucket, { key, bytes, checksum }: Upload, unless?: "*"): PutObjectCommand =>
  new PutObjectCommand({
    Bucket: bucket,
    Key: key,
    Body: bytes,
    ContentLength: bytes.byteLength,
    ContentType: "application/octet-stream",
    ChecksumSHA256: checksum,
    ...encryption,
    ...(unless === undefined ? {} : { IfNoneMatch: unless }),
  });

/** The SDK repeats requests whose answer does not begin; an answer that breaks off is asked for again here. */
async function read(at: Bucket, key: string, name: string): Promise<Uint8Array> {
  const { requests, clock, ids } = at;
  for (let attempt = 1; ; attempt++) {
    const answer = await transfer(at, key);
    if (answer.outcome === "missing") throw new HoldpointError("corrupt", `the body ${key} is missing`);
    if (answer.outcome === "whole") {
      if (contentName(answer.bytes) === name) return answer.bytes;
      throw new HoldpointError("corrupt", `the body ${key} is not what its name says`);
    }
    if (attempt >= requests.attempts) {
      throw requests.failed(`the body ${key} broke off: ${errorInfo(answer.cause).message}`, answer.cause);
    }
    await clock.sleep(pauseMs(attempt - 1, PAUSE_MS.base, PAUSE_MS.cap, ids));
  }
}

type Transfer =
  | { readonly outcome: "whole"; readonly bytes: Uint8Array }
  | { readonly outcome: "missing" }
  | { readonly outcome: "broken"; readonly cause: unknown };

function transfer({ requests, bucket }: Bucket, key: string): Promise<Transfer> {
  return requests.call<Transfer>(
    async (client) => {
      const { Body } = await client.send(new GetObjectCommand({ Bucket: bucket, Key: key }));
      if (Body === undefined) return { outcome: "broken", cause: "an answer without a body" };
      try {
        const { buffer, byteOffset, byteLength } = await Body.transformToByteArray();
        return { outcome: "whole", bytes: new Uint8Array(buffer, byteOffset, byteLength) };
      } catch (cause) {
        return { outcome: "broken", cause };
      }
    },
    // Any other 404 is of the bucket, and says nothing about its objects.
    ({ name }) => (name === "NoSuchKey" ? { outcome: "missing" } : undefined),
  );
}

/** One page in memory at a time; whoever repeats this after a crash finds what is left. */
async function removeOld({ requests, bucket }: Bucket, above: string, which: OldBodies): Promise<void> {
  let after: string | undefined;
  do {
    const page = await requests.call((client) =>
      client.send(
        new ListObjectsV2Command({
          Bucket: bucket,
          Prefix: above,
          MaxKeys: PAGE_KEYS,
          ...(after === undefined ? {} : { ContinuationToken: after }),
        }),
      ),
    );
    const keys = (page.Contents ?? []).flatMap(({ Key }) => Key ?? []);
    const old = keys.filter((key) => isOld(key.slice(above.length).split("/")[0] ?? "", which));
    if (old.length > 0) await removeKeys(requests, bucket, old);
    // Keys come in their order: whatever follows belongs to this generation or to a later one.
    if (!which.unplaced && (keys.at(-1) ?? "") >= above + generationPart(which.before)) return;
    after = page.NextContinuationToken;
    if (page.IsTruncated === true && after === undefined) throw requests.failed("a list breaks off");
  } while (after !== undefined);
}

/** @throws HoldpointError `unavailable` also when only some of the keys could not be removed */
async function removeKeys(requests: S3Requests, bucket: string, keys: readonly string[]): Promise<void> {
  const { Errors: errors = [] } = await requests.call((client) =>
    client.send(
      new DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects: keys.map((Key) => ({ Key })), Quiet: true } }),
    ),
  );
  const [first] = errors;
  if (first === undefined) return;
  const { Key, Code, Message } = first;
  throw requests.failed(
    `${errors.length} of ${keys.length} bodies could not be removed, the first ${Key}: ${Code}: ${Message}`,
  );
}
