/** What only S3 does: its requests are counted, fail, break off and lie; every answer comes from a server on loopback. */
import { Readable } from "node:stream";
import { HeadObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { assertBucketExists, createS3Blobs, ensureBucket } from "../../src/aws/s3-blobs.ts";
import type { S3BlobsOptions } from "../../src/aws/s3-blobs.ts";
import { systemClock } from "../../src/core/clock.ts";
import { systemIds, tenantId, threadId } from "../../src/core/ids.ts";
import type { Blobs } from "../../src/storage/blobs.ts";
import { contentName } from "../../src/storage/keys.ts";
import { startFakeS3 } from "../support/fake-s3.ts";
import type { FakeS3, S3Fault, S3Operation } from "../support/fake-s3.ts";

const BUCKET = "bodies";
const owner = { tenant: tenantId("acme"), threadId: threadId("case-1"), generation: 2 };
const bytes = Uint8Array.from({ length: 300_000 }, (_, i) => i % 251);
const large = Uint8Array.from({ length: 2_500_000 }, (_, i) => i % 241);
const keyOf = (name: string): string => `acme/case-1/000002/${name}`;

let s3: FakeS3;
let blobs: Blobs & Disposable;
const optionsOf = (options: Partial<S3BlobsOptions> = {}): S3BlobsOptions => ({
  bucket: BUCKET,
  region: "us-east-1",
  endpoint: s3.endpoint,
  clock: systemClock,
  ids: systemIds,
  maxAttempts: 3,
  requestTimeoutMs: 400,
  silenceMs: 300,
  ...options,
});
beforeEach(async () => {
  s3 = await startFakeS3(BUCKET);
  blobs = createS3Blobs(optionsOf());
});
afterEach(async () => {
  blobs[Symbol.dispose]();
  await s3[Symbol.asyncDispose]();
});

const operations = (): readonly S3Operation[] => s3.seen.map(({ operation }) => operation);
/** The first `times` requests of an operation go wrong. */
const first = (operation: S3Operation, times: number, fault: S3Fault): void =>
  s3.fault((request) => (request.operation === operation && request.index < times ? fault : undefined));

describe("a body in S3", () => {
  it("lies under tenant, thread and generation, with its checksum, and with the encryption that was asked for", async () => {
    using encrypting = createS3Blobs(optionsOf({ prefix: "here/", kmsKeyId: "key-1" }));
    const name = await encrypting.put(owner, bytes);
    const stored = s3.objects(BUCKET).get(`here/${keyOf(name)}`);
    expect(stored?.checksums).toEqual({ sha256: Buffer.from(name, "hex").toString("base64") });
    expect(stored?.headers).toMatchObject({
      "x-amz-server-side-encryption": "aws:kms",
      "x-amz-server-side-encryption-aws-kms-key-id": "key-1",
    });
    const plain = await blobs.put(owner, bytes);
    expect(s3.objects(BUCKET).get(keyOf(plain))?.headers).not.toHaveProperty("x-amz-server-side-encryption");
  });

  it("costs one request, and when it is large a look that may spare the second upload", async () => {
    const name = await blobs.put(owner, bytes);
    expect(operations()).toEqual(["PutObject"]);
    expect(await blobs.put(owner, bytes)).toBe(name);
    expect(operations()).toEqual(["PutObject", "PutObject", "HeadObject"]);
    await blobs.put(owner, large);
    const before = s3.seen.length;
    await blobs.put(owner, large);
    expect(operations().slice(before)).toEqual(["HeadObject"]);
  });

  it.each([
    ["small", bytes],
    ["large", large],
  ])("that was damaged is whole again once it is put again: %s", async (_, body) => {
    const name = await blobs.put(owner, body);
    const objects = s3.objects(BUCKET);
    const stored = objects.get(keyOf(name));
    if (stored === undefined) throw new Error("nothing was stored");
    const damages = [
      { ...stored, bytes: stored.bytes.subarray(1) },
      { ...stored, bytes: Buffer.from(stored.bytes).fill(1, 0, 9), checksums: { sha256: "AA==" } },
      // Somebody's upload that carried no checksum: nothing says that it is ours.
      { ...stored, bytes: Buffer.from(stored.bytes).fill(1, 0, 9), checksums: {} },
    ];
    for (const damage of damages) {
      objects.set(keyOf(name), damage);
      await expect(blobs.get(owner, name)).rejects.toMatchObject({ code: "corrupt" });
      await blobs.put(owner, body);
      expect(await blobs.get(owner, name)).toEqual(body);
    }
  });

  it.each<[string, S3Operation, S3Fault, number]>([
    ["the server asks for less", "PutObject", { kind: "slowDown" }, 2],
    ["the connection breaks", "PutObject", { kind: "reset" }, 2],
    ["the answer is lost", "PutObject", { kind: "loseReply" }, 1],
    ["no answer comes", "PutObject", { kind: "hang" }, 1],
    ["the server asks for less when it is read", "GetObject", { kind: "slowDown" }, 2],
    ["the body breaks off", "GetObject", { kind: "resetInBody" }, 2],
    ["the body stands still", "GetObject", { kind: "hangInBody" }, 1],
    ["the connection breaks when it is read", "GetObject", { kind: "reset" }, 2],
  ])("is put and got although %s", async (_, operation, fault, times) => {
    first(operation, times, fault);
    const name = await blobs.put(owner, bytes);
    expect(await blobs.get(owner, name)).toEqual(bytes);
    expect(operations().filter((one) => one === operation)).toHaveLength(times + 1);
  });

  it.each<S3Fault>([
    { kind: "slowDown" },
    { kind: "reset" },
    { kind: "hang" },
    { kind: "refuse", status: 403, code: "AccessDenied" },
  ])("is `unavailable` as long as this lasts: $kind", async (fault) => {
    const name = await blobs.put(owner, bytes);
    s3.fault(() => fault);
    await expect(blobs.put(owner, large)).rejects.toMatchObject({ code: "unavailable" });
    await expect(blobs.put(owner, bytes)).rejects.toMatchObject({ code: "unavailable" });
    await expect(blobs.get(owner, name)).rejects.toMatchObject({ code: "unavailable" });
    await expect(blobs.removeOld(owner, { before: 9, unplaced: true })).rejects.toMatchObject({ code: "unavailable" });
  });

  it.each<S3Fault>([{ kind: "resetInBody" }, { kind: "hangInBody" }])(
    "whose transfer always breaks off is `unavailable` and never `corrupt`: $kind",
    async (fault) => {
      const name = await blobs.put(owner, bytes);
      s3.fault(() => fault);
      await expect(blobs.get(owner, name)).rejects.toMatchObject({
        code: "unavailable",
        message: expect.stringContaining(name) as string,
      });
      expect(operations().filter((one) => one === "GetObject")).toHaveLength(3);
    },
  );

  it.each<S3Fault>([{ kind: "truncated" }, { kind: "wrongContent" }])(
    "is `corrupt` when what comes whole is not what its name says: $kind",
    async (fault) => {
      const name = await blobs.put(owner, bytes);
      first("GetObject", 1, fault);
      await expect(blobs.get(owner, name)).rejects.toMatchObject({ code: "corrupt" });
    },
  );

  it("is not missing because its bucket is", async () => {
    using elsewhere = createS3Blobs(optionsOf({ bucket: "gone" }));
    await expect(elsewhere.get(owner, contentName(bytes))).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringContaining("NoSuchBucket") as string,
    });
  });
});

