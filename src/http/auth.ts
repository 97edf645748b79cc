import type { Request } from "express";
import { HoldpointError } from "../core/errors.ts";
import { tenantId } from "../core/ids.ts";
import { allows } from "../core/principal.ts";
import type { Action, Principal } from "../core/principal.ts";
import type { ApiKeys } from "../storage/api-keys.ts";

/** Decides who asks. A principal comes from here and from nothing else (I8). */
export interface Authenticator {
  /** Refuses requests that are answered to nobody, open routes included. @throws HoldpointError `forbidden` */
  admit(request: Request): void;
  /** @throws HoldpointError `unauthenticated`, `unavailable` */
  authenticate(request: Request): Promise<Principal>;
}

/** Deny by default: a request goes on only if one of the principal's roles grants the action. */
export async function authorized(auth: Authenticator, request: Request, action: Action): Promise<Principal> {
  const principal = await auth.authenticate(request);
  if (!allows(principal, action))
    throw new HoldpointError("forbidden", "Not authorized", { detail: { needs: action } });
  return principal;
}

/** API keys, sent as `x-api-key` or as a bearer token. */
export function keyAuthenticator(keys: ApiKeys): Authenticator {
  return {
    admit: () => {},
    async authenticate(request) {
      const presented = request.get("x-api-key") ?? bearerOf(request);
      const principal = presented === undefined ? undefined : await keys.verify(presented);
      if (!principal)
        throw new HoldpointError("unauthenticated", "Not authenticated: send a valid API key in x-api-key");
      return principal;
    },
  };
}

function bearerOf(request: Request): string | undefined {
  return /^Bearer +(\S+)$/i.exec(request.get("authorization") ?? "")?.[1];
}

const LOCAL: Principal = { tenant: tenantId("default"), subject: "local", roles: ["admin"], groups: [] };

/**
 * Without credentials: everybody on this machine is the local user, and nobody else is answered. A web page that a
 * browser on this machine has open is somebody else, so the `Host` must be a loopback name (DNS rebinding) and an
 * `Origin`, where there is one, loopback or one of `origins`.
 */
export function loopbackAuthenticator(options: { readonly origins?: readonly string[] } = {}): Authenticator {
  const origins = options.origins ?? [];
  const admit = (request: Request): void => {
    if (!isLoopbackAddress(request.socket.remoteAddress ?? ""))
      throw refusal("the request does not come from this machine");
    if (!isLoopbackHost(request.get("host") ?? "")) throw refusal("the Host header is not a loopback name");
    const origin = request.get("origin");
    if (origin !== undefined && !origins.includes(origin) && !isLoopbackOrigin(origin)) {
      throw refusal("the Origin is neither this machine nor one that was configured");
    }
  };
  return {
    admit,
    async authenticate(request) {
      admit(request);
      return LOCAL;
    },
  };
}

function refusal(reason: string): HoldpointError {
  return new HoldpointError("forbidden", `Not authorized: without API keys only this machine is served, and ${reason}`);
}

function isLoopbackAddress(address: string): boolean {
  return address === "::1" || /^(::ffff:)?127\.\d+\.\d+\.\d+$/.test(address);
}

function isLoopbackHost(host: string): boolean {
  return URL.canParse(`http://${host}`) && isLoopbackName(new URL(`http://${host}`).hostname);
}

function isLoopbackOrigin(origin: string): boolean {
  return URL.canParse(origin) && isLoopbackName(new URL(origin).hostname);
}

function isLoopbackName(hostname: string): boolean {
  return (
    hostname === "localhost" || hostname.endsWith(".localhost") || hostname === "[::1]" || isLoopbackAddress(hostname)
  );
}
