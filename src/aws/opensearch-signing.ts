/** Requests to Amazon OpenSearch, signed with Signature Version 4. */
import { createHash, createHmac } from "node:crypto";
import { defaultProvider } from "@aws-sdk/credential-provider-node";
import { SignatureV4 } from "@smithy/signature-v4";
import type { Clock } from "../core/clock.ts";
import type { SignableRequest, SignRequest } from "./opensearch-requests.ts";

/** What a signature is for: a domain of Amazon OpenSearch Service, or a collection of OpenSearch Serverless. */
export type SigningService = "es" | "aoss";

export interface SigningOptions {
  readonly service: SigningService;
  readonly region: string;
  readonly clock: Clock;
  /** Undefined: as the SDK finds them. */
  readonly credentials?: {
    readonly accessKeyId: string;
    readonly secretAccessKey: string;
    readonly sessionToken?: string;
  };
}

/** Signs requests; credentials are looked for with the first one, and again before they expire. */
export function createRequestSigner({ service, region, clock, credentials }: SigningOptions): SignRequest {
  const signer = new SignatureV4({ service, region, credentials: credentials ?? defaultProvider(), sha256: Sha256 });
  return async ({ method, url, headers, body }: SignableRequest) => {
    const request = {
      method,
      protocol: url.protocol,
      hostname: url.hostname,
      path: url.pathname,
      query: Object.fromEntries(url.searchParams),
      headers: { ...headers, host: url.host },
      body,
    };
    const signed = await signer.sign(request, { signingDate: new Date(clock.wall()) });
    // `fetch` writes the host itself, as it was signed.
    const { host: _, ...rest } = signed.headers;
    return rest;
  };
}

/** As the signer asks for it: a plain hash, or one with a secret. */
class Sha256 {
  readonly #hash: ReturnType<typeof createHash> | ReturnType<typeof createHmac>;

  constructor(secret?: string | ArrayBuffer | ArrayBufferView) {
    this.#hash = secret === undefined ? createHash("sha256") : createHmac("sha256", bytesOf(secret));
  }

  update(data: Uint8Array): void {
    this.#hash.update(data);
  }

  async digest(): Promise<Uint8Array> {
    return this.#hash.digest();
  }

  reset(): void {
    throw new Error("a hash is used once");
  }
}

function bytesOf(secret: string | ArrayBuffer | ArrayBufferView): string | Uint8Array {
  if (typeof secret === "string") return secret;
  return ArrayBuffer.isView(secret)
    ? new Uint8Array(secret.buffer, secret.byteOffset, secret.byteLength)
    : new Uint8Array(secret);
}
