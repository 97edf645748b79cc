/**
 * A server on loopback that speaks the part of S3's REST protocol that the Blob port needs, path-style, and keeps the
 * service's rules: signed requests only, checksums verified, keys listed in the order of their bytes, at most 1,000 at once.
 * Faults are told to it per request.
 */
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { contentOf, headerOf, S3Refusal } from "./fake-s3-body.ts";
import type { Checksums } from "./fake-s3-body.ts";

export type S3Operation =
  | "PutObject"
  | "GetObject"
  | "HeadObject"
  | "ListObjectsV2"
  | "DeleteObjects"
  | "HeadBucket"
  | "CreateBucket";

/** One request that came in. */
export interface S3Request {
  readonly operation: S3Operation;
  readonly key: string;
  /** How many requests of this operation came before it. */
  readonly index: number;
  readonly headers: Readonly<IncomingMessage["headers"]>;
}

/** What happens to a request, or to its answer. */
export type S3Fault =
  | { readonly kind: "slowDown" } // 503, which the SDK repeats
  | { readonly kind: "refuse"; readonly status: number; readonly code: string }
  | { readonly kind: "reset" } // the connection breaks, nothing has happened
  | { readonly kind: "loseReply" } // it is applied, and the connection breaks
  | { readonly kind: "hang" } // it is applied, and no answer ever comes
  | { readonly kind: "resetInBody" | "hangInBody" } // half of the body comes
  | { readonly kind: "truncated" | "wrongContent" } // a whole answer with a body that is not the object
  | { readonly kind: "keepSome"; readonly keeps: (key: string) => boolean }; // DeleteObjects: errors of single keys

interface StoredObject {
  readonly bytes: Buffer;
  readonly checksums: Checksums;
  readonly headers: Readonly<Record<string, string>>;
}

export interface FakeS3 extends AsyncDisposable {
  readonly endpoint: string;
  /** Every request that came in. */
  readonly seen: readonly S3Request[];
  /** Objects of a bucket, by key: to look at, and to do damage. */
  objects(bucket: string): Map<string, StoredObject>;
  /** Decides what happens to the requests from now on. */
  fault(faultOf: (request: S3Request) => S3Fault | undefined): void;
}

const PAGE_KEYS = 1000;
const MAX_KEY_BYTES = 1024;

