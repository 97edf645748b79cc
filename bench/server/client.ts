/** The same raw HTTP client for every server that is measured: keep-alive connections, no SDK, no retries. */
import { Agent, request } from "node:http";
import type { IncomingMessage } from "node:http";

export interface Client extends Disposable {
  /** Answers the whole body as JSON. @throws on any status above 299 */
  get(path: string): Promise<unknown>;
  /** Sends JSON and answers the whole body as JSON. @throws on any status above 299 */
  post(path: string, body: unknown): Promise<unknown>;
  /** Milliseconds from the request to the first complete event that carries data; the stream is read to its end. */
  firstEvent(path: string, body: unknown): Promise<number>;
  /** The events of a stream as they come. @throws on any status above 299 */
  events(path: string, body: unknown): AsyncGenerator<StreamedEvent>;
}

export interface StreamedEvent {
  readonly event: string;
  readonly data: unknown;
}

const TIMEOUT_MS = 60_000;

/** A client of the server at `http://127.0.0.1:<port>`, with an API key if it is given one. */
export function createClient(port: number, apiKey?: string): Client {
  const agent = new Agent({ keepAlive: true, maxSockets: 64 });
  const identity = apiKey === undefined ? {} : { "x-api-key": apiKey };

  function send(method: "GET" | "POST", path: string, body?: unknown): Promise<IncomingMessage> {
    const text = body === undefined ? "" : JSON.stringify(body);
    const content = { "content-type": "application/json", "content-length": Buffer.byteLength(text) };
    const headers = { ...identity, ...(body === undefined ? {} : content) };
    return new Promise((done, fail) => {
      const call = request({ agent, host: "127.0.0.1", port, path, method, headers, timeout: TIMEOUT_MS }, done);
      call.on("error", fail);
      call.on("timeout", () => call.destroy(new Error(`${method} ${path}: no answer in ${TIMEOUT_MS} ms`)));
      call.end(text);
    });
  }

  async function json(method: "GET" | "POST", path: string, body?: unknown): Promise<unknown> {
    const answer = await send(method, path, body);
    let text = "";
    for await (const chunk of answer.setEncoding("utf8")) text += String(chunk);
    if ((answer.statusCode ?? 500) > 299)
      throw new Error(`${method} ${path}: ${answer.statusCode} ${text.slice(0, 300)}`);
    return JSON.parse(text) as unknown;
  }

  async function* events(path: string, body: unknown): AsyncGenerator<StreamedEvent> {
    const answer = await send("POST", path, body);
    if ((answer.statusCode ?? 500) > 299) throw new Error(`POST ${path}: ${answer.statusCode}`);
    let text = "";
    for await (const chunk of answer.setEncoding("utf8")) {
      const parts = (text + String(chunk).replaceAll("\r\n", "\n")).split("\n\n");
      text = parts.pop() ?? "";
      yield* parts.flatMap(eventIn);
    }
  }

  return {
    events,
    get: (path) => json("GET", path),
    post: (path, body) => json("POST", path, body),
    async firstEvent(path, body) {
      const began = performance.now();
      const answer = await send("POST", path, body);
      let first: number | undefined;
      let text = "";
      for await (const chunk of answer.setEncoding("utf8")) {
        if (first !== undefined) continue;
        text += String(chunk);
        if (/^data:.*\r?\n\r?\n|^data:.*\r?\n(?:.+\r?\n)*\r?\n/m.test(text)) first = performance.now() - began;
      }
      if (first === undefined) throw new Error(`POST ${path}: ${answer.statusCode}, a stream without an event`);
      return first;
    },
    [Symbol.dispose]: () => agent.destroy(),
  };
}

/** The event of one part of a stream; none in a comment. */
function eventIn(part: string): readonly StreamedEvent[] {
  const event = /^event: ?(.*)$/m.exec(part)?.[1];
  const data = /^data: ?(.*)$/m.exec(part)?.[1];
  return event === undefined || data === undefined ? [] : [{ event, data: JSON.parse(data) as unknown }];
}
