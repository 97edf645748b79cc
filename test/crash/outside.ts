/**
 * The world outside, in the process of the test: it acts when it is asked to, remembers that it did, and survives every
 * kill. It honours idempotency keys, as a bank does, unless told not to.
 */
import { createServer } from "node:http";
import type { IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";

/** One real effect, and how often it was asked for. */
export interface Effect {
  readonly token: string;
  /** What it is, whatever its token: two effects of one name are one effect too many. */
  readonly what: string;
  readonly asked: number;
}

export interface Outside extends AsyncDisposable {
  readonly url: string;
  /** Everything that really happened, in its order. */
  effects(): readonly Effect[];
}

const REPLY_MS = 3;

export async function openOutside({ honoursKeys = true } = {}): Promise<Outside> {
  const effects: { token: string; what: string; asked: number }[] = [];
  const act = ({ token, what }: { readonly token: string; readonly what: string }): void => {
    const known = effects.find((effect) => effect.token === token);
    if (known) known.asked += 1;
    if (!known || !honoursKeys) effects.push({ token, what, asked: 1 });
  };
  const server = createServer((request, response) => {
    void textOf(request).then((text) => {
      // It has happened, whatever becomes of who asked.
      act(JSON.parse(text) as { token: string; what: string });
      setTimeout(() => response.end(JSON.stringify({ receipt: effects.length })), REPLY_MS);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    effects: () => effects,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk as Uint8Array));
  return Buffer.concat(chunks).toString("utf8");
}
