/**
 * Where webhooks may go: `https`, and no address of this machine, this network or its cloud's metadata. The address is
 * what counts, and it is checked where the connection is made: a name may resolve to another one by then.
 */
import { HoldpointError } from "./errors.ts";

const MAX_URL = 2048;

/** First address, and length of the prefix. Everything that is not the public internet (IANA special-purpose registry). */
const REFUSED_IPV4: readonly (readonly [string, number])[] = [
  ["0.0.0.0", 8],
  ["10.0.0.0", 8],
  ["100.64.0.0", 10],
  ["127.0.0.0", 8],
  ["169.254.0.0", 16],
  ["172.16.0.0", 12],
  ["192.0.0.0", 24],
  ["192.0.2.0", 24],
  ["192.88.99.0", 24],
  ["192.168.0.0", 16],
  ["198.18.0.0", 15],
  ["198.51.100.0", 24],
  ["203.0.113.0", 24],
  ["224.0.0.0", 3],
];

const IPV4 = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/;

function ipv4Number(text: string): number | undefined {
  const parts = IPV4.exec(text)?.slice(1).map(Number);
  if (!parts || parts.some((part) => part > 255)) return undefined;
  return parts.reduce((all, part) => all * 256 + part, 0);
}

/** True for an address on the public internet. What is not understood is not public. */
export function isPublicAddress(address: string): boolean {
  const v4 = ipv4Number(address);
  if (v4 !== undefined) return !REFUSED_IPV4.some(([first, bits]) => isWithin(v4, ipv4Number(first) ?? 0, bits));
  return isPublicIpv6(address);
}

const isWithin = (address: number, first: number, bits: number): boolean =>
  Math.floor(address / 2 ** (32 - bits)) === Math.floor(first / 2 ** (32 - bits));

/**
 * Global unicast (2000::/3) without what tunnels or documents: so neither ::1, fc00::/7, fe80::/10, fd00:ec2::254, nor
 * an IPv4 address in any of its disguises (::ffff:0:0/96, 64:ff9b::/96, 2002::/16, 2001::/32).
 */
function isPublicIpv6(address: string): boolean {
  const [first = "", second = ""] = address.toLowerCase().split(":");
  if (!/^[0-9a-f]{4}$/.test(first) || !/^[0-9a-f]{0,4}$/.test(second)) return false;
  const [head, next] = [Number.parseInt(first, 16), Number.parseInt(second || "0", 16)];
  if (head < 0x2000 || head > 0x3fff) return false;
  if (head === 0x2001 && (next < 0x200 || next === 0xdb8)) return false;
  return head !== 0x2002 && head !== 0x3ffe && !(head === 0x3fff && next < 0x1000);
}

/** The host of a URL as it is compared: without brackets, in small letters. */
export const hostOf = (url: URL): string => url.hostname.replace(/^\[|\]$/g, "").replace(/\.$/, "");

/**
 * The address of a webhook. `allowed`: hosts that may be reached wherever they are, without TLS as well.
 * @throws HoldpointError `invalid` naming what is wrong
 */
export function parseHookUrl(text: string, allowed: readonly string[]): URL {
  if (text.length > MAX_URL) throw new HoldpointError("invalid", `the webhook's URL is longer than ${MAX_URL}`);
  if (!URL.canParse(text)) throw new HoldpointError("invalid", "the webhook's URL is not an absolute URL");
  const url = new URL(text);
  const host = hostOf(url);
  if (url.protocol !== "https:" && url.protocol !== "http:")
    throw new HoldpointError("invalid", "the webhook's URL is neither https nor http");
  if (url.username !== "" || url.password !== "")
    throw new HoldpointError("invalid", "the webhook's URL carries credentials");
  if (allowed.includes(host)) return url;
  if (url.protocol !== "https:") throw new HoldpointError("invalid", "the webhook's URL must be https");
  const isLiteral = IPV4.test(host) || host.includes(":");
  const isLocalName = host === "localhost" || /\.(localhost|local|internal)$/.test(host);
  if (isLocalName || (isLiteral && !isPublicAddress(host)))
    throw new HoldpointError("invalid", "the webhook's URL names an address that is not public");
  return url;
}
