/** A node that is executed again, because another one's answer has come, and does not ask what it had asked before. */
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import type { NodeConfig } from "../../src/graph/context.ts";
import { review } from "../../src/graph/review.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import { startService } from "../support/service.ts";
import type { Service } from "../support/service.ts";

interface Shown {
  readonly id: string;
  readonly digest: string;
  readonly title: string;
  readonly state: string;
  readonly reason: string | null;
}

const State = Annotation.Root({
  log: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
});

/** Three nodes ask side by side; `fickle` only while `world` says so, `slow` ends once it is let. */
function threeAskers() {
  const world = { asks: true, slowMayEnd: Promise.withResolvers<void>(), slowHeard: Promise.withResolvers<void>() };
  const ask = (config: NodeConfig, title: string) => review(config, { title, action: "pay", args: {} });
  const graph = new StateGraph(State)
    .addNode("slow", async (_, config) => {
      await ask(config, "slow");
      world.slowHeard.resolve();
      await world.slowMayEnd.promise;
      return { log: ["slow"] };
    })
    .addNode("fickle", async (_, config) => {
      if (world.asks) await ask(config, "fickle");
      return { log: ["fickle"] };
    })
    .addNode("steady", async (_, config) => {
      await ask(config, "steady");
      return { log: ["steady"] };
    })
    .addEdge(START, "slow")
    .addEdge(START, "fickle")
    .addEdge(START, "steady")
    .addEdge("slow", END)
    .addEdge("fickle", END)
    .addEdge("steady", END)
    .compile();
  return { graph, world };
}

async function reviews({ app }: Service, state: string): Promise<readonly Shown[]> {
  return ((await (await app.call("GET", `/v1/reviews?state=${state}`)).json()) as { items: readonly Shown[] }).items;
}

async function titled(service: Service, title: string, state = "open"): Promise<Shown> {
  const found = (await reviews(service, state)).find((one) => one.title === title);
  if (!found) throw new Error(`no ${state} review ${title}`);
  return found;
}

const approve = async ({ app }: Service, { id, digest }: Shown): Promise<number> =>
  (await app.call("POST", `/v1/reviews/${id}/decisions`, { json: { type: "approve", digest } })).status;

/** A thread on which all three have asked. */
async function asked() {
  const { graph, world } = threeAskers();
  const service = await startService({ graphs: createRegistry([registeredGraph("askers", graph)]) });
  const client = service.client("acme");
  const { thread_id: thread } = await client.threads.create();
  await client.runs.wait(thread, "askers", { input: {} });
  return { world, service, client, thread };
}

const opened = async (service: Service): Promise<readonly string[]> =>
  (await reviews(service, "open")).map(({ title }) => title).toSorted();

describe("a review that nothing waits for any more", () => {
  it("is superseded, and not left to look open", async () => {
    const { world, service, client, thread } = await asked();
    await using _ = service;
    const fickle = await titled(service, "fickle");
    world.asks = false;
    world.slowMayEnd.resolve();
    expect(await approve(service, await titled(service, "slow"))).toBe(200);
    await expect.poll(() => opened(service)).toEqual(["steady"]);
    expect(await titled(service, "fickle", "done")).toMatchObject({ state: "superseded" });
    expect(await approve(service, fickle)).toBe(410);
    expect(await approve(service, await titled(service, "steady"))).toBe(200);
    await expect.poll(async () => (await client.threads.get(thread)).status).toBe("idle");
  });

  it("is not called applied when it was approved just then, since nothing has heard of it", async () => {
    const { world, service, client, thread } = await asked();
    await using _ = service;
    world.asks = false;
    expect(await approve(service, await titled(service, "slow"))).toBe(200);
    await world.slowHeard.promise;
    expect(await approve(service, await titled(service, "fickle"))).toBe(200);
    world.slowMayEnd.resolve();
    await expect
      .poll(() => titled(service, "fickle", "done"))
      .toMatchObject({
        state: "superseded",
        reason: "the thread moved on before the decision could be applied",
      });
    expect(await titled(service, "slow", "done")).toMatchObject({ state: "applied" });
    expect(await approve(service, await titled(service, "steady"))).toBe(200);
    await expect.poll(async () => (await client.threads.get(thread)).status).toBe("idle");
  });
});
