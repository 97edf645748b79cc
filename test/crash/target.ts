/** Where webhooks arrive, in the process of the test: every message is verified, and some kill whoever sent them before they are answered. */
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { Webhook } from "standardwebhooks";

export interface Message {
  readonly id: string;
  readonly run: string;
}

export interface Target extends AsyncDisposable {
  readonly url: string;
  /** Everything that arrived and was verified with the secret of its path, in its order. */
  messages(): readonly Message[];
  /** What could not be verified. */
  forged(): readonly string[];
}

export interface TargetOptions {
  /** The secret of whoever is told at this path. */
  readonly secretOf: (path: string) => string | undefined;
  /** Called before a message is answered; what is not to be answered resolves to false. */
  readonly onMessage: (message: Message) => Promise<boolean>;
}

export async function openTarget({ secretOf, onMessage }: TargetOptions): Promise<Target> {
  const messages: Message[] = [];
  const forged: string[] = [];
  const receive = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    try {
      const message = await verified(request, secretOf(request.url ?? "") ?? "");
      messages.push(message);
      if (await onMessage(message)) response.end("<html>not JSON");
      else request.socket.destroy();
    } catch (error) {
      forged.push(String(error));
      response.writeHead(400).end();
    }
  };
  const server = createServer((request, response) => void receive(request, response));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo; // it listens
  return {
    url: `http://127.0.0.1:${port}`,
    messages: () => messages,
    forged: () => forged,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** @throws Error for a message that nobody with the secret has signed */
async function verified(request: IncomingMessage, secret: string): Promise<Message> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk as Uint8Array));
  const headers = request.headers as Record<string, string>; // none of these is repeated
  const event = new Webhook(secret).verify(Buffer.concat(chunks).toString("utf8"), headers) as {
    readonly data: { readonly run_id: string };
  };
  return { id: headers["webhook-id"] ?? "", run: event.data.run_id };
}
