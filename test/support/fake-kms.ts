/**
 * A server on loopback that speaks the part of KMS's protocol that wrapping data keys needs, and keeps the service's rules:
 * signed requests only; a data key opens only with the key and the encryption context with which it was wrapped.
 */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";

export interface KmsRequest {
  readonly operation: string;
  readonly body: KmsBody;
  /** How many requests of this operation came before it. */
  readonly index: number;
}

interface KmsBody {
  readonly KeyId?: string;
  readonly KeySpec?: string;
  readonly CiphertextBlob?: string;
  readonly EncryptionContext?: Readonly<Record<string, string>>;
}

/** `throttle`: 400 ThrottlingException, which the SDK repeats; `hang`: no answer ever comes. */
export type KmsFault = "throttle" | "hang" | "reset" | "fail";

export interface FakeKms extends AsyncDisposable {
  readonly endpoint: string;
  readonly seen: readonly KmsRequest[];
  /** Makes a key and returns its ARN; also found by what stands behind `key/`. */
  createKey(name: string): string;
  /** A disabled key neither wraps nor unwraps. */
  setEnabled(name: string, enabled: boolean): void;
  fault(faultOf: (request: KmsRequest) => KmsFault | undefined): void;
}

interface KmsKey {
  readonly arn: string;
  readonly secret: Uint8Array;
  enabled: boolean;
}

class KmsRefusal extends Error {
  readonly status: number;

  constructor(name: string, message = name, status = 400) {
    super(message);
    this.name = name;
    this.status = status;
  }
}

const ARN = "arn:aws:kms:us-east-1:111122223333:key/";

export async function startFakeKms(): Promise<FakeKms> {
  const keys = new Map<string, KmsKey>();
  const seen: KmsRequest[] = [];
  let faultOf: (request: KmsRequest) => KmsFault | undefined = () => undefined;

  const serve = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const body = JSON.parse(await textOf(incoming)) as KmsBody;
    const operation = String(incoming.headers["x-amz-target"]).replace("TrentService.", "");
    const index = seen.filter((one) => one.operation === operation).length;
    const request = { operation, body, index };
    seen.push(request);
    const fault = faultOf(request);
    if (fault === "hang") return;
    if (fault === "reset") return void response.destroy();
    const isSigned = String(incoming.headers.authorization).startsWith("AWS4-HMAC-SHA256 ");
    try {
      if (fault === "throttle") throw new KmsRefusal("ThrottlingException", "Rate exceeded");
      if (fault === "fail") throw new KmsRefusal("KMSInternalException", "an internal error", 500);
      if (!isSigned) throw new KmsRefusal("MissingAuthenticationTokenException");
      reply(response, 200, answerTo(keys, request));
    } catch (error) {
      if (!(error instanceof KmsRefusal)) throw error;
      reply(response, error.status, { __type: error.name, message: error.message });
    }
  };

  const server = createServer((request, response) => {
    void serve(request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the server has no port");
  return {
    endpoint: `http://127.0.0.1:${address.port}`,
    seen,
    createKey(name) {
      keys.set(ARN + name, { arn: ARN + name, secret: randomBytes(32), enabled: true });
      return ARN + name;
    },
    setEnabled: (name, enabled) => (keyOf(keys, name).enabled = enabled),
    fault: (decide) => (faultOf = decide),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

function keyOf(keys: ReadonlyMap<string, KmsKey>, id: string): KmsKey {
  const key = keys.get(id.startsWith(ARN) ? id : ARN + id);
  if (key === undefined) throw new KmsRefusal("NotFoundException", `Key '${id}' does not exist`);
  return key;
}

function usable(key: KmsKey): KmsKey {
  if (!key.enabled) throw new KmsRefusal("DisabledException", `${key.arn} is disabled.`);
  return key;
}

function answerTo(keys: ReadonlyMap<string, KmsKey>, { operation, body }: KmsRequest): object {
  switch (operation) {
    case "GenerateDataKey": {
      if (body.KeySpec !== "AES_256") throw new KmsRefusal("ValidationException", "1 validation error detected");
      const key = usable(keyOf(keys, body.KeyId ?? ""));
      const plaintext = randomBytes(32);
      return { KeyId: key.arn, Plaintext: plaintext.toString("base64"), CiphertextBlob: wrap(key, plaintext, body) };
    }
    case "Decrypt": {
      const blob = Buffer.from(body.CiphertextBlob ?? "", "base64");
      const key = keys.get(blob.subarray(1, 1 + (blob[0] ?? 0)).toString());
      if (key === undefined) throw new KmsRefusal("InvalidCiphertextException");
      if (body.KeyId !== undefined && keyOf(keys, body.KeyId) !== key) throw new KmsRefusal("IncorrectKeyException");
      return { KeyId: key.arn, Plaintext: unwrap(usable(key), blob, body).toString("base64") };
    }
    default:
      throw new KmsRefusal("UnknownOperationException");
  }
}

const contextOf = ({ EncryptionContext: context = {} }: KmsBody): Buffer =>
  Buffer.from(JSON.stringify(Object.entries(context).toSorted(([a], [b]) => (a < b ? -1 : 1))));

/** Length of the ARN, the ARN, nonce, ciphertext, tag. */
function wrap({ arn, secret }: KmsKey, plaintext: Uint8Array, body: KmsBody): string {
  const nonce = randomBytes(12);
  const cipher = createCipheriv("aes-256-gcm", secret, nonce);
  cipher.setAAD(contextOf(body));
  const sealed = [cipher.update(plaintext), cipher.final(), cipher.getAuthTag()];
  return Buffer.concat([Uint8Array.of(arn.length), Buffer.from(arn), nonce, ...sealed]).toString("base64");
}

function unwrap({ secret }: KmsKey, blob: Buffer, body: KmsBody): Buffer {
  const rest = blob.subarray(1 + (blob[0] ?? 0));
  try {
    const decipher = createDecipheriv("aes-256-gcm", secret, rest.subarray(0, 12), { authTagLength: 16 });
    decipher.setAAD(contextOf(body));
    decipher.setAuthTag(rest.subarray(-16));
    return Buffer.concat([decipher.update(rest.subarray(12, -16)), decipher.final()]);
  } catch {
    throw new KmsRefusal("InvalidCiphertextException");
  }
}

function reply(response: ServerResponse, status: number, body: object): void {
  response.writeHead(status, { "content-type": "application/x-amz-json-1.1", "x-amzn-requestid": "0" });
  response.end(JSON.stringify(body));
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk as Uint8Array));
  return Buffer.concat(chunks).toString("utf8");
}