describe("removing bodies from S3", () => {
  const names = Array.from({ length: 2500 }, (_, n) => contentName(Buffer.from(`body ${n}`)));
  const fill = (prefix: string): void => {
    const stored = { bytes: Buffer.alloc(0), checksums: {}, headers: {} };
    for (const name of names) s3.objects(BUCKET).set(`${prefix}${name}`, stored);
  };

  it("goes page by page, and looks no further than the generation that lives", async () => {
    for (const generation of ["000000", "000003", "000004"]) fill(`acme/case-1/${generation}/`);
    fill("acme/case-10/000000/");
    await blobs.removeOld(owner, { before: 3, unplaced: false });
    expect(s3.objects(BUCKET).size).toBe(7500);
    expect(operations()).toEqual(Array.from({ length: 3 }, () => ["ListObjectsV2", "DeleteObjects"]).flat());
  });

  it("takes whatever bears no generation with it when it may", async () => {
    fill("acme/case-1/");
    fill("acme/case-1/000003/");
    await blobs.removeOld(owner, { before: 3, unplaced: true });
    expect([...s3.objects(BUCKET).keys()].every((key) => key.startsWith("acme/case-1/000003/"))).toBe(true);
    expect(s3.objects(BUCKET).size).toBe(2500);
  });

  it("fails when single keys could not be removed, and removes them when it is repeated", async () => {
    fill("acme/case-1/000000/");
    first("DeleteObjects", 2, { kind: "keepSome", keeps: (key) => key.endsWith("7") });
    const remove = (): Promise<void> => blobs.removeOld(owner, { before: 1, unplaced: true });
    await expect(remove()).rejects.toMatchObject({ code: "unavailable" });
    await expect(remove()).rejects.toThrow("InternalError");
    await remove();
    expect(s3.objects(BUCKET).size).toBe(0);
  });

  it("that was broken off goes on with what is left", async () => {
    fill("acme/case-1/000000/");
    s3.fault(({ operation, index }) => (operation === "ListObjectsV2" && index >= 1 ? { kind: "reset" } : undefined));
    const remove = (): Promise<void> => blobs.removeOld(owner, { before: 1, unplaced: true });
    await expect(remove()).rejects.toMatchObject({ code: "unavailable" });
    expect(s3.objects(BUCKET).size).toBe(1500);
    s3.fault(() => undefined);
    await remove();
    expect(s3.objects(BUCKET).size).toBe(0);
  });
});

