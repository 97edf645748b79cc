/** Every request of docs/operators.md, in its order, as it stands there. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import { expect, it } from "vitest";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import { eventually } from "../support/eventually.ts";
import { startService } from "../support/service.ts";

const GUIDE = readFileSync(join(import.meta.dirname, "../../docs/operators.md"), "utf8");

interface Snippet {
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly json: unknown;
  readonly status: number;
}

/** A request as in HTTP's own form, and the status with which it is answered as its last line. */
function snippetOf(text: string): Snippet {
  const lines = text.trim().split("\n");
  const [method = "", path = ""] = (lines[0] ?? "").split(" ");
  const body = lines.find((line) => line.startsWith("{"));
  const headers = lines.slice(1).flatMap((line) => {
    const [, name, value] = /^([\w-]+): (.+)$/.exec(line) ?? [];
    return name === undefined || value === undefined ? [] : [[name, value]];
  });
  return {
    method,
    path,
    headers: Object.fromEntries(headers) as Record<string, string>,
    json: body === undefined ? undefined : JSON.parse(body),
    status: Number(lines.at(-1)),
  };
}

const State = Annotation.Root({ waits: Annotation<boolean>() });

it("every request of the guide is answered as it says", async () => {
  let isBroken = true;
  const gate = Promise.withResolvers<void>();
  const graph = new StateGraph(State)
    .addNode("ship", async ({ waits }) => {
      if (waits) await gate.promise;
      else if (isBroken) throw new Error("no stock for order 17");
      return {};
    })
    .addEdge(START, "ship")
    .addEdge("ship", END)
    .compile();
  await using service = await startService({ graphs: createRegistry([registeredGraph("shop", graph)]) });
  const client = service.client("acme");
  const start = async (input: object): Promise<string> => {
    const { thread_id: thread } = await client.threads.create();
    return (await client.runs.create(thread, "shop", { input: { ...input } })).run_id;
  };
  const statusOf = async (run: string): Promise<unknown> =>
    ((await (await service.app.call("GET", `/v1/runs/${run}`)).json()) as { readonly status: unknown }).status;
  const failed = await start({});
  const active = await start({ waits: true });
  await eventually(async () => (await statusOf(failed)) === "error");
  await eventually(async () => (await statusOf(active)) === "running");
  const snippets = [...GUIDE.matchAll(/^```http\n(.*?)^```/gms)].map(([, text = ""]) => snippetOf(text));
  expect(snippets.length).toBeGreaterThan(5);
  for (const { method, path, headers, json, status } of snippets) {
    if (path.includes("retry")) isBroken = false;
    if (path.includes("{parked}")) {
      await eventually(async () => (await statusOf(active)) === "parked");
      gate.resolve();
    }
    const ids: Readonly<Record<string, string>> = { failed, active, parked: active };
    const filled = path.replaceAll(/\{(\w+)\}/g, (_, name: string) => ids[name] ?? name);
    const response = await eventually(async () => {
      const answer = await service.app.call(method, filled, { headers, ...(json === undefined ? {} : { json }) });
      // The thread of a run that was stopped moves on a moment later.
      return answer.status === 409 && path.includes("resume") ? undefined : answer;
    });
    expect([path, response.status]).toEqual([path, status]);
    if (method === "GET" && !path.includes("{failed}/"))
      expect(await response.text()).toContain(path.includes("errors") ? "no stock for order 17" : failed);
  }
});
