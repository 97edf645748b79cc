import { once } from "node:events";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Clock } from "../core/clock.ts";
import { HoldpointError, errorInfo } from "../core/errors.ts";

/** How long connections may take to end once nothing new is accepted. */
const CLOSE_MS = 5_000;
const CLOSE_POLL_MS = 20;

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
  const closed = new AbortController();
  server.close(() => closed.abort());
  const deadline = clock.monotonic() + CLOSE_MS;
  while (!closed.signal.aborted && clock.monotonic() < deadline) {
    // A connection that is kept alive becomes idle only when its last answer has ended.
    server.closeIdleConnections();
    await clock.sleep(CLOSE_POLL_MS, closed.signal);
  }
  if (closed.signal.aborted) return;
  server.closeAllConnections();
  await once(server, "close");
}
