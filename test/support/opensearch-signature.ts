/**
 * Whether a request is signed with Signature Version 4, computed here from what arrived, as AWS describes it and without
 * any library: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
 */
import { createHash, createHmac } from "node:crypto";
import type { IncomingMessage } from "node:http";

export interface ArrivedRequest {
  readonly method: string;
  /** Path and query. */
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
}

export interface ExpectedSigner {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly region: string;
  readonly service: string;
}

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
const hmac = (key: string | Buffer, text: string): Buffer => createHmac("sha256", key).update(text).digest();

/** Undefined when the signature is right; else what is wrong with it. */
export function whatIsWrong(request: ArrivedRequest, signer: ExpectedSigner): string | undefined {
  const { headers, body } = request;
  const form =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, SignedHeaders=([^,]+), Signature=([0-9a-f]{64})$/;
  const [, key, day = "", region = "", service = "", names = "", signature] =
    form.exec(headers.authorization ?? "") ?? [];
  if (signature === undefined) return "there is no signature";
  if (key !== signer.accessKeyId) return "another key";
  if (region !== signer.region || service !== signer.service) return `for ${service} in ${region}`;
  const signed = names.split(";");
  for (const name of ["host", "x-amz-content-sha256", "x-amz-date"])
    if (!signed.includes(name)) return `${name} is not signed`;
  if (headers["x-amz-security-token"] !== undefined && !signed.includes("x-amz-security-token"))
    return "the session's token is not signed";
  if (headers["x-amz-content-sha256"] !== sha256(body)) return "another body";
  const date = String(headers["x-amz-date"]);
  if (date.slice(0, 8) !== day) return "another day";
  const [path = "", query = ""] = request.url.split("?");
  const canonical = [
    request.method,
    path.split("/").map(encodeURIComponent).join("/"),
    query
      .split("&")
      .filter((part) => part !== "")
      .map((part) => {
        const [name = "", value = ""] = part.split("=").map(decodeURIComponent);
        return `${encodeURIComponent(name)}=${encodeURIComponent(value)}`;
      })
      .toSorted()
      .join("&"),
    ...signed.map((name) => `${name}:${String(headers[name]).trim().replace(/ +/g, " ")}`),
    "",
    names,
    sha256(body),
  ].join("\n");
  const scope = `${day}/${region}/${service}/aws4_request`;
  const toSign = ["AWS4-HMAC-SHA256", date, scope, sha256(canonical)].join("\n");
  const parts = [day, region, service, "aws4_request"];
  const signingKey = parts.reduce<string | Buffer>(
    (secret, part) => hmac(secret, part),
    `AWS4${signer.secretAccessKey}`,
  );
  return hmac(signingKey, toSign).toString("hex") === signature ? undefined : "another signature";
}

/** The body of a request, whole. */
export async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk as Uint8Array));
  return Buffer.concat(chunks).toString("utf8");
}
