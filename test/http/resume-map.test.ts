/** `command.resume` over HTTP: a map of interrupt ids, a bare answer, and right after the pause. */
import { Annotation, START, StateGraph } from "@langchain/langgraph";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Client } from "@langchain/langgraph-sdk";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import { askers } from "../support/askers.ts";
import { startService } from "../support/service.ts";
import type { Service } from "../support/service.ts";

const UNKNOWN = "0123456789abcdef0123456789abcdef";
const AGAIN = 30;

const State = Annotation.Root({
  text: Annotation<string>(),
  log: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
});
/** `one` asks; in `pair` two nodes ask side by side. */
const graphs = createRegistry([
  registeredGraph("one", askers(["ask"])),
  registeredGraph("pair", askers(["left", "right"])),
  registeredGraph(
    "echo",
    new StateGraph(State)
      .addNode("say", () => ({ log: ["said"] }))
      .addEdge(START, "say")
      .compile(),
  ),
]);

interface Interrupt {
  readonly id: string;
  readonly value: { readonly from: string };
}

let service: Service;
let client: Client;

beforeAll(async () => {
  service = await startService({ graphs });
  client = service.client("acme");
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
});

interface Asked {
  readonly threadId: string;
  /** Ids of the interrupts, by the node that asks. */
  readonly ids: Readonly<Record<string, string>>;
}

async function asked(graph: "one" | "pair"): Promise<Asked> {
  const { thread_id: threadId } = await client.threads.create();
  const values = await client.runs.wait(threadId, graph, { input: { text: "?" } });
  const { __interrupt__: interrupts = [] } = values as { readonly __interrupt__?: readonly Interrupt[] };
  return { threadId, ids: Object.fromEntries(interrupts.map(({ id, value }) => [value.from, id])) };
}

interface Answered {
  readonly status: number;
  readonly body: { readonly log?: readonly string[]; readonly detail?: string };
}

async function resume(
  threadId: string,
  answers: unknown,
  { graph = "pair", as = "acme" }: { readonly graph?: "one" | "pair"; readonly as?: "acme" | "globex" } = {},
): Promise<Answered> {
  const answer = await service.app.call("POST", `/threads/${threadId}/runs/wait`, {
    json: { assistant_id: graph, command: { resume: answers } },
    as,
  });
  return { status: answer.status, body: (await answer.json()) as Answered["body"] };
}

/** Who of the thread still waits for an answer. */
async function waiting(threadId: string): Promise<readonly string[]> {
  const { interrupts } = await client.threads.get(threadId);
  return Object.values(interrupts)
    .flatMap((some) => some.map(({ value }) => (value as Interrupt["value"]).from))
    .toSorted();
}

