/** Tokens that say something and that nobody can make up: HMAC-SHA-256 over what they say, by what they are for. */
import { createHmac, timingSafeEqual } from "node:crypto";
import type { Json } from "./json.ts";

/** What a token is for, and its version: the first part of it. A secret signs for each of them apart. */
export interface TokenKind {
  readonly use: string;
  readonly version: string;
}

export function signedToken({ use, version }: TokenKind, says: Json, secret: Uint8Array): string {
  const said = Buffer.from(JSON.stringify(says)).toString("base64url");
  return `${version}.${said}.${signature({ use, version }, said, secret).toString("base64url")}`;
}

/** What a token says; undefined for one that none of these secrets has signed for this use. */
export function openedToken(kind: TokenKind, token: string, secrets: readonly Uint8Array[]): Json | undefined {
  const [version, said = "", signed = ""] = token.split(".");
  const given = Buffer.from(signed, "base64url");
  if (version !== kind.version || !secrets.some((secret) => isSame(given, signature(kind, said, secret))))
    return undefined;
  return JSON.parse(Buffer.from(said, "base64url").toString("utf8")) as Json; // as it was signed above
}

const signature = ({ use, version }: TokenKind, said: string, secret: Uint8Array): Buffer =>
  createHmac("sha256", secret).update(`holdpoint ${use} ${version} ${said}`).digest();

const isSame = (a: Uint8Array, b: Uint8Array): boolean => a.length === b.length && timingSafeEqual(a, b);
