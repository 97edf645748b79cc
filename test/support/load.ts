/** Clients that ask at a given pace, whether they are answered or not, and what they were answered. */
import { Agent, request as httpRequest } from "node:http";

export interface Answer {
  readonly status: number;
  readonly ms: number;
  readonly retryAfter: string | undefined;
  readonly text: string;
}

export interface Caller extends Disposable {
  /** @throws Error when the connection breaks */
  call(method: string, path: string, json?: unknown, headers?: Readonly<Record<string, string>>): Promise<Answer>;
}

/** Connections are kept, as those of a load balancer are. */
export function createCaller(url: string): Caller {
  const agent = new Agent({ keepAlive: true, maxSockets: 1000 });
  return {
    call(method, path, json, headers = {}) {
      const began = performance.now();
      const body = json === undefined ? undefined : Buffer.from(JSON.stringify(json));
      const content = body && { "content-type": "application/json", "content-length": String(body.length) };
      return new Promise((resolve, reject) => {
        const request = httpRequest(
          `${url}${path}`,
          { method, agent, headers: { ...headers, ...content } },
          (response) => {
            const chunks: Buffer[] = [];
            response.on("data", (chunk: Buffer) => chunks.push(chunk));
            response.on("error", reject);
            response.on("end", () =>
              resolve({
                status: response.statusCode ?? 0,
                ms: performance.now() - began,
                retryAfter: response.headers["retry-after"],
                text: Buffer.concat(chunks).toString("utf8"),
              }),
            );
          },
        );
        request.on("error", reject);
        request.end(body);
      });
    },
    [Symbol.dispose]: () => agent.destroy(),
  };
}

/** Begins `work` so many times a second for so long, and waits for all of it. */
export async function atRate(perSecond: number, seconds: number, work: (n: number) => Promise<void>): Promise<void> {
  const began = performance.now();
  const all: Promise<void>[] = [];
  for (let n = 0; n < perSecond * seconds; n++) {
    const wait = began + (n * 1000) / perSecond - performance.now();
    if (wait > 1) await new Promise((resolve) => setTimeout(resolve, wait));
    all.push(work(n));
  }
  await Promise.all(all);
}

/** The value below which this share of them lies; 0 of none. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
}
