/** Stands between a saver and DynamoDB Local and computes what its requests would cost. */
import { Agent, createServer, request as forward } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { StorageCall } from "./contender.ts";
import { createUnitMeter } from "./dynamo-units.ts";

export interface UnitProxy extends AsyncDisposable {
  readonly endpoint: string;
  /** Every request since the start, in the order of their ends. */
  readonly calls: readonly StorageCall[];
  /** Bytes of all items that were written through it and are still there. */
  bytes(): number;
}

/** Starts one in front of the server at `target`. */
export async function startUnitProxy(target: string): Promise<UnitProxy> {
  const meter = createUnitMeter();
  const calls: StorageCall[] = [];
  const agent = new Agent({ keepAlive: true });

  async function pass(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const start = performance.now();
    const body = await bodyOf(request);
    const answer = await new Promise<IncomingMessage>((resolve, reject) => {
      const passed = forward(target, { agent, method: "POST", headers: request.headers }, resolve);
      passed.on("error", reject).end(body);
    });
    const answered = await bodyOf(answer);
    if (answer.statusCode === 200) {
      const operation = String(request.headers["x-amz-target"]).split(".")[1] ?? "";
      const units = meter.units(operation, parsed(body), parsed(answered));
      calls.push({ start, end: performance.now(), ...units, requests: 1, written: [] });
    }
    response.writeHead(answer.statusCode ?? 502, answer.headers).end(answered);
  }

  const server = createServer((request, response) => {
    pass(request, response).catch((error: unknown) => {
      console.error(error);
      response.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the proxy has no port");
  return {
    endpoint: `http://127.0.0.1:${address.port}`,
    calls,
    bytes: () => meter.bytes(),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
      agent.destroy();
    },
  };
}

const parsed = (body: Buffer): Readonly<Record<string, unknown>> =>
  JSON.parse(body.toString("utf8")) as Readonly<Record<string, unknown>>;

async function bodyOf(message: IncomingMessage): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of message) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks);
}
