/** What is done about an effect whose outcome nobody knows, by policy; where results are kept; the header of the token. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Annotation, START, StateGraph } from "@langchain/langgraph";
import type { LangGraphRunnableConfig } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { DEADLINE_MARGIN_MS } from "../../src/core/effect.ts";
import type { Journal } from "../../src/graph/context.ts";
import { effect } from "../../src/graph/effect.ts";
import type { EffectSpec } from "../../src/graph/effect.ts";
import { EffectRejected } from "../../src/graph/effect-call.ts";
import type { Lookup } from "../../src/graph/effect-call.ts";
import { services } from "../../src/graph/services.ts";
import { createEffects } from "../../src/storage/effects.ts";
import { DrivenThread } from "../support/drive-kit.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";

const State = Annotation.Root({
  log: Annotation<unknown[]>({ reducer: (a, b) => a.concat(b), default: () => [] }),
});
type Config = LangGraphRunnableConfig;

const single = (node: (config: Config) => Promise<unknown>) =>
  new DrivenThread(
    new StateGraph(State).addNode("x", async (_, config) => ({ log: [await node(config)] })).addEdge(START, "x"),
  );
const pay = { name: "pay", policy: "queryable", args: { amount: 100 } } as const;
const AGAIN = { payload: { input: null } } as const;
const parkedAs = (name: string) => ({ kind: "failed", parks: true, error: { name } });

/** The other side: what arrived, by token, and when it was asked for it. */
function farSide(thread: () => DrivenThread) {
  const arrived = new Map<string, string>();
  const asked: number[] = [];
  const lookup: Lookup<string> = async (token) => {
    asked.push(thread().clock.wall());
    const result = arrived.get(token);
    return result === undefined ? undefined : { result };
  };
  return { arrived, asked, lookup };
}

