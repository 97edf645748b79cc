import { createServer } from "node:http";
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/** A call that has reached its destination and whose answer is being kept back. */
export interface KeptAnswer {
  readonly method: string;
  readonly key: string | undefined;
}

/**
 * Stands between the service and the ledger, as a slow network would: it passes every call on at once, and can keep
 * the answers back, so that a worker can be killed after the payment was made and before it learns of it.
 */
export interface Gate extends AsyncDisposable {
  readonly url: string;
  /** From now on answers to payments are kept back; resolves with the first. */
  keepNextAnswer(): Promise<KeptAnswer>;
  /** From now on nothing is passed on, as if the ledger were away; answers how often somebody has asked since. */
  close(): () => number;
  /** Lets every call and every answer through again. */
  open(): void;
}

export async function startGate(target: string): Promise<Gate> {
  let kept: PromiseWithResolvers<KeptAnswer> | undefined;
  let opened = Promise.withResolvers<void>();
  opened.resolve();
  let away: { asked: number } | undefined;

  const pass = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    if (away) {
      away.asked += 1;
      response.writeHead(503).end();
      return;
    }
    const answer = await forward(target, request);
    if (kept && request.method === "POST") {
      const key = request.headers["idempotency-key"];
      kept.resolve({ method: request.method, key: typeof key === "string" ? key : undefined });
      await opened.promise;
    }
    response.writeHead(answer.status, { "content-type": "application/json" });
    response.end(answer.body);
  };
  const server = createServer((request, response) => {
    pass(request, response).catch(() => response.destroy());
  });
  return {
    url: await listening(server),
    keepNextAnswer() {
      kept = Promise.withResolvers();
      opened = Promise.withResolvers();
      return kept.promise;
    },
    close() {
      const since = (away = { asked: 0 });
      return () => since.asked;
    },
    open() {
      away = undefined;
      kept = undefined;
      opened.resolve();
    },
    async [Symbol.asyncDispose]() {
      opened.resolve();
      const closed = new Promise((resolve) => server.once("close", resolve));
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

async function forward(
  target: string,
  request: IncomingMessage,
): Promise<{ readonly status: number; readonly body: string }> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of request as AsyncIterable<Uint8Array>) chunks.push(chunk);
  const key = request.headers["idempotency-key"];
  const answer = await fetch(new URL(request.url ?? "/", target), {
    method: request.method ?? "GET",
    headers: { "content-type": "application/json", ...(typeof key === "string" ? { "idempotency-key": key } : {}) },
    ...(chunks.length === 0 ? {} : { body: Buffer.concat(chunks) }),
  });
  return { status: answer.status, body: await answer.text() };
}

async function listening(server: Server): Promise<string> {
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", resolve);
  });
  // A server that listens on TCP has an address of this form.
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}
