/** Going back to a checkpoint over HTTP: runs, updates and histories that name one. Real runtime, worker, SQLite. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Client, ThreadState } from "@langchain/langgraph-sdk";
import { createTestGraphs } from "../support/graphs.ts";
import { startService } from "../support/service.ts";
import type { Service } from "../support/service.ts";

const UNKNOWN = "1ef00000-0000-6000-8000-000000000000";
const HEAD = ["one a", "two a", "one b", "two b"];

interface Values {
  readonly text: string;
  readonly log: readonly string[];
}

interface Told {
  readonly threadId: string;
  /** The checkpoint at which the first of two runs ended. */
  readonly middle: string;
}

let service: Service;
let client: Client;

beforeAll(async () => {
  service = await startService({ graphs: createTestGraphs().registry });
  client = service.client("acme");
});
afterAll(async () => {
  await service[Symbol.asyncDispose]();
});

/** A thread on which two runs have ended, `a` and `b`. */
async function twice(as: Client = client): Promise<Told> {
  const { thread_id: threadId } = await as.threads.create();
  await as.runs.wait(threadId, "echo", { input: { text: "a" } });
  const middle = (await as.threads.getState(threadId)).checkpoint.checkpoint_id ?? "";
  await as.runs.wait(threadId, "echo", { input: { text: "b" } });
  return { threadId, middle };
}

const valuesOf = async (threadId: string): Promise<Values> => (await client.threads.getState<Values>(threadId)).values;

/** Every way in which clients name the checkpoint of a run. */
const NAMING: readonly (readonly [string, (id: string) => object])[] = [
  ["checkpoint_id", (id) => ({ checkpoint_id: id })],
  ["checkpoint.checkpoint_id", (id) => ({ checkpoint: { checkpoint_id: id } })],
  ["config.configurable.checkpoint_id", (id) => ({ config: { configurable: { checkpoint_id: id } } })],
];

/** What a run or an update that was refused for its checkpoint leaves behind: nothing. */
async function expectRefused(answer: Response, { threadId }: Told, checkpoint: string): Promise<void> {
  expect({ status: answer.status, body: await answer.json() }).toMatchObject({
    status: 404,
    body: { detail: `Checkpoint ${checkpoint} not found` },
  });
  expect(await client.runs.list(threadId)).toHaveLength(2);
  expect((await client.threads.get(threadId)).status).toBe("idle");
  expect((await valuesOf(threadId)).log).toEqual(HEAD);
}

describe.each(NAMING)("a run whose checkpoint is named by %s", (_, naming) => {
  const start = (threadId: string, path: string, checkpoint: string, as: "acme" | "globex" = "acme") =>
    service.app.call("POST", `/threads/${threadId}/runs${path}`, {
      json: { assistant_id: "echo", input: { text: "c" }, ...naming(checkpoint) },
      as,
    });

  it("starts from there, and the branch it makes is the thread's head", async () => {
    const { threadId, middle } = await twice();
    const answer = await start(threadId, "/wait", middle);
    expect(await answer.json()).toEqual({ text: "c", log: ["one a", "two a", "one c", "two c"] });
    expect((await valuesOf(threadId)).log).toEqual(["one a", "two a", "one c", "two c"]);
    const history = await client.threads.getHistory(threadId, { limit: 100 });
    const children = history.filter(({ parent_checkpoint: parent }) => parent?.checkpoint_id === middle);
    expect(children).toHaveLength(2);
  });

  it.each(["", "/wait", "/stream"])("is not accepted by runs%s when nobody knows the checkpoint", async (path) => {
    const told = await twice();
    await expectRefused(await start(told.threadId, path, UNKNOWN), told, UNKNOWN);
  });

  it("is not accepted when the checkpoint is another thread's", async () => {
    const [told, other] = [await twice(), await twice()];
    await expectRefused(await start(told.threadId, "/wait", other.middle), told, other.middle);
  });

  it("finds neither the thread nor the checkpoint of another tenant", async () => {
    const told = await twice();
    expect((await start(told.threadId, "/wait", told.middle, "globex")).status).toBe(404);
    // A thread of the same id, which is the other tenant's own, does not have the checkpoint either.
    await service.client("globex").threads.create({ threadId: told.threadId });
    await expectRefused(await start(told.threadId, "/wait", told.middle, "globex"), told, told.middle);
    expect(await service.client("globex").runs.list(told.threadId)).toEqual([]);
  });
});

