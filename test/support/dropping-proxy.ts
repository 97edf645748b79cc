/** An HTTP proxy in front of a DynamoDB server that does to its traffic what networks do, and what throttling does. */
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";

export type Body = Record<string, unknown>;

/** One request on its way. */
export interface Passing {
  /** `PutItem`, `Query`, … */
  readonly operation: string;
  readonly body: Body;
  /** How many requests of this operation came before it. */
  readonly index: number;
}

/** What happens to it; nothing when undefined. */
export interface Fate {
  /** `reply`: it is applied and the connection breaks. `request`: the connection breaks at once. `silence`: it is applied, and no reply ever comes. */
  readonly lose?: "reply" | "request" | "silence";
  /** The request is forwarded with this body instead. */
  readonly body?: Body;
  /** What the server's answer becomes. */
  readonly rewrite?: (answer: Body) => Body;
  /** Answered in the server's place. */
  readonly answer?: { readonly status: number; readonly body: Body };
  /** Headers of the answer that are replaced. */
  readonly headers?: Readonly<Record<string, string>>;
}

export interface DroppingProxy extends AsyncDisposable {
  readonly endpoint: string;
  /** Every request that came in. */
  readonly seen: readonly Passing[];
}

export async function startDroppingProxy(
  target: string,
  fateOf: (passing: Passing) => Fate | undefined,
): Promise<DroppingProxy> {
  const seen: Passing[] = [];
  const counts = new Map<string, number>();
  const server = createServer((request, response) => {
    void pass({ target, request, response, seen, counts, fateOf }).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the proxy has no port");
  return {
    endpoint: `http://127.0.0.1:${address.port}`,
    seen,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

interface Exchange {
  readonly target: string;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly seen: Passing[];
  /** By operation. */
  readonly counts: Map<string, number>;
  readonly fateOf: (passing: Passing) => Fate | undefined;
}

async function pass({ target, request, response, seen, counts, fateOf }: Exchange): Promise<void> {
  const body = parse(await textOf(request));
  const operation = String(request.headers["x-amz-target"]).split(".")[1] ?? "";
  const index = counts.get(operation) ?? 0;
  counts.set(operation, index + 1);
  const passing = { operation, body, index };
  seen.push(passing);
  const fate = fateOf(passing) ?? {};
  if (fate.lose === "request") return void response.destroy();
  const answer = fate.answer ?? (await forward(target, request, fate.body ?? body));
  if (fate.lose === "silence") return;
  if (fate.lose === "reply") return void response.destroy();
  const answered = fate.rewrite === undefined ? answer.body : fate.rewrite(answer.body);
  response.writeHead(answer.status, { "content-type": "application/x-amz-json-1.0", ...fate.headers });
  response.end(JSON.stringify(answered));
}

async function forward(target: string, request: IncomingMessage, body: Body): Promise<{ status: number; body: Body }> {
  const headers = Object.entries(request.headers).flatMap(([name, value]): [string, string][] =>
    typeof value === "string" && !HOP_HEADERS.has(name) ? [[name, value]] : [],
  );
  const answer = await fetch(target, { method: "POST", headers, body: JSON.stringify(body) });
  return { status: answer.status, body: parse(await answer.text()) };
}

/** Belong to one connection or to the bytes as they were, not to the message. */
const HOP_HEADERS = new Set(["host", "connection", "content-length", "transfer-encoding", "expect"]);

async function textOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk as Uint8Array));
  return Buffer.concat(chunks).toString("utf8");
}

function parse(text: string): Body {
  const parsed: unknown = text === "" ? {} : JSON.parse(text);
  if (typeof parsed !== "object" || parsed === null) throw new Error("not an object");
  return parsed as Body;
}
