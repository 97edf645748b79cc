/** A listening application and two tenants to call it. */
import type { AddressInfo } from "node:net";
import type { Server } from "node:http";
import { systemClock } from "../../src/core/clock.ts";
import type { Clock } from "../../src/core/clock.ts";
import { systemIds } from "../../src/core/ids.ts";
import type { Role } from "../../src/core/principal.ts";
import { createApp } from "../../src/http/app.ts";
import type { AppOptions } from "../../src/http/app.ts";
import { keyAuthenticator } from "../../src/http/auth.ts";
import { createHttpServer } from "../../src/http/server.ts";
import type { GraphRegistry } from "../../src/langgraph/registry.ts";
import type { Log } from "../../src/runtime/deps.ts";
import { emptyKeyFile, principalOf, withNewKey } from "../../src/storage/api-keys.ts";
import type { ApiKeys } from "../../src/storage/api-keys.ts";

export interface LogLine {
  readonly level: "debug" | "info" | "warn" | "error";
  readonly fields: Readonly<Record<string, unknown>>;
  readonly message: string;
}

/** A log that remembers. */
export function createMemoryLog(): Log & { readonly lines: LogLine[] } {
  const lines: LogLine[] = [];
  const at = (level: LogLine["level"]) => (fields: LogLine["fields"], message: string) =>
    void lines.push({ level, fields, message });
  return { lines, debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

export interface TestKey {
  readonly tenant: string;
  readonly subject: string;
  readonly roles: readonly Role[];
  readonly groups?: readonly string[];
  readonly expiresAt?: number;
}

/** Keys that exist in memory only: the verifier, and the text of each key in its order. */
export function createTestKeys(
  keys: readonly TestKey[],
  clock: Clock = systemClock,
): { readonly apiKeys: ApiKeys; readonly texts: readonly string[] } {
  let file = emptyKeyFile(systemIds);
  const texts = keys.map((key) => {
    const made = withNewKey(file, systemIds, { groups: [], env: "test", createdAt: clock.wall(), ...key });
    ({ file } = made);
    return made.key;
  });
  return { apiKeys: { verify: async (presented) => principalOf(file, presented, clock.wall()) }, texts };
}

/** Everything that may be asked of one tenant, and of another. */
export const TWO_TENANTS: readonly TestKey[] = [
  { tenant: "acme", subject: "alice", roles: ["admin"] },
  { tenant: "globex", subject: "gustav", roles: ["admin"] },
];

export const NO_GRAPHS: GraphRegistry = {
  get: () => undefined,
  failure: () => undefined,
  list: () => [],
  failures: () => [],
};

export interface Listening extends AsyncDisposable {
  readonly url: string;
  readonly server: Server;
}

/** Listens on a free port of this machine's loopback. */
export async function listen(server: Server): Promise<Listening> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    server,
    async [Symbol.asyncDispose]() {
      const closed = new Promise((resolve) => {
        server.close(resolve);
      });
      server.closeAllConnections();
      await closed;
    },
  };
}

export interface TestApp extends Listening {
  readonly log: ReturnType<typeof createMemoryLog>;
  key(of: "acme" | "globex"): string;
  /** A request as the first tenant (or as `as`), with JSON unless it has a body of its own. */
  call(method: string, path: string, options?: CallOptions): Promise<Response>;
}

export interface CallOptions {
  readonly json?: unknown;
  readonly body?: string | Uint8Array<ArrayBuffer>;
  readonly headers?: Readonly<Record<string, string>>;
  readonly as?: "acme" | "globex" | "nobody";
  readonly signal?: AbortSignal;
}

/** The application over the given runtime, with a key for each of two tenants. */
export async function startApp(options: Pick<AppOptions, "runtime"> & Partial<AppOptions>): Promise<TestApp> {
  const log = createMemoryLog();
  const { apiKeys, texts } = createTestKeys(TWO_TENANTS);
  const app = createApp({
    auth: keyAuthenticator(apiKeys),
    info: { version: "0.0.0", langgraphVersion: "0.0.0", graphs: NO_GRAPHS },
    ready: async () => ({ ready: true }),
    log,
    clock: systemClock,
    ids: systemIds,
    ...options,
  });
  const listening = await listen(createHttpServer(app));
  return {
    ...listening,
    log,
    key: (of) => keyOf(of, texts),
    call: (method, path, init = {}) => fetch(`${listening.url}${path}`, requestOf(method, init, texts)),
  };
}

function requestOf(
  method: string,
  { json, body, headers, as = "acme", signal }: CallOptions,
  keys: readonly string[],
): RequestInit {
  const key = as === "nobody" ? undefined : keyOf(as, keys);
  const content = json === undefined ? body : JSON.stringify(json);
  return {
    method,
    headers: {
      ...(key === undefined ? {} : { "x-api-key": key }),
      ...(json === undefined ? {} : { "content-type": "application/json" }),
      ...headers,
    },
    ...(content === undefined ? {} : { body: content }),
    ...(signal === undefined ? {} : { signal }),
  };
}

function keyOf(tenant: "acme" | "globex", keys: readonly string[]): string {
  const key = keys[tenant === "acme" ? 0 : 1];
  if (key === undefined) throw new Error(`there is no key of ${tenant}`);
  return key;
}
