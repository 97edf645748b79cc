/** A topic of Amazon SNS that signs what it sends, with a certificate of its own making. */
import { generateKeyPairSync, sign } from "node:crypto";
import type { SnsCertificates } from "../../src/core/sns-signature.ts";

export const TOPIC = "arn:aws:sns:eu-central-1:123456789012:parcels";
export const CERTIFICATE_URL = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-a1b2.pem";

export interface Topic {
  readonly certificates: SnsCertificates;
  /** Addresses at which certificates were asked for. */
  readonly asked: readonly string[];
  /** The message with its signature; `fields` stand over what is signed by default. */
  signed(fields: Readonly<Record<string, string>>, version?: "1" | "2"): Readonly<Record<string, string>>;
}

const YEAR_MS = 365 * 24 * 3_600_000;
const DEFAULTS = { MessageId: "m1", TopicArn: TOPIC, Timestamp: "2026-01-01T00:00:00.000Z" };

/** `until`: when its certificate ends, in milliseconds since 1970. */
export function createTopic(until = Date.now() + YEAR_MS): Topic {
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const spki = publicKey.export({ type: "spki", format: "der" });
  const pem = certificate({ spki, from: until - 2 * YEAR_MS, until }, (text) => sign("sha256", text, privateKey));
  const asked: string[] = [];
  return {
    asked,
    certificates: {
      async get(url) {
        asked.push(url);
        return pem;
      },
    },
    signed(fields, version = "1") {
      const message: Readonly<Record<string, string>> = { ...DEFAULTS, ...fields };
      const text = Object.keys(message)
        .toSorted()
        .map((name) => `${name}\n${message[name]}\n`)
        .join("");
      const signature = sign(version === "1" ? "RSA-SHA1" : "RSA-SHA256", Buffer.from(text), privateKey);
      return {
        ...message,
        SignatureVersion: version,
        Signature: signature.toString("base64"),
        SigningCertURL: CERTIFICATE_URL,
      };
    },
  };
}

interface About {
  readonly spki: Uint8Array;
  readonly from: number;
  readonly until: number;
}

/** X.509 (RFC 5280), of nobody and by nobody, in PEM. */
function certificate({ spki, from, until }: About, signs: (text: Uint8Array) => Uint8Array): string {
  const sha256WithRsa = der(0x30, Buffer.from("06092a864886f70d01010b0500", "hex"));
  const nobody = der(0x30);
  const validity = der(0x30, time(from), time(until));
  const serial = der(0x02, Buffer.from([1]));
  const body = der(0x30, serial, sha256WithRsa, nobody, validity, nobody, spki);
  const whole = der(0x30, body, sha256WithRsa, der(0x03, Buffer.from([0]), signs(body)));
  const lines = whole.toString("base64").match(/.{1,64}/g) ?? [];
  return ["-----BEGIN CERTIFICATE-----", ...lines, "-----END CERTIFICATE-----", ""].join("\n");
}

const time = (ms: number): Buffer =>
  der(0x18, Buffer.from(`${new Date(ms).toISOString().slice(0, 19).replaceAll(/[-:T]/g, "")}Z`));

/** Tag, length, value. */
function der(tag: number, ...parts: readonly Uint8Array[]): Buffer {
  const value = Buffer.concat(parts);
  const bytes = value.length < 0x80 ? 0 : value.length < 0x100 ? 1 : 2;
  const length = Buffer.alloc(bytes === 0 ? 1 : bytes);
  length.writeUIntBE(value.length, 0, length.length);
  return Buffer.concat([Buffer.from(bytes === 0 ? [tag] : [tag, 0x80 + bytes]), length, value]);
}
