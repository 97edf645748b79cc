/**
 * Amazon Bedrock's runtime on loopback, at the level of the wire, for the real SDK: Converse, ConverseStream with its
 * frames, InvokeModel of embedding models. It keeps the service's rules (signed for this region with credentials that hold,
 * turns that alternate, results that match calls, counts only behind the end of a message) and does, at each request,
 * what a test tells it. What it says is told by tests as well: it has no model behind it.
 *
 * Where the real service may differ: docs/models.md.
 */
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as pause } from "node:timers/promises";
import { embed } from "./fake-embeddings.ts";
import { BedrockRefusal, checkConverse } from "./fake-bedrock-rules.ts";
import type { ConverseBody } from "./fake-bedrock-rules.ts";
import { framesOf, messageOf } from "./fake-bedrock-turns.ts";
import type { FakeTurn } from "./fake-bedrock-turns.ts";
import { damaged, exceptionFrame } from "./event-stream.ts";

export interface BedrockRequest {
  readonly operation: "Converse" | "ConverseStream" | "InvokeModel";
  readonly model: string;
  readonly body: ConverseBody;
  /** How many requests came before it. */
  readonly index: number;
}

/** What happens to a request, or to its answer. `after`: so many frames of a stream come before it. */
export type BedrockFault =
  | { readonly kind: "throttle" }
  | { readonly kind: "refuse"; readonly status: number; readonly type: string; readonly message?: string }
  | { readonly kind: "hang" | "reset" | "halfBody" }
  | { readonly kind: "exception"; readonly type: string; readonly after: number }
  | { readonly kind: "badCrc" | "hangInStream" | "resetInStream" | "end"; readonly after: number };

export interface FakeBedrock extends AsyncDisposable {
  readonly endpoint: string;
  readonly region: string;
  /** Every request that came in and was signed. */
  readonly seen: readonly BedrockRequest[];
  /** Connections of requests that were left by the client before they were answered. */
  abandoned(): number;
  /** What the model says from now on. */
  says(turnOf: (request: BedrockRequest) => FakeTurn): void;
  /** What happens to requests from now on. */
  fault(faultOf: (request: BedrockRequest) => BedrockFault | undefined): void;
}

export interface FakeBedrockOptions {
  readonly region?: string;
  readonly models?: (model: string) => boolean;
}

