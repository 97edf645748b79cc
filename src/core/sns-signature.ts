/**
 * Signatures of Amazon SNS, as its documentation says: over some of a message's fields, in their order, with the key of a
 * certificate that the message names. The address of that counts only where it is Amazon's, of the topic's own region.
 * https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html
 */
import { X509Certificate, verify } from "node:crypto";
import { HoldpointError } from "./errors.ts";
import type { JsonObject } from "./json.ts";

/** `checked`: where a message has one. */
export const SNS_SIGNATURES = ["ignored", "checked", "required"] as const;
export type SnsSignatures = (typeof SNS_SIGNATURES)[number];

/** Certificates of Amazon SNS, by their address. */
export interface SnsCertificates {
  /** PEM. @throws HoldpointError `unavailable` while it cannot be fetched */
  get(url: string): Promise<string>;
}

/** What is signed in a message, and how. */
export interface SnsSignature {
  readonly certificateUrl: string;
  readonly algorithm: "RSA-SHA1" | "RSA-SHA256";
  readonly text: string;
  readonly signature: Uint8Array;
}

const ALGORITHMS: Readonly<Record<string, SnsSignature["algorithm"]>> = { "1": "RSA-SHA1", "2": "RSA-SHA256" };
const PARTS = ["Signature", "SignatureVersion", "SigningCertURL"] as const;
const TOPIC = /^arn:aws(?:-[a-z-]+)?:sns:([a-z0-9-]{1,32}):\d{12}:[\w-]{1,256}(?:\.fifo)?$/;
const MAX_URL = 2048;

/** Region of a topic; undefined for what is none. */
export const regionOfTopic = (arn: string): string | undefined => TOPIC.exec(arn)?.[1];

/** Undefined for a message that has none. @throws HoldpointError `forbidden` for one that cannot be Amazon's */
export function snsSignatureOf(message: JsonObject): SnsSignature | undefined {
  if (PARTS.every((part) => message[part] === undefined)) return undefined;
  const [signature = "", version = "", certificateUrl = ""] = PARTS.map((part) => textOf(message, part));
  const algorithm = ALGORITHMS[version];
  if (algorithm === undefined) throw notGenuine("its version is neither 1 nor 2");
  if (!isAmazons(certificateUrl, regionOfTopic(textOf(message, "TopicArn") ?? "")))
    throw notGenuine("the address of its certificate is not one of Amazon SNS in the topic's region");
  return { certificateUrl, algorithm, text: signedText(message), signature: Buffer.from(signature, "base64") };
}

function isAmazons(address: string, region: string | undefined): boolean {
  if (region === undefined || address.length > MAX_URL || !URL.canParse(address)) return false;
  const url = new URL(address);
  const origins = [`https://sns.${region}.amazonaws.com`, `https://sns.${region}.amazonaws.com.cn`];
  const isBare = url.username === "" && url.password === "" && url.search === "" && url.hash === "";
  return isBare && origins.includes(url.origin) && /^\/[\w-]+\.pem$/.test(url.pathname);
}

/** What of a message is signed, by its type. */
function signedText(message: JsonObject): string {
  const isNotification = message["Type"] === "Notification";
  const names = isNotification
    ? ["Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"]
    : ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"];
  return names
    .flatMap((name) => {
      const value = textOf(message, name);
      return value === undefined ? [] : [`${name}\n${value}\n`];
    })
    .join("");
}

/** @throws HoldpointError `forbidden` for a signature that the certificate does not bear out, or not at this table time */
export function assertSignedWith({ algorithm, text, signature }: SnsSignature, pem: string, now: number): void {
  const certificate = certificateOf(pem);
  if (now < Date.parse(certificate.validFrom) || now > Date.parse(certificate.validTo))
    throw notGenuine("its certificate is not valid now");
  if (!verify(algorithm, Buffer.from(text), certificate.publicKey, signature))
    throw notGenuine("it is not that of this message");
}

function certificateOf(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw notGenuine("what its address names is no certificate", cause);
  }
}

export function notGenuine(why: string, cause?: unknown): HoldpointError {
  const what = `the signature of this message of Amazon SNS does not count: ${why}`;
  return new HoldpointError("forbidden", what, cause === undefined ? {} : { cause });
}

function textOf(message: JsonObject, name: string): string | undefined {
  const value = message[name];
  return typeof value === "string" ? value : undefined;
}