describe("a queryable effect without an answer", () => {
  it("is looked up at once, and what is found is its result", async () => {
    const far = farSide(() => thread);
    let calls = 0;
    const results: unknown[] = [];
    const thread: DrivenThread = single(async (config) => {
      const receipt = await effect(config, { ...pay, lookup: far.lookup }, async (token): Promise<string> => {
        calls++;
        far.arrived.set(token, "receipt");
        throw new Error("connection reset");
      });
      results.push(receipt);
    });
    expect((await thread.invoke({})).outcome).toEqual({ kind: "done" });
    expect([calls, far.asked.length, results]).toEqual([1, 1, ["receipt"]]);
  });

  it("is made again only when nobody finds it after its deadline and the margin", async () => {
    const far = farSide(() => thread);
    const sent: number[] = [];
    const thread: DrivenThread = single((config) =>
      effect(config, { ...pay, lookup: far.lookup }, async (): Promise<string> => {
        sent.push(thread.clock.wall());
        if (sent.length === 1) throw new Error("connection reset");
        return "receipt";
      }),
    );
    const { run, outcome } = await thread.invoke({});
    expect(outcome).toEqual({ kind: "done" });
    const [first = 0, second = 0] = sent;
    expect(second - first).toBeGreaterThan(10_000 + DEADLINE_MARGIN_MS);
    expect(far.asked).toHaveLength(2);
    const [entry] = await thread.effects(run.root);
    expect(entry).toMatchObject({ intents: 2, outcome: { value: "receipt" } });
  });

  it("would be made twice by a lookup that does not wait for the call that is on its way (negative control)", async () => {
    const late = async (until: "its deadline" | "nothing"): Promise<number> => {
      const arrived: string[] = [];
      let onItsWay: { readonly token: string; readonly at: number } | undefined;
      const arrive = (): void => {
        if (onItsWay && thread.clock.wall() >= onItsWay.at) arrived.push(onItsWay.token);
        if (onItsWay && thread.clock.wall() >= onItsWay.at) onItsWay = undefined;
      };
      const thread: DrivenThread = single((config) =>
        effect(
          config,
          {
            ...pay,
            lookup: async (token) => {
              arrive();
              return arrived.includes(token) ? { result: "receipt" } : undefined;
            },
          },
          async (token): Promise<string> => {
            if (arrived.length > 0 || onItsWay) return String(arrived.push(token));
            // Sent right before the deadline, and slow.
            onItsWay = { token, at: thread.clock.wall() + 9_000 };
            throw new Error("connection reset");
          },
        ),
      );
      const real = thread.journal(1);
      const hasty: Journal = {
        ...real,
        begin: async (ask, unhappened) => {
          const begun = await real.begin(ask, unhappened);
          return begun.do === "look_up" ? { ...begun, until: 0 } : begun;
        },
      };
      expect((await thread.invoke({}, until === "nothing" ? { journal: hasty } : {})).outcome).toEqual({
        kind: "done",
      });
      thread.clock.advance(60_000);
      arrive();
      return arrived.length;
    };
    expect(await late("its deadline")).toBe(1);
    expect(await late("nothing")).toBe(2);
  });

  it("of a holder that died is looked up by the one that takes over, also after a drain", async () => {
    const far = farSide(() => thread);
    let calls = 0;
    const node = (config: Config) =>
      effect(config, { ...pay, lookup: far.lookup }, async (token): Promise<string> => {
        calls++;
        far.arrived.set(token, "receipt");
        return "receipt";
      });
    const thread: DrivenThread = single(node);
    for (let dieAt = 1; far.arrived.size === 0; dieAt++) await thread.invoke({}, { dieAt });
    const before = calls;
    expect((await thread.deliver(AGAIN)).outcome).toEqual({ kind: "done" });
    expect([calls, far.asked.length]).toEqual([before, 1]);
  });

  it("parks the run when its lookup fails, or when it was called three times in vain", async () => {
    const broken = single((config) =>
      effect(
        config,
        {
          ...pay,
          lookup: async () => {
            throw new Error("503");
          },
        },
        async (): Promise<string> => {
          throw new Error("connection reset");
        },
      ),
    );
    const { outcome, run } = await broken.invoke({});
    expect(outcome).toMatchObject({
      ...parkedAs("effect_ambiguous"),
      error: { message: expect.stringContaining("503") as unknown },
    });
    expect(await broken.effects(run.root)).toMatchObject([{ parked: { reason: "ambiguous", runId: run.runId } }]);

    let calls = 0;
    const vain = single((config) =>
      effect(config, { ...pay, lookup: async () => undefined }, async (): Promise<string> => {
        calls++;
        throw new Error("connection reset");
      }),
    );
    expect((await vain.invoke({})).outcome).toMatchObject(parkedAs("effect_ambiguous"));
    expect(calls).toBe(3);
  });

  it("is refused for good where its lookup says so", async () => {
    const seen: string[] = [];
    const thread = single(async (config) => {
      const refused: EffectSpec = {
        ...pay,
        lookup: async () => {
          throw new EffectRejected("declined");
        },
      };
      await effect(config, refused, async () => {
        throw new Error("connection reset");
      }).catch((error: unknown) => seen.push(String(error)));
    });
    expect((await thread.invoke({})).outcome).toEqual({ kind: "done" });
    expect(seen).toEqual([expect.stringContaining("declined")]);
  });
});

