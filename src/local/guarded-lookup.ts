/**
 * Looking names up for connections to addresses that others name. What is connected to is what was checked: a name that
 * resolves to another address by then (DNS rebinding) reaches nothing.
 */
import { lookup as dnsLookup } from "node:dns";
import type { LookupAddress } from "node:dns";
import type { LookupFunction } from "node:net";
import { callbackify } from "node:util";
import { isPublicAddress } from "../core/webhook-address.ts";

/** Resolves names, as `dns.lookup` with `all` does. */
export type Resolve = (host: string) => Promise<readonly LookupAddress[]>;

export const notPublic = (address: string): string => `the address ${address} is not public`;

export const resolveAll: Resolve = (host) =>
  new Promise((resolve, reject) => {
    dnsLookup(host, { all: true, order: "verbatim" }, (error, addresses) =>
      error ? reject(error) : resolve(addresses),
    );
  });

/** One address that is not public is enough to refuse a name: nobody publishes such by accident. */
async function reachable(host: string, resolve: Resolve, isAllowed: boolean): Promise<readonly LookupAddress[]> {
  const addresses = await resolve(host);
  const refused = isAllowed ? undefined : addresses.find(({ address }) => !isPublicAddress(address));
  if (refused) throw new Error(notPublic(refused.address));
  if (addresses.length === 0) throw new Error("the name has no address");
  return addresses;
}

/** For the `lookup` of a request. `isAllowed`: wherever the host is. */
export function guardedLookup(resolve: Resolve, isAllowed: boolean): LookupFunction {
  const look = callbackify(reachable);
  return (host, options, done) =>
    look(host, resolve, isAllowed, (error: Error | null, addresses?: readonly LookupAddress[]) => {
      const [first] = addresses ?? [];
      if (error || !first) done(error ?? new Error("the name has no address"), "", 0);
      else if (options.all === true) done(null, [...(addresses ?? [])]);
      else done(null, first.address, first.family);
    });
}
