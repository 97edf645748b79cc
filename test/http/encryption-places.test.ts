/**
 * Every place where a graph or a person can write has a word of its own; then each byte that is stored is searched for all
 * of them: the SQLite file with its log, and the folder of bodies.
 */
import { readFileSync, readdirSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Annotation, Command, END, START, Send, StateGraph, interrupt } from "@langchain/langgraph";
import type { LangGraphRunnableConfig } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { argsDigest } from "../../src/core/effect.ts";
import { systemIds } from "../../src/core/ids.ts";
import { effect } from "../../src/graph/effect.ts";
import { EffectRejected } from "../../src/graph/effect-call.ts";
import { review } from "../../src/graph/review.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import { createSqliteTable } from "../../src/local/sqlite-table.ts";
import { plainSealers } from "../../src/storage/encryption/sealer.ts";
import { noise } from "../support/checkpoints.ts";
import { letterEmbeddings } from "../support/letter-embeddings.ts";
import { sealersOn } from "../support/sealers.ts";
import { startService } from "../support/service.ts";
import type { Service } from "../support/service.ts";

/** What a place says: a word that stands nowhere else. */
const said = (place: (typeof PLACES)[number]): string => `Alice4711${place}Alice4711`;

const REQUEST = [
  "input",
  "configurable",
  "tag",
  "context",
  "runMetadata",
  "configMetadata",
  "header",
  "longInput",
] as const;
const STATE = ["value", "dictionaryKey", "large", "send", "goto", "child", "event", "updated"] as const;
const ANSWERS = ["interrupt", "resume", "title", "action", "shown", "schema", "group", "edited", "comment"] as const;
const EFFECTS = ["effectArgs", "effectResult", "effectRejection"] as const;
const RECORDS = ["threadMetadata", "longMetadata", "patchedMetadata", "assistantName", "assistantText"] as const;
const ASSISTANT = ["assistantTag", "assistantContext", "assistantMetadata"] as const;
const REST = ["errorMessage", "errorName", "memory", "largeMemory", "memoryByHand"] as const;
const PLACES = [...REQUEST, ...STATE, ...ANSWERS, ...EFFECTS, ...RECORDS, ...ASSISTANT, ...REST] as const;

const State = Annotation.Root({
  text: Annotation<string>(),
  fails: Annotation<boolean>(),
  files: Annotation<Record<string, string>>(),
  large: Annotation<string>(),
  done: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
});
type Says = typeof State.State;

/** Of arguments only a digest is kept. */
const ARGS = { to: said("effectArgs") };
const written = (place: (typeof PLACES)[number]): string => (place === "effectArgs" ? argsDigest(ARGS) : said(place));

class NamedError extends Error {
  override readonly name = said("errorName");
}

const child = new StateGraph(State)
  .addNode("inner", () => ({ done: [said("child")] }))
  .addEdge(START, "inner")
  .addEdge("inner", END)
  .compile();

const graph = new StateGraph(State)
  .addNode("write", async (_: Says, config: LangGraphRunnableConfig) => {
    await config.store?.put(["people"], "one", { text: said("memory") });
    await config.store?.put(["people"], "two", { text: said("largeMemory") + noise(400_000) });
    config.writer?.({ say: said("event") });
    return { text: said("value"), files: { [said("dictionaryKey")]: "" }, large: said("large") + noise(600_000) };
  })
  .addNode(
    "scatter",
    () => new Command({ update: { done: [said("goto")] }, goto: [new Send("one", { text: said("send"), done: [] })] }),
    { ends: ["one"] },
  )
  .addNode("one", ({ text }: Says) => ({ done: [text] }))
  .addNode("child", child)
  .addNode("ask", () => ({ done: [interrupt<unknown, string>({ text: said("interrupt") })] }))
  .addNode("review", async ({ fails }: Says, config: LangGraphRunnableConfig) => {
    const answer = await review(config, {
      title: said("title"),
      action: said("action"),
      args: { to: said("shown") },
      argsSchema: { type: "object", description: said("schema") },
      ...(fails ? {} : { groups: [said("group")] }),
    });
    return { done: [JSON.stringify(answer)] };
  })
  .addNode("pay", async ({ fails }: Says, config: LangGraphRunnableConfig) => {
    await effect(config, { name: "pay", policy: "unsafe", args: ARGS }, async () => ({
      receipt: said("effectResult"),
    }));
    const refused = effect(config, { name: "refuse", policy: "unsafe", args: ARGS }, async () => {
      throw new EffectRejected(said("effectRejection"));
    });
    await refused.catch(() => undefined);
    if (fails) throw new NamedError(said("errorMessage"));
    return {};
  })
  .addEdge(START, "write")
  .addEdge("write", "scatter")
  .addEdge("one", "child")
  .addEdge("child", "ask")
  .addEdge("ask", "review")
  .addEdge("review", "pay")
  .addEdge("pay", END)
  .compile();