it("a run from a namespace in which there is no such checkpoint is not accepted", async () => {
  const told = await twice();
  const answer = await service.app.call("POST", `/threads/${told.threadId}/runs/wait`, {
    json: { assistant_id: "echo", input: {}, checkpoint: { checkpoint_id: told.middle, checkpoint_ns: "deep" } },
  });
  await expectRefused(answer, told, told.middle);
});

it("a request with an unknown checkpoint is refused again when it is repeated under its Idempotency-Key", async () => {
  const told = await twice();
  const start = () =>
    service.app.call("POST", `/threads/${told.threadId}/runs/wait`, {
      json: { assistant_id: "echo", input: { text: "c" }, checkpoint_id: UNKNOWN },
      headers: { "idempotency-key": told.threadId },
    });
  for (let n = 0; n < 2; n++) await expectRefused(await start(), told, UNKNOWN);
});

describe("an update of a state", () => {
  const update = (threadId: string, checkpoint: object, as: "acme" | "globex" = "acme") =>
    service.app.call("POST", `/threads/${threadId}/state`, {
      json: { values: { log: ["by hand"] }, as_node: "two", ...checkpoint },
      as,
    });

  it.each(NAMING.slice(0, 2))("that names a checkpoint by %s writes a branch of it", async (_, naming) => {
    const { threadId, middle } = await twice();
    const answer = await update(threadId, naming(middle));
    expect(answer.status).toBe(200);
    const written = (await answer.json()) as { readonly checkpoint: { readonly checkpoint_id: string } };
    expect(await client.threads.getState(threadId)).toMatchObject({
      values: { text: "a", log: ["one a", "two a", "by hand"] },
      checkpoint: { checkpoint_id: written.checkpoint.checkpoint_id },
      parent_checkpoint: { checkpoint_id: middle },
    });
  });

  it("without a checkpoint goes on from the head", async () => {
    const { threadId } = await twice();
    expect((await update(threadId, {})).status).toBe(200);
    expect((await valuesOf(threadId)).log).toEqual([...HEAD, "by hand"]);
  });

  it.each(NAMING.slice(0, 2))("that names an unknown one by %s, or another thread's, is refused", async (_, naming) => {
    const [told, other] = [await twice(), await twice()];
    for (const wrong of [UNKNOWN, other.middle]) {
      await expectRefused(await update(told.threadId, naming(wrong)), told, wrong);
    }
  });

  it("of another tenant's thread is not found", async () => {
    const { threadId, middle } = await twice();
    expect((await update(threadId, { checkpoint_id: middle }, "globex")).status).toBe(404);
    expect((await valuesOf(threadId)).log).toEqual(HEAD);
  });
});

describe("a history", () => {
  const page = (threadId: string, before: string, as: "acme" | "globex" = "acme"): Promise<Response>[] => [
    service.app.call("GET", `/threads/${threadId}/history?limit=3&before=${before}`, { as }),
    service.app.call("POST", `/threads/${threadId}/history`, { json: { limit: 3, before }, as }),
    service.app.call("POST", `/threads/${threadId}/history`, {
      json: { limit: 3, before: { configurable: { checkpoint_id: before } } },
      as,
    }),
  ];

  it("is paged by the last checkpoint of each page, without a gap or a repetition", async () => {
    const { threadId } = await twice();
    const idsOf = (states: readonly Pick<ThreadState, "checkpoint">[]) =>
      states.map(({ checkpoint }) => checkpoint.checkpoint_id ?? "");
    const all = idsOf(await client.threads.getHistory(threadId, { limit: 100 }));
    const paged = all.slice(0, 1);
    for (;;) {
      const answers = await Promise.all(page(threadId, paged.at(-1) ?? ""));
      const [first = [], ...others] = await Promise.all(
        answers.map(async (answer) => idsOf((await answer.json()) as Parameters<typeof idsOf>[0])),
      );
      for (const other of others) expect(other).toEqual(first);
      if (first.length === 0) break;
      paged.push(...first);
    }
    expect(all.length).toBeGreaterThan(6);
    expect(paged).toEqual(all);
  });

  it("before a checkpoint that nobody knows, or another thread's, is not found", async () => {
    const [told, other] = [await twice(), await twice()];
    for (const wrong of [UNKNOWN, other.middle]) {
      for (const answer of await Promise.all(page(told.threadId, wrong))) await expectRefused(answer, told, wrong);
    }
  });

  it("of another tenant's thread is not found", async () => {
    const { threadId, middle } = await twice();
    const answers = await Promise.all(page(threadId, middle, "globex"));
    expect(answers.map(({ status }) => status)).toEqual([404, 404, 404]);
  });
});