/** Starts one with the given buckets. */
export async function startFakeS3(...buckets: readonly string[]): Promise<FakeS3> {
  const stored = new Map<string, Map<string, StoredObject>>(buckets.map((name) => [name, new Map()]));
  const seen: S3Request[] = [];
  let faultOf: (request: S3Request) => S3Fault | undefined = () => undefined;
  const server = createServer((request, response) => {
    void serve(request, response).catch(() => response.destroy());
  });

  const serve = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const raw = await bytesOf(incoming);
    const call = callOf(incoming, raw);
    const index = seen.filter(({ operation }) => operation === call.operation).length;
    const request = { operation: call.operation, key: call.key, index, headers: incoming.headers };
    seen.push(request);
    const fault = faultOf(request);
    if (fault?.kind === "reset") return void response.destroy();
    let answer: Answer;
    try {
      if (fault?.kind === "slowDown") throw new S3Refusal(503, "SlowDown", "Please reduce your request rate.");
      if (fault?.kind === "refuse") throw new S3Refusal(fault.status, fault.code);
      answer = answerTo(stored, call, fault);
    } catch (error) {
      if (!(error instanceof S3Refusal)) throw error;
      answer = { status: error.status, body: call.headless ? "" : errorXml(error), headers: XML };
    }
    await send(response, answer, fault);
  };

  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  return {
    endpoint: `http://127.0.0.1:${address.port}`,
    seen,
    objects: (bucket) => objectsOf(stored, bucket),
    fault: (decide) => (faultOf = decide),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

interface Call {
  readonly operation: S3Operation;
  readonly bucket: string;
  readonly key: string;
  readonly query: URLSearchParams;
  readonly headers: IncomingMessage["headers"];
  readonly raw: Buffer;
  /** Answers to HEAD have no body, not even an error's. */
  readonly headless: boolean;
}

interface Answer {
  readonly status: number;
  readonly body?: string | Buffer;
  readonly headers?: Readonly<Record<string, string>>;
}

const XML = { "content-type": "application/xml" };

function callOf(request: IncomingMessage, raw: Buffer): Call {
  const url = new URL(request.url ?? "/", "http://localhost");
  const [, bucket = "", ...rest] = url.pathname.split("/");
  const key = decodeURIComponent(rest.join("/"));
  const { method = "", headers } = request;
  const operation = operationOf(method, key, url.searchParams);
  return { operation, bucket, key, query: url.searchParams, headers, raw, headless: method === "HEAD" };
}

function operationOf(method: string, key: string, query: URLSearchParams): S3Operation {
  const name = `${method} ${key === "" ? "bucket" : "object"}${query.has("delete") ? " delete" : ""}`;
  const operations: Readonly<Record<string, S3Operation>> = {
    "PUT object": "PutObject",
    "GET object": "GetObject",
    "HEAD object": "HeadObject",
    "GET bucket": "ListObjectsV2",
    "POST bucket delete": "DeleteObjects",
    "HEAD bucket": "HeadBucket",
    "PUT bucket": "CreateBucket",
  };
  const operation = operations[name];
  if (operation === undefined) throw new Error(`${name} is not served here`);
  return operation;
}

function objectsOf(stored: Map<string, Map<string, StoredObject>>, bucket: string): Map<string, StoredObject> {
  const objects = stored.get(bucket);
  if (objects === undefined) throw new S3Refusal(404, "NoSuchBucket");
  return objects;
}

function answerTo(stored: Map<string, Map<string, StoredObject>>, call: Call, fault: S3Fault | undefined): Answer {
  if (!(headerOf(call.headers, "authorization") ?? "").startsWith("AWS4-HMAC-SHA256 "))
    throw new S3Refusal(403, "AccessDenied");
  if (Buffer.byteLength(call.key) > MAX_KEY_BYTES) throw new S3Refusal(400, "KeyTooLongError");
  if (call.operation === "CreateBucket") {
    if (stored.has(call.bucket)) throw new S3Refusal(409, "BucketAlreadyOwnedByYou");
    stored.set(call.bucket, new Map());
    return { status: 200 };
  }
  const objects = objectsOf(stored, call.bucket);
  switch (call.operation) {
    case "HeadBucket":
      return { status: 200 };
    case "PutObject":
      return putObject(objects, call);
    case "GetObject":
    case "HeadObject":
      return getObject(objects, call);
    case "ListObjectsV2":
      return listObjects(objects, call);
    case "DeleteObjects":
      return deleteObjects(objects, call, fault?.kind === "keepSome" ? fault.keeps : () => false);
  }
}

function putObject(objects: Map<string, StoredObject>, { key, headers, raw }: Call): Answer {
  const { bytes, checksums } = contentOf(headers, raw);
  if (headerOf(headers, "if-none-match") === "*" && objects.has(key)) throw new S3Refusal(412, "PreconditionFailed");
  const kept = ["content-type", "x-amz-server-side-encryption", "x-amz-server-side-encryption-aws-kms-key-id"];
  const entries = kept.flatMap((name): [string, string][] => {
    const value = headerOf(headers, name);
    return value === undefined ? [] : [[name, value]];
  });
  objects.set(key, { bytes, checksums, headers: Object.fromEntries(entries) });
  return { status: 200, headers: { etag: etagOf(bytes) } };
}

function getObject(objects: Map<string, StoredObject>, { key, headers }: Call): Answer {
  const object = objects.get(key);
  if (object === undefined) throw new S3Refusal(404, "NoSuchKey");
  const answered: Record<string, string> = { ...object.headers, etag: etagOf(object.bytes) };
  if (headerOf(headers, "x-amz-checksum-mode") === "ENABLED") {
    for (const [name, value] of Object.entries(object.checksums)) answered[`x-amz-checksum-${name}`] = value;
  }
  return { status: 200, body: object.bytes, headers: answered };
}

function listObjects(objects: Map<string, StoredObject>, { query }: Call): Answer {
  if (query.get("list-type") !== "2") throw new S3Refusal(400, "InvalidArgument");
  const prefix = query.get("prefix") ?? "";
  const limit = Math.min(PAGE_KEYS, Number(query.get("max-keys") ?? PAGE_KEYS));
  const token = query.get("continuation-token");
  const after = token === null ? undefined : Buffer.from(token, "base64url");
  const keys = [...objects.keys()]
    .filter((key) => key.startsWith(prefix))
    .map((key) => Buffer.from(key))
    .filter((key) => after === undefined || Buffer.compare(key, after) > 0)
    .toSorted((a, b) => Buffer.compare(a, b));
  const page = keys.slice(0, limit);
  const next = keys.length > limit ? page.at(-1)?.toString("base64url") : undefined;
  const contents = page.map((key) => `<Contents><Key>${escaped(key.toString())}</Key></Contents>`).join("");
  const more = `<IsTruncated>${next !== undefined}</IsTruncated>`;
  const token2 = next === undefined ? "" : `<NextContinuationToken>${next}</NextContinuationToken>`;
  const body = `<ListBucketResult><KeyCount>${page.length}</KeyCount>${more}${token2}${contents}</ListBucketResult>`;
  return { status: 200, body, headers: XML };
}

function deleteObjects(objects: Map<string, StoredObject>, call: Call, keeps: (key: string) => boolean): Answer {
  const { bytes, checksums } = contentOf(call.headers, call.raw);
  if (Object.keys(checksums).length === 0 && headerOf(call.headers, "content-md5") === undefined)
    throw new S3Refusal(400, "InvalidRequest", "Missing required header for this request: Content-MD5 or checksum");
  const text = bytes.toString("utf8");
  const keys = [...text.matchAll(/<Key>(.*?)<\/Key>/gs)].map(([, key = ""]) => unescaped(key));
  if (keys.length === 0 || keys.length > PAGE_KEYS) throw new S3Refusal(400, "MalformedXML");
  const quiet = text.includes("<Quiet>true</Quiet>");
  const entries = keys.map((key) => {
    const name = `<Key>${escaped(key)}</Key>`;
    if (keeps(key)) return `<Error>${name}<Code>InternalError</Code><Message>We encountered an error</Message></Error>`;
    objects.delete(key);
    return quiet ? "" : `<Deleted>${name}</Deleted>`;
  });
  return { status: 200, body: `<DeleteResult>${entries.join("")}</DeleteResult>`, headers: XML };
}

async function send(response: ServerResponse, answer: Answer, fault: S3Fault | undefined): Promise<void> {
  const body = Buffer.from(answer.body ?? "");
  switch (fault?.kind) {
    case "hang":
      return;
    case "loseReply":
      return void response.destroy();
    case "resetInBody":
    case "hangInBody":
      response.writeHead(answer.status, { ...answer.headers, "content-length": body.length });
      await new Promise<void>((resolve) => response.write(body.subarray(0, body.length / 2), () => resolve()));
      return fault.kind === "hangInBody" ? undefined : void response.destroy();
    case "truncated":
      return reply(response, answer, body.subarray(0, body.length / 2));
    case "wrongContent":
      return reply(
        response,
        answer,
        body.map((byte) => byte ^ 1),
      );
    case "slowDown":
    case "refuse":
    case "reset":
    case "keepSome":
    case undefined:
      return reply(response, answer, body);
  }
}

function reply(response: ServerResponse, { status, headers }: Answer, body: Uint8Array): void {
  response.writeHead(status, { ...headers, "x-amz-request-id": "0", "content-length": body.length });
  response.end(body);
}

const etagOf = (bytes: Uint8Array): string => `"${createHash("md5").update(bytes).digest("hex")}"`;

const errorXml = ({ code, message }: S3Refusal): string =>
  `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>${escaped(message)}</Message></Error>`;

const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
const unescaped = (text: string): string =>
  text.replaceAll("&quot;", '"').replaceAll("&gt;", ">").replaceAll("&lt;", "<").replaceAll("&amp;", "&");

async function bytesOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk as Uint8Array));
  return Buffer.concat(chunks);
}