/** Starts one; every model is there unless told otherwise. */
export async function startFakeBedrock({
  region = "us-east-1",
  models = () => true,
}: FakeBedrockOptions = {}): Promise<FakeBedrock> {
  const seen: BedrockRequest[] = [];
  let turnOf: (request: BedrockRequest) => FakeTurn = () => ({ text: "Hello." });
  let faultOf: (request: BedrockRequest) => BedrockFault | undefined = () => undefined;
  let abandoned = 0;

  const serve = async (incoming: IncomingMessage, response: ServerResponse): Promise<void> => {
    const raw = await bytesOf(incoming);
    try {
      checkSignature(incoming, region);
      const request = { ...callOf(incoming, raw), index: seen.length };
      if (!models(request.model))
        throw new BedrockRefusal(400, "ValidationException", "The provided model identifier is invalid.");
      seen.push(request);
      response.once("close", () => (abandoned += response.writableFinished ? 0 : 1));
      await answer(request, response, { turnOf, fault: faultOf(request) });
    } catch (error) {
      if (!(error instanceof BedrockRefusal)) throw error;
      sendJson(response, error.status, { message: error.message }, { "x-amzn-errortype": error.type });
    }
  };
  const server = createServer((request, response) => {
    void serve(request, response).catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo; // it listens
  return {
    endpoint: `http://127.0.0.1:${port}`,
    region,
    seen,
    abandoned: () => abandoned,
    says: (decide) => (turnOf = decide),
    fault: (decide) => (faultOf = decide),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** What the service says of a signature, as far as a client can get it wrong by its configuration. */
function checkSignature({ headers }: IncomingMessage, region: string): void {
  const { authorization = "" } = headers;
  const scope = /^AWS4-HMAC-SHA256 Credential=[^/]+\/\d{8}\/([^/]+)\/bedrock\/aws4_request, /.exec(authorization);
  if (!scope) throw new BedrockRefusal(403, "MissingAuthenticationTokenException", "Missing Authentication Token");
  if (scope[1] !== region)
    throw new BedrockRefusal(
      403,
      "InvalidSignatureException",
      `Credential should be scoped to a valid region, not '${scope[1]}'.`,
    );
  if (headers["x-amz-security-token"] === "expired")
    throw new BedrockRefusal(403, "ExpiredTokenException", "The security token included in the request is expired");
  if (authorization.includes("Credential=UNKNOWN/"))
    throw new BedrockRefusal(
      403,
      "UnrecognizedClientException",
      "The security token included in the request is invalid.",
    );
}

const OPERATIONS = { converse: "Converse", "converse-stream": "ConverseStream", invoke: "InvokeModel" } as const;

function callOf({ url = "/", method }: IncomingMessage, raw: Buffer): Omit<BedrockRequest, "index"> {
  const [, model = "", path = ""] = /^\/model\/([^/]+)\/([\w-]+)$/.exec(url) ?? [];
  if (method !== "POST" || !Object.hasOwn(OPERATIONS, path))
    throw new BedrockRefusal(404, "UnknownOperationException", "");
  const operation = OPERATIONS[path as keyof typeof OPERATIONS]; // a key, as was just seen
  return { operation, model: decodeURIComponent(model), body: JSON.parse(raw.toString("utf8")) as ConverseBody };
}

interface Told {
  readonly turnOf: (request: BedrockRequest) => FakeTurn;
  readonly fault: BedrockFault | undefined;
}

async function answer(request: BedrockRequest, response: ServerResponse, { turnOf, fault }: Told): Promise<void> {
  switch (fault?.kind) {
    case "throttle":
      throw new BedrockRefusal(429, "ThrottlingException", "Too many requests, please wait before trying again.");
    case "refuse":
      throw new BedrockRefusal(fault.status, fault.type, fault.message ?? fault.type);
    case "hang":
      return;
    case "reset":
      return void response.destroy();
    case "halfBody":
    case "exception":
    case "badCrc":
    case "hangInStream":
    case "resetInStream":
    case "end":
    case undefined:
  }
  if (request.operation === "InvokeModel") return sendJson(response, 200, embed(request.model, { ...request.body }));
  checkConverse(request.body);
  const turn = turnOf(request);
  if (turn.delayMs !== undefined) await pause(turn.delayMs);
  if (request.operation === "ConverseStream")
    return sendStream(response, framesOf(turn, request.body), { turn, fault });
  const body = Buffer.from(JSON.stringify(messageOf(turn, request.body)));
  if (fault?.kind !== "halfBody") return sendJson(response, 200, messageOf(turn, request.body));
  response.writeHead(200, { "content-type": "application/json", "content-length": body.length });
  response.write(body.subarray(0, body.length / 2), () => response.destroy());
}

interface Sending {
  readonly turn: FakeTurn;
  readonly fault: BedrockFault | undefined;
}

async function sendStream(
  response: ServerResponse,
  frames: readonly Buffer[],
  { turn, fault }: Sending,
): Promise<void> {
  response.writeHead(200, { "content-type": "application/vnd.amazon.eventstream", "x-amzn-requestid": "fake" });
  const until = fault && "after" in fault ? fault.after : frames.length;
  for (const frame of frames.slice(0, until)) {
    response.write(frame);
    if (turn.betweenMs !== undefined) await pause(turn.betweenMs);
  }
  switch (fault?.kind) {
    case "exception":
      return void response.end(exceptionFrame(fault.type, "The service failed in the middle of its answer."));
    case "badCrc":
      for (const [at, frame] of frames.slice(until).entries()) response.write(at === 0 ? damaged(frame) : frame);
      return void response.end();
    case "hangInStream":
      return;
    case "resetInStream":
      return void setImmediate(() => response.socket?.resetAndDestroy());
    case "end":
    case "throttle":
    case "refuse":
    case "hang":
    case "reset":
    case "halfBody":
    case undefined:
      return void response.end();
  }
}

function sendJson(
  response: ServerResponse,
  status: number,
  body: object,
  headers: Readonly<Record<string, string>> = {},
): void {
  const bytes = Buffer.from(JSON.stringify(body));
  response.writeHead(status, { "content-type": "application/json", "content-length": bytes.length, ...headers });
  response.end(bytes);
}

async function bytesOf(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(Buffer.from(chunk as Uint8Array));
  return Buffer.concat(chunks);
}