/** A service on a file, and all that is in its folder once it has stopped. */
async function stored(isEncrypted: boolean): Promise<Buffer> {
  const dir = await mkdtemp(join(tmpdir(), "holdpoint-places-"));
  try {
    await using table = await createSqliteTable({ path: join(dir, "table.db"), clock: systemClock, ids: systemIds });
    const sealers = isEncrypted ? sealersOn(table, { required: true }) : plainSealers;
    await using service = await startService({
      graphs: createRegistry([registeredGraph("g", graph)]),
      table,
      bodies: join(dir, "blobs"),
      sealers,
      store: { index: { embeddings: letterEmbeddings(), fields: ["text"] } },
    });
    await write(service);
    const files = readdirSync(dir, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    expect(files.map(({ name }) => name)).toEqual(expect.arrayContaining(["table.db", "table.db-wal"]));
    expect(files.length).toBeGreaterThan(4);
    return Buffer.concat(files.map((file) => readFileSync(join(file.parentPath, file.name))));
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

interface Review {
  readonly id: string;
  readonly digest: string;
  readonly decision: { readonly continuation_run_id: string };
}

/** Says everything, through the API. */
async function write(service: Service): Promise<void> {
  const { app } = service;
  const acme = service.client("acme");
  const { assistant_id: assistant } = await acme.assistants.create({
    graphId: "g",
    name: said("assistantName"),
    description: said("assistantText"),
    metadata: { say: said("assistantMetadata") },
    config: { tags: [said("assistantTag")] },
    context: { say: said("assistantContext") },
  });
  await acme.store.putItem(["people"], "three", { text: said("memoryByHand") });
  const long = { say: said("longMetadata").repeat(30) };
  const { thread_id: thread } = await acme.threads.create({ metadata: { say: said("threadMetadata") } });
  await acme.threads.create({ metadata: long });
  await acme.threads.update(thread, { metadata: { patched: said("patchedMetadata") } });
  const wait = async (body: object, of = thread): Promise<void> => {
    const json = { assistant_id: assistant, ...body };
    const answer = await app.call("POST", `/threads/${of}/runs/wait`, { headers: { "x-say": said("header") }, json });
    expect(await answer.json()).toHaveProperty("__interrupt__");
  };
  await wait({
    input: { text: said("input"), fails: true },
    config: {
      tags: [said("tag")],
      configurable: { say: said("configurable") },
      metadata: { also: said("configMetadata") },
    },
    context: { say: said("context") },
    metadata: { say: said("runMetadata") },
    stream_mode: ["values", "updates", "messages", "custom"],
    stream_subgraphs: true,
    stream_resumable: true,
  });
  await wait({ command: { resume: said("resume") } });
  const open = (await (await app.call("GET", "/v1/reviews?state=open")).json()) as { items: readonly Review[] };
  const [asked] = open.items;
  expect(asked).toMatchObject({ title: said("title") });
  const decided = await app.call("POST", `/v1/reviews/${asked?.id}/decisions`, {
    json: { type: "edit", args: { to: said("edited") }, comment: said("comment"), digest: asked?.digest },
  });
  expect(decided.status).toBe(200);
  const { decision } = (await decided.json()) as Review;
  await app.call("GET", `/threads/${thread}/runs/${decision.continuation_run_id}/join`);
  expect((await acme.runs.get(thread, decision.continuation_run_id)).status).toBe("error");
  await acme.threads.updateState(thread, { values: { done: [said("updated")] }, asNode: "pay" });
  const { thread_id: other } = await acme.threads.create();
  await wait({ input: { text: said("longInput") + noise(400_000), fails: false } }, other);
  await wait({ command: { resume: "yes" } }, other);
}

const found = (bytes: Buffer): readonly string[] => PLACES.filter((place) => bytes.includes(written(place)));

describe("what graphs and people write", () => {
  it("is nowhere in the files of a service with keys", async () => {
    const bytes = await stored(true);
    expect(found(bytes)).toEqual([]);
    expect(bytes.includes("Alice4711")).toBe(false);
  });

  it("is there without them (negative control)", async () => {
    const shown = found(await stored(false));
    expect(PLACES.filter((place) => !shown.includes(place))).toEqual([]);
  });
});