describe("the bucket", () => {
  it("is asked for at the start, and made only where that was asked for", async () => {
    await assertBucketExists(optionsOf());
    await expect(assertBucketExists(optionsOf({ bucket: "gone" }))).rejects.toThrow("S3 bucket gone at http");
    await ensureBucket(optionsOf({ bucket: "new" }));
    await ensureBucket(optionsOf({ bucket: "new" }));
    await assertBucketExists(optionsOf({ bucket: "new" }));
    s3.fault(() => ({ kind: "refuse", status: 403, code: "AccessDenied" }));
    await expect(ensureBucket(optionsOf())).rejects.toMatchObject({ code: "unavailable" });
  });
});

describe("the fake of S3", () => {
  const client = () =>
    new S3Client({
      region: "us-east-1",
      endpoint: s3.endpoint,
      forcePathStyle: true,
      credentials: { accessKeyId: "local", secretAccessKey: "local" },
    });

  it("takes a stream as the SDK sends it, in chunks and with the checksum behind them", async () => {
    const Body = Readable.from([Buffer.from("one "), Buffer.from("two")]);
    await client().send(new PutObjectCommand({ Bucket: BUCKET, Key: "k", Body, ContentLength: 7 }));
    const { headers } = s3.seen[0] ?? {};
    expect(headers?.["x-amz-content-sha256"]).toBe("STREAMING-UNSIGNED-PAYLOAD-TRAILER");
    expect(s3.objects(BUCKET).get("k")?.bytes.toString()).toBe("one two");
    expect(Object.keys(s3.objects(BUCKET).get("k")?.checksums ?? {})).toEqual(["crc32"]);
  });

  it("refuses what does not match its checksum, and whoever did not sign", async () => {
    const wrong = new PutObjectCommand({ Bucket: BUCKET, Key: "k", Body: "abc", ChecksumSHA256: "AAAA" });
    await expect(client().send(wrong)).rejects.toMatchObject({ name: "BadDigest" });
    await expect(client().send(new HeadObjectCommand({ Bucket: BUCKET, Key: "k" }))).rejects.toMatchObject({
      name: "NotFound",
    });
    expect((await fetch(`${s3.endpoint}/${BUCKET}/k`)).status).toBe(403);
  });
});