describe("an entry of the journal", () => {
  it("is found by operators from before its run is parked, and no more once somebody goes on with it", async () => {
    let answers = false;
    const thread = single((config) =>
      effect(config, { name: "pay", policy: "idempotent" }, async () => {
        if (!answers) throw new Error("no answer");
        return "receipt";
      }),
    );
    const effects = createEffects({ table: thread.table, blobs: createMemoryBlobs(), shards: 1 });
    const parked = async () => (await effects.list(thread.tenant, "parked", {})).items.map(({ name }) => name);
    expect((await thread.invoke({})).outcome).toMatchObject(parkedAs("effect_ambiguous"));
    expect(await parked()).toEqual(["pay"]);
    answers = true;
    expect((await thread.deliver(AGAIN)).outcome).toEqual({ kind: "done" });
    expect(await parked()).toEqual([]);
  });

  it("costs two writes, and nothing else, where all goes well", async () => {
    const thread = single((config) => effect(config, pay1, async () => "receipt"));
    const pay1 = { name: "pay", policy: "unsafe" } as const;
    const { run } = await thread.invoke({});
    const [entry] = await thread.effects(run.root);
    expect(entry?.intents).toBeUndefined();
    expect(entry?.outcome).toEqual({ kind: "result", value: "receipt" });
  });

  it("keeps a long result as a body of its own, which is the same on re-execution", async () => {
    const long = { text: "é".repeat(400_000) };
    const seen: unknown[] = [];
    let fails = true;
    const thread = single(async (config) => {
      seen.push(await effect(config, { name: "fetch", policy: "unsafe" }, async () => long));
      if (fails) throw new Error("later");
    });
    const { run } = await thread.invoke({});
    fails = false;
    expect((await thread.deliver(AGAIN)).outcome).toEqual({ kind: "done" });
    expect(seen).toEqual([long, long]);
    const [entry] = await thread.effects(run.root);
    expect(JSON.stringify(entry).length).toBeLessThan(2_000);
    expect(entry?.outcome).toMatchObject({ kind: "result", body: expect.stringMatching(/^[0-9a-f]{64}$/) as unknown });
  });
});

describe("services(config).http", () => {
  async function echo() {
    const requests: { readonly method: string; readonly key: string | undefined }[] = [];
    const server = createServer((request, response) => {
      const key = request.headers["idempotency-key"];
      requests.push({ method: request.method ?? "", key: key === undefined ? undefined : String(key) });
      if (request.url === "/moved") response.writeHead(307, { location: "/" });
      response.end("{}");
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port } = server.address() as AddressInfo; // it listens
    return {
      requests,
      url: `http://127.0.0.1:${port}`,
      [Symbol.asyncDispose]: () => new Promise<void>((resolve) => server.close(() => resolve())),
    };
  }

  it("sends the token with what may change something, and nothing outside of an effect", async () => {
    await using far = await echo();
    const tokens: string[] = [];
    const thread = single(async (config) => {
      const { http } = services(config);
      const post = async (): Promise<void> =>
        void (await http.fetch(far.url, { method: "POST", body: "{}" })).body?.cancel();
      await post();
      await effect(config, { name: "pay", policy: "idempotent" }, async (token) => {
        tokens.push(token);
        await (await http.fetch(far.url)).body?.cancel();
        await post();
        await post();
      });
    });
    expect((await thread.invoke({})).outcome).toEqual({ kind: "done" });
    const [token] = tokens;
    expect(far.requests).toEqual([
      { method: "POST", key: undefined },
      { method: "GET", key: undefined },
      { method: "POST", key: token },
      { method: "POST", key: `${token}.1` },
    ]);
  });

  it("follows no redirect, and lets nobody choose another key in an effect", async () => {
    await using far = await echo();
    const seen: string[] = [];
    const thread = single(async (config) => {
      const { http } = services(config);
      await http.fetch(`${far.url}/moved`).catch((error: unknown) => seen.push(String(error)));
      await effect(config, { name: "pay", policy: "idempotent" }, async () => {
        await http
          .fetch(far.url, { method: "PUT", headers: { "Idempotency-Key": "mine" } })
          .catch((error: unknown) => seen.push(String(error)));
      });
    });
    expect((await thread.invoke({})).outcome).toEqual({ kind: "done" });
    expect(seen).toEqual([expect.stringContaining("fetch failed"), expect.stringContaining("that of its token")]);
    expect(far.requests).toHaveLength(1);
  });
});