describe("a map of interrupt ids", () => {
  it("answers each of two interrupts with its own", async () => {
    const { threadId, ids } = await asked("pair");
    const { left = "", right = "" } = ids;
    expect(left).not.toBe(right);
    const { status, body } = await resume(threadId, { [right]: "R", [left]: { l: 1 } });
    expect({ status, log: body.log?.toSorted() }).toEqual({ status: 200, log: ['left {"l":1}', 'right "R"'] });
    expect(await waiting(threadId)).toEqual([]);
  });

  it("of one of them leaves the other waiting, for another map", async () => {
    const { threadId, ids } = await asked("pair");
    const { left = "", right = "" } = ids;
    expect((await resume(threadId, { [right]: "R" })).status).toBe(200);
    expect(await waiting(threadId)).toEqual(["left"]);
    // The one that was answered is not answered again.
    expect((await resume(threadId, { [right]: "R2", [left]: "L" })).status).toBe(409);
    expect(await waiting(threadId)).toEqual(["left"]);
    const { body } = await resume(threadId, { [left]: "L" });
    expect(body.log?.toSorted()).toEqual(['left "L"', 'right "R"']);
  });

  it.each([
    ["one right and one unknown id", ({ left = "" }: Asked["ids"]) => ({ [left]: "wrong", [UNKNOWN]: "wrong" })],
    ["an unknown id only", () => ({ [UNKNOWN]: "wrong" })],
    ["no id at all, where two wait", () => "wrong"],
  ])("of %s decides nothing", async (_, answers) => {
    const { threadId, ids } = await asked("pair");
    const { left = "", right = "" } = ids;
    expect((await resume(threadId, answers(ids))).status).toBe(409);
    expect(await waiting(threadId)).toEqual(["left", "right"]);
    expect((await client.threads.get(threadId)).status).toBe("interrupted");
    const { status, body } = await resume(threadId, { [left]: "L", [right]: "R" });
    expect({ status, log: body.log?.toSorted() }).toEqual({ status: 200, log: ['left "L"', 'right "R"'] });
  });

  it("of an unknown id decides nothing on a single interrupt either", async () => {
    const { threadId } = await asked("one");
    const refused = await resume(threadId, { [UNKNOWN]: "wrong" }, { graph: "one" });
    expect(refused).toMatchObject({ status: 409, body: { detail: expect.stringContaining(UNKNOWN) as string } });
    expect((await resume(threadId, "yes", { graph: "one" })).body.log).toEqual(['ask "yes"']);
  });

  it("of another tenant's thread is not found, and decides nothing", async () => {
    const { threadId, ids } = await asked("pair");
    const { left = "", right = "" } = ids;
    const answers = { [left]: "L", [right]: "R" };
    expect((await resume(threadId, answers, { as: "globex" })).status).toBe(404);
    expect(await waiting(threadId)).toEqual(["left", "right"]);
    await service.client("globex").threads.create({ threadId });
    expect((await resume(threadId, answers, { as: "globex" })).status).toBe(409);
    expect(await waiting(threadId)).toEqual(["left", "right"]);
  });
});

describe("an ordinary object", () => {
  it.each([
    [{ approved: true, note: "fine" }],
    [{}],
    [{ [UNKNOWN]: 1, note: "one key is no id" }],
    [[{ id: UNKNOWN }]],
    [{ [UNKNOWN.slice(1)]: "too short" }],
    [{ [UNKNOWN.toUpperCase()]: "no id is written so" }],
  ])("%j is itself the answer to a single interrupt", async (answer) => {
    const { threadId } = await asked("one");
    const { status, body } = await resume(threadId, answer, { graph: "one" });
    expect({ status, log: body.log }).toEqual({ status: 200, log: [`ask ${JSON.stringify(answer)}`] });
  });
});

describe("whoever was just told that a run is over", () => {
  it("may answer its interrupt at once, every time", { timeout: 60_000 }, async () => {
    for (let n = 0; n < AGAIN; n++) {
      const { threadId } = await asked("one");
      expect(await resume(threadId, n, { graph: "one" })).toMatchObject({ status: 200, body: { log: [`ask ${n}`] } });
    }
  });

  it("may change the state at once, every time", { timeout: 60_000 }, async () => {
    const { thread_id: threadId } = await client.threads.create();
    for (let n = 0; n < AGAIN; n++) {
      await client.runs.wait(threadId, "echo", { input: { text: `run ${n}` } });
      await client.threads.updateState(threadId, { values: { text: `hand ${n}` } });
      expect((await client.threads.getState(threadId)).values).toMatchObject({ text: `hand ${n}` });
    }
    expect((await client.threads.getState<{ log: string[] }>(threadId)).values.log).toHaveLength(AGAIN);
  });

  it("may write past an interrupt at once, every time", { timeout: 60_000 }, async () => {
    for (let n = 0; n < AGAIN; n++) {
      const { threadId } = await asked("one");
      await client.threads.updateState(threadId, { values: { text: "by hand" }, asNode: "ask" });
      expect(await waiting(threadId)).toEqual([]);
    }
  });
});
