/** Stands between workers and a DynamoDB-compatible server and counts what they ask for. */
import { Agent, createServer, request as forward } from "node:http";
import type { IncomingMessage } from "node:http";

export interface Counts {
  readonly reads: number;
  readonly writes: number;
  /** Attempts to take a thread, and how many of them came too late. */
  readonly claims: number;
  readonly failedClaims: number;
}

export interface MeteringProxy extends AsyncDisposable {
  readonly endpoint: string;
  /** Everything since the start. */
  counts(): Counts;
}

const READS = new Set(["GetItem", "BatchGetItem", "Query"]);

/** Starts one in front of the server at `target`. */
export async function startMeteringProxy(target: string): Promise<MeteringProxy> {
  const counts = { reads: 0, writes: 0, claims: 0, failedClaims: 0 };
  // The name of a claim stands on the header from then on: only its first write is the claim.
  const owners = new Set<string>();
  const agent = new Agent({ keepAlive: true, maxSockets: 256 });
  const server = createServer((request, response) => {
    const fail = (): void => void response.destroy();
    void bodyOf(request).then((body) => {
      const operation = String(request.headers["x-amz-target"]).split(".")[1] ?? "";
      counts[READS.has(operation) ? "reads" : "writes"] += 1;
      const owner = operation === "PutItem" ? ownerOf(body) : undefined;
      const isClaim = owner !== undefined && !owners.has(owner);
      if (isClaim) {
        owners.add(owner);
        counts.claims += 1;
      }
      const passed = forward(target, { agent, method: "POST", headers: request.headers }, (answer) => {
        // Whatever else may be wrong with a claim would be repeated by its client.
        if (isClaim && answer.statusCode === 400) counts.failedClaims += 1;
        response.writeHead(answer.statusCode ?? 502, answer.headers);
        answer.pipe(response).on("error", fail);
      });
      passed.on("error", fail).end(body);
    }, fail);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the proxy has no port");
  return {
    endpoint: `http://127.0.0.1:${address.port}`,
    counts: () => ({ ...counts }),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
      agent.destroy();
    },
  };
}

async function bodyOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of request) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks);
}

/** Who holds the thread after this write, if it writes a thread's header: JSON inside of JSON, and so with escaped quotes. */
function ownerOf(body: Buffer): string | undefined {
  const text = body.toString("utf8");
  return text.includes('"sk":{"S":"H"}') ? /\\"owner\\":\\"([^"\\]+)\\"/.exec(text)?.[1] : undefined;
}
