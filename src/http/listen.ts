import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Clock } from "../core/clock.ts";
import { HoldpointError, errorInfo } from "../core/errors.ts";

/** How long connections may take to end once nothing new is accepted. */
const CLOSE_MS = 5_000;

/** Starts to listen and returns the URL. @throws HoldpointError `unavailable`, one line that names the address */
export async function listen(server: Server, at: { readonly host: string; readonly port: number }): Promise<string> {
  const { host, port } = at;
  try {
    server.listen(port, host);
    await once(server, "listening");
  } catch (cause) {
    const inUse = cause instanceof Error && "code" in cause && cause.code === "EADDRINUSE";
    const reason = inUse ? "is in use; choose another with --port" : `cannot be used (${errorInfo(cause).message})`;
    throw new HoldpointError("unavailable", `port ${port} of ${host} ${reason}`, { cause });
  }
  // A server that listens on TCP has an address of this form.
  const address = server.address() as AddressInfo;
  return `http://${host.includes(":") ? `[${host}]` : host}:${address.port}`;
}

/** Nothing new is accepted; what is being answered may end; what then still hangs is cut. */
export async function closeServer(server: Server, clock: Clock): Promise<void> {
  const closed = once(server, "close");
  const ended = new AbortController();
  server.close();
  server.closeIdleConnections();
  const late = clock.sleep(CLOSE_MS, ended.signal);
  await Promise.race([closed, late]);
  ended.abort();
  server.closeAllConnections();
  await closed;
}
