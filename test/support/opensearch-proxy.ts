/** An HTTP proxy in front of OpenSearch that does to its traffic what networks do, and what a busy server does. */
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { textOf } from "./opensearch-signature.ts";

/** One request on its way. */
export interface Passing {
  readonly method: string;
  /** Its last part, such as `_bulk`; the index itself is `index`. */
  readonly operation: string;
  readonly url: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
  /** How many requests came before it. */
  readonly count: number;
}

/** One action of a bulk write. */
export interface PassingAction {
  readonly verb: string;
  readonly id: string;
  readonly lines: string;
}

/**
 * What happens to it; it passes when undefined. `request`: the connection breaks at once. `reply`: it is applied, and the
 * connection breaks. `silence`: no reply ever comes, and nothing is applied.
 */
export type Fate =
  | { readonly lose: "request" | "reply" | "silence" }
  /** Text is sent as it is. */
  | { readonly status: number; readonly body?: object | string }
  /** Of a bulk write: the status of each action that is refused, and undefined for those that pass. */
  | { readonly refuse: (action: PassingAction) => number | undefined }
  /** It is forwarded with this body instead. */
  | { readonly rewrite: (body: string) => string }
  /** It is forwarded once this has resolved. */
  | { readonly after: Promise<unknown> };

export interface OpenSearchProxy extends AsyncDisposable {
  readonly endpoint: string;
  /** Every request that came in. */
  readonly seen: readonly Passing[];
  /** Every action of every bulk write that came in. */
  actions(): readonly PassingAction[];
}

export async function startOpenSearchProxy(
  target: string,
  fateOf: (passing: Passing) => Fate | undefined = () => undefined,
): Promise<OpenSearchProxy> {
  const seen: Passing[] = [];
  const server = createServer((request, response) => {
    const pass = async (): Promise<void> => {
      const passing = await passingOf(request, seen.length);
      seen.push(passing);
      await settle(target, passing, fateOf(passing), response);
    };
    void pass().catch(() => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the proxy has no port");
  return {
    endpoint: `http://127.0.0.1:${address.port}`,
    seen,
    actions: () => seen.filter(({ operation }) => operation === "_bulk").flatMap(({ body }) => actionsOf(body)),
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

async function passingOf(request: IncomingMessage, count: number): Promise<Passing> {
  const { method = "", url = "", headers } = request;
  const path = url.split("?")[0]?.split("/") ?? [];
  return { method, operation: path[2] ?? "index", url, headers, body: await textOf(request), count };
}

async function settle(
  target: string,
  passing: Passing,
  fate: Fate | undefined,
  response: ServerResponse,
): Promise<void> {
  if (fate === undefined) return answer(response, await forward(target, passing));
  if ("status" in fate) {
    const { status, body = {} } = fate;
    return answer(response, { status, text: typeof body === "string" ? body : JSON.stringify(body) });
  }
  if ("refuse" in fate) return answer(response, await forwardSome(target, passing, fate.refuse));
  if ("rewrite" in fate)
    return answer(response, await forward(target, { ...passing, body: fate.rewrite(passing.body) }));
  if ("after" in fate) {
    await fate.after;
    return answer(response, await forward(target, passing));
  }
  if (fate.lose === "silence") return;
  if (fate.lose === "reply") await forward(target, passing);
  response.destroy();
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

function answer(response: ServerResponse, { status, text }: Answer): void {
  response.writeHead(status, { "content-type": "application/json" }).end(text);
}

async function forward(target: string, { method, url, body }: Passing): Promise<Answer> {
  const headers = { "content-type": "application/json" };
  const sent = await fetch(`${target}${url}`, { method, headers, ...(body === "" ? {} : { body }) });
  return { status: sent.status, text: await sent.text() };
}

async function forwardSome(
  target: string,
  passing: Passing,
  refuse: (action: PassingAction) => number | undefined,
): Promise<Answer> {
  const actions = actionsOf(passing.body).map((action) => ({ ...action, status: refuse(action) }));
  const body = actions.flatMap(({ status, lines }) => (status === undefined ? [lines] : [])).join("");
  const passed = body === "" ? { items: [] } : await items(target, { ...passing, body });
  const answers = passed.items.values();
  const merged = actions.map(({ verb, id, status }) => {
    const error = { type: "rejected_execution_exception", reason: "refused on the way" };
    return status === undefined ? answers.next().value : { [verb]: { _id: id, status, error } };
  });
  return { status: 200, text: JSON.stringify({ errors: true, items: merged }) };
}

async function items(target: string, passing: Passing): Promise<{ readonly items: readonly unknown[] }> {
  const { text } = await forward(target, passing);
  return JSON.parse(text) as { readonly items: readonly unknown[] };
}

function actionsOf(body: string): readonly PassingAction[] {
  const lines = body.split("\n").filter((line) => line !== "");
  const actions: PassingAction[] = [];
  for (let at = 0; at < lines.length;) {
    const head = JSON.parse(lines[at] ?? "{}") as Readonly<Record<string, { readonly _id: string }>>;
    const [verb = "", { _id: id } = { _id: "" }] = Object.entries(head)[0] ?? [];
    const length = verb === "delete" ? 1 : 2;
    actions.push({ verb, id, lines: `${lines.slice(at, at + length).join("\n")}\n` });
    at += length;
  }
  return actions;
}
