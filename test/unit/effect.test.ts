import { Annotation, END, START, Send, StateGraph, interrupt } from "@langchain/langgraph";
import type { LangGraphRunnableConfig } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { HoldpointError } from "../../src/core/errors.ts";
import { isNewerFormat } from "../../src/core/newer-format.ts";
import { effect } from "../../src/graph/effect.ts";
import { EffectRejected } from "../../src/graph/effect-call.ts";
import type { EffectSpec } from "../../src/graph/effect.ts";
import type { Journal } from "../../src/graph/context.ts";
import { effectKeys } from "../../src/storage/keys.ts";
import { DrivenThread, interruptsOf } from "../support/drive-kit.ts";

const State = Annotation.Root({
  log: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }),
  item: Annotation<string>(),
});
type S = typeof State.State;
type Config = LangGraphRunnableConfig;

const single = (node: (s: S, c: Config) => Promise<Partial<S>>) =>
  new StateGraph(State).addNode("x", node).addEdge(START, "x").addEdge("x", END);
const pay: EffectSpec = { name: "pay", policy: "idempotent", args: { amount: 100 } };

/** The other side: how often it was called, with which tokens. */
function ledger() {
  const tokens: string[] = [];
  return { tokens, receive: async (token: string) => ({ receipt: tokens.push(token) }) };
}

/** What a new attempt of the node does while the old one still runs. */
function countAnew({ configurable }: Config): void {
  const pad = configurable?.["__pregel_scratchpad"] as Record<symbol, unknown>;
  for (const key of Object.getOwnPropertySymbols(pad)) pad[key] = undefined;
}

describe("an effect", () => {
  it("is performed once, and its result comes back on every later execution", async () => {
    const far = ledger();
    const receipts: unknown[] = [];
    let fails = true;
    const thread = new DrivenThread(
      single(async (_, config) => {
        receipts.push(await effect(config, pay, far.receive));
        if (fails) throw new Error("after the payment");
        return {};
      }),
    );
    expect((await thread.invoke({})).outcome.kind).toBe("failed");
    fails = false;
    expect((await thread.deliver({ payload: { input: null } })).outcome).toEqual({ kind: "done" });
    expect(receipts).toEqual([{ receipt: 1 }, { receipt: 1 }]);
    expect(far.tokens).toHaveLength(1);
  });

  it("would be performed again without the journal (negative control)", async () => {
    const far = ledger();
    const forgetful: Journal = {
      begin: async (ask) => {
        const entry = { ...ask, fence: 1, createdAt: 0, updatedAt: 0 };
        return { do: "call", intent: { ask, entry, version: 0 } };
      },
      settle: async (_, outcome) => outcome,
      park: async () => ({ do: "parked" }),
    };
    let fails = true;
    const thread = new DrivenThread(
      single(async (_, config) => {
        await effect(config, pay, far.receive);
        if (fails) throw new Error("after the payment");
        return {};
      }),
    );
    await thread.invoke({}, { journal: forgetful });
    fails = false;
    await thread.deliver({ payload: { input: null }, journal: forgetful });
    expect(far.tokens).toHaveLength(2);
    expect(far.tokens[0]).toBe(far.tokens[1]);
  });

  it("is not performed once more when its node waits for a person and goes on", async () => {
    const far = ledger();
    const thread = new DrivenThread(
      single(async (_, config) => {
        await effect(config, pay, far.receive);
        const answer = String(interrupt("go on?"));
        await effect(config, { ...pay, name: "notify" }, far.receive);
        return { log: [answer] };
      }),
    );
    const first = await thread.invoke({});
    const [asked] = interruptsOf(first.outcome);
    const second = await thread.resume({ [asked?.id ?? ""]: "yes" });
    expect(second.outcome).toEqual({ kind: "done" });
    expect(far.tokens).toHaveLength(2);
    const entries = await thread.effects(first.run.root);
    const byName = Object.fromEntries(entries.map(({ name, path, outcome }) => [name, [path, outcome?.kind]]));
    expect(byName).toEqual({ notify: [[["x", 0, null]], "result"], pay: [[["x", 0, null]], "result"] });
  });

  it("whose entry a newer version wrote is left to that version, whatever the node makes of the error", async () => {
    const far = ledger();
    let fails = true;
    const thread = new DrivenThread(
      single(async (_, config) => {
        await effect(config, pay, far.receive).catch(() => undefined);
        if (fails) throw new Error("after the payment");
        return {};
      }),
    );
    const { run } = await thread.invoke({});
    fails = false;
    const [entry] = await thread.effects(run.root);
    const key = effectKeys.entry(run.tenant, run.root, entry?.token ?? "");
    await thread.table.put({ ...key, attributes: { v: 2 } }, "any");
    await expect(thread.deliver({ payload: { input: null } })).rejects.toSatisfy(isNewerFormat);
    expect(far.tokens).toHaveLength(1);
  });

  it("counts calls of one name within an attempt, whatever they wait for", async () => {
    const far = ledger();
    const thread = new DrivenThread(
      single(async (_, config) => {
        await Promise.all([1, 2, 3].map(() => effect(config, pay, far.receive)));
        return {};
      }),
    );
    await thread.invoke({});
    expect(new Set(far.tokens).size).toBe(3);
  });

  it("keeps its tokens over the attempts of a retry policy", async () => {
    const far = ledger();
    let attempts = 0;
    const graph = new StateGraph(State)
      .addNode(
        "x",
        async (_, config) => {
          await effect(config, pay, far.receive);
          if (++attempts < 3) throw new Error("again");
          return {};
        },
        { retryPolicy: { maxAttempts: 3, initialInterval: 1, jitter: false, logWarning: false } },
      )
      .addEdge(START, "x");
    const thread = new DrivenThread(graph);
    expect((await thread.invoke({})).outcome).toEqual({ kind: "done" });
    expect([attempts, far.tokens.length]).toEqual([3, 1]);
  });

  it("remembers a definite refusal and refuses again without asking", async () => {
    let calls = 0;
    const seen: unknown[] = [];
    let fails = true;
    const thread = new DrivenThread(
      single(async (_, config) => {
        try {
          await effect(config, pay, async () => {
            calls++;
            throw new EffectRejected("card expired");
          });
        } catch (error) {
          seen.push(error instanceof EffectRejected ? error.message : error);
        }
        if (fails) throw new Error("later");
        return { log: ["handled"] };
      }),
    );
    await thread.invoke({});
    fails = false;
    expect((await thread.deliver({ payload: { input: null } })).outcome).toEqual({ kind: "done" });
    expect([calls, seen]).toEqual([1, ["card expired", "card expired"]]);
  });

  it("calls an idempotent effect again in place, with the same token, and no longer than two seconds", async () => {
    const tokens: string[] = [];
    const thread = new DrivenThread(
      single(async (_, config) => {
        const receipt = await effect(config, pay, async (token) => {
          if (tokens.push(token) < 3) throw new Error("connection reset");
          return "paid";
        });
        return { log: [receipt] };
      }),
    );
    expect((await thread.invoke({})).outcome).toEqual({ kind: "done" });
    expect([tokens.length, new Set(tokens).size]).toEqual([3, 1]);

    const slow = new DrivenThread(
      single(async (_, config) => {
        await effect(config, pay, async () => {
          slow.clock.advance(2500);
          throw new Error("timed out");
        });
        return {};
      }),
    );
    expect((await slow.invoke({})).outcome).toMatchObject({
      kind: "failed",
      parks: true,
      error: { name: "effect_ambiguous", message: "whether effect pay happened is unknown: timed out" },
    });
  });

  it("parks the run when nobody may guess whether an unsafe effect happened, on every later attempt too", async () => {
    let calls = 0;
    const thread = new DrivenThread(
      single(async (_, config) => {
        await effect(config, { ...pay, policy: "unsafe" }, async () => {
          calls++;
          throw new Error("connection reset");
        });
        return {};
      }),
    );
    const parked = { kind: "failed", parks: true, error: { name: "effect_ambiguous" } };
    expect((await thread.invoke({})).outcome).toMatchObject(parked);
    expect((await thread.deliver({ payload: { input: null } })).outcome).toMatchObject(parked);
    expect(calls).toBe(1);
  });

  it("reaches neither a retry policy, nor an error handler, nor success by a node that swallows it", async () => {
    let calls = 0;
    const ambiguous = async (config: Config) =>
      effect(config, { ...pay, policy: "unsafe" }, async () => {
        calls++;
        throw new Error("?");
      });
    let handled = 0;
    const graph = new StateGraph(State)
      .addNode(
        "x",
        async (_, config) => {
          await ambiguous(config);
          return {};
        },
        {
          retryPolicy: { maxAttempts: 3, initialInterval: 1, jitter: false, logWarning: false },
          errorHandler: async () => {
            handled++;
            return {};
          },
        },
      )
      .addEdge(START, "x");
    expect((await new DrivenThread(graph).invoke({})).outcome).toMatchObject({ kind: "failed", parks: true });
    expect([calls, handled]).toEqual([1, 0]);

    const swallowing = single(async (_, config) => {
      await ambiguous(config).catch(() => undefined);
      return { log: ["fine"] };
    });
    expect((await new DrivenThread(swallowing).invoke({})).outcome).toMatchObject({ kind: "failed", parks: true });
  });

  it("parks the run instead of paying something else under the same token", async () => {
    let amount = 100;
    const far = ledger();
    let fails = true;
    const thread = new DrivenThread(
      single(async (_, config) => {
        await effect(config, { ...pay, args: { amount } }, far.receive);
        if (fails) throw new Error("later");
        return {};
      }),
    );
    await thread.invoke({});
    fails = false;
    amount = 101;
    expect((await thread.deliver({ payload: { input: null } })).outcome).toMatchObject({
      kind: "failed",
      parks: true,
      error: { name: "effect_diverged" },
    });
    expect(far.tokens).toHaveLength(1);
  });

  it("starts nothing when the run is stopped or its lease is running out", async () => {
    const far = ledger();
    const abort = new AbortController();
    const graph = () =>
      single(async (_, config) => {
        await effect(config, pay, far.receive);
        return {};
      });
    abort.abort();
    expect((await new DrivenThread(graph()).invoke({}, { signal: abort.signal })).outcome.kind).toBe("aborted");
    const late = new DrivenThread(graph());
    expect((await late.invoke({}, { deadline: () => late.clock.wall() })).outcome).toEqual({ kind: "lost" });
    expect(far.tokens).toEqual([]);
  });

  it("does not send a call whose deadline passed while its intent was written", async () => {
    const far = ledger();
    const thread = new DrivenThread(
      single(async (_, config) => {
        await effect(config, pay, far.receive);
        return {};
      }),
    );
    const real = thread.journal(1);
    const slow: Journal = {
      begin: async (ask) => {
        const begun = await real.begin(ask);
        thread.clock.advance(11_000);
        return begun;
      },
      settle: (intent, outcome) => real.settle(intent, outcome),
      park: (ask, why) => real.park(ask, why),
    };
    expect((await thread.invoke({}, { journal: slow })).outcome).toEqual({ kind: "lost" });
    expect(far.tokens).toEqual([]);
  });

  it("keeps a result as JSON, and does not repeat an effect whose result cannot be kept", async () => {
    const outcomes: unknown[] = [];
    let calls = 0;
    const results: unknown[] = [undefined, { a: [1, null] }, 10n, new Map(), "x".repeat(33 * 1024 * 1024)];
    const thread = new DrivenThread(
      single(async (_, config) => {
        for (const result of results) {
          const outcome = await effect(config, pay, async () => {
            calls++;
            return result;
          }).catch((error: unknown) => (error instanceof HoldpointError ? error.message : error));
          outcomes.push(outcome);
        }
        throw new Error("later");
      }),
    );
    await thread.invoke({});
    const first = outcomes.splice(0);
    expect(first.slice(0, 2)).toEqual([null, { a: [1, null] }]);
    expect(first.slice(2)).toEqual([
      expect.stringContaining("a big integer cannot be written as JSON"),
      expect.stringContaining("an instance of Map cannot be written as JSON"),
      expect.stringContaining("is too long to keep"),
    ]);
    await thread.deliver({ payload: { input: null } });
    expect(outcomes).toEqual(first);
    expect(calls).toBe(5);
  });

  it("keeps what happened although the table is away for a moment right after it", async () => {
    const far = ledger();
    const thread = new DrivenThread(
      single(async (_, config) => {
        await effect(config, { ...pay, policy: "unsafe" }, far.receive);
        return {};
      }),
    );
    const real = thread.journal(1);
    let away = 2;
    const flaky: Journal = {
      begin: (ask) => real.begin(ask),
      settle: (intent, outcome) => {
        if (away-- > 0) throw new HoldpointError("unavailable", "away");
        return real.settle(intent, outcome);
      },
      park: (ask, why) => real.park(ask, why),
    };
    expect((await thread.invoke({}, { journal: flaky })).outcome).toEqual({ kind: "done" });
    expect(far.tokens).toHaveLength(1);
  });

  it("gives concurrent calls with one token one result", async () => {
    const far = ledger();
    let started = 0;
    const thread = new DrivenThread(
      single(async (_, config) => {
        const call = async (token: string) => {
          started++;
          await new Promise((done) => setImmediate(done));
          return far.receive(token);
        };
        const first = effect(config, pay, call);
        countAnew(config);
        const second = effect(config, pay, call);
        expect(await first).toEqual(await second);
        return {};
      }),
    );
    expect((await thread.invoke({})).outcome).toEqual({ kind: "done" });
    expect([started, far.tokens.length]).toEqual([1, 1]);
  });

  it("gives no call the result of a concurrent one with other arguments: the run is parked", async () => {
    const far = ledger();
    const given: unknown[] = [];
    const thread = new DrivenThread(
      single(async (_, config) => {
        const pays = async (amount: number) =>
          given.push(await effect(config, { ...pay, policy: "unsafe", args: { amount } }, far.receive));
        const first = pays(100);
        countAnew(config);
        await Promise.all([first, pays(250)]);
        return {};
      }),
    );
    const parked = { kind: "failed", parks: true, error: { name: "effect_diverged" } };
    expect((await thread.invoke({})).outcome).toMatchObject(parked);
    expect([given, far.tokens.length]).toEqual([[{ receipt: 1 }], 1]);
  });

  it("is lost to a later holder's intent, also when its own result comes late", async () => {
    const thread = new DrivenThread(single(async () => ({})));
    const { run } = await thread.invoke({});
    const ask = {
      tenant: thread.tenant,
      runId: run.runId,
      threadId: run.threadId,
      root: run.root,
      token: "t",
      name: "pay",
      policy: "idempotent" as const,
      path: [],
      argsDigest: "d",
      deadline: thread.clock.wall() + 1000,
    };
    const [old, young] = [thread.journal(5), thread.journal(6)];
    const mine = await old.begin(ask);
    const theirs = await young.begin(ask);
    expect([mine.do, theirs.do]).toEqual(["call", "call"]);
    expect(await old.begin(ask)).toEqual({ do: "lost" });
    if (mine.do !== "call" || theirs.do !== "call") return;
    expect(await old.settle(mine.intent, { kind: "result", value: 1 })).toBe("lost");
    expect(await young.settle(theirs.intent, { kind: "result", value: 2 })).toEqual({ kind: "result", value: 2 });
    expect(await old.settle(mine.intent, { kind: "result", value: 1 })).toEqual({ kind: "result", value: 2 });
    expect(await young.begin({ ...ask, argsDigest: "other" })).toEqual({ do: "diverged" });
    expect(await young.begin(ask)).toEqual({ do: "return", outcome: { kind: "result", value: 2 } });
  });

  it.each([
    [{ name: "pay", policy: "Unsafe" }, "effect pay: `policy` is one of idempotent, queryable, unsafe"],
    [{ name: "pay", policy: "queryable" }, "effect pay: the policy queryable needs a `lookup`"],
    [
      { name: "pay", policy: "unsafe", irreversable: true },
      "effect(): there is no `irreversable`, only name, policy, args, lookup, irreversible",
    ],
    [{ name: "", policy: "unsafe" }, "effect(): `name` has to be a text that is not empty"],
    [{ policy: "unsafe" }, "effect(): `name` has to be a text that is not empty"],
  ])("refuses a specification that nobody has type-checked: %j", async (spec, message) => {
    let calls = 0;
    const seen: string[] = [];
    const thread = new DrivenThread(
      single(async (_, config) => {
        await effect(config, spec as EffectSpec, async () => (calls += 1)).catch((error: unknown) =>
          seen.push(String(error)),
        );
        return {};
      }),
    );
    await thread.invoke({});
    expect(seen).toEqual([expect.stringContaining(message)]);
    expect(calls).toBe(0);
  });

  it("says so when it is called outside of a graph that Holdpoint runs", async () => {
    await expect(effect({}, pay, async () => 1)).rejects.toThrow("effect() works only in a graph that Holdpoint runs");
  });
});

describe("parallel nodes and Sends", () => {
  it("ask for tokens of their own, and for the same ones again", async () => {
    const far = ledger();
    let fails = true;
    const graph = new StateGraph(State)
      .addNode("leaf", async (s, config: Config) => {
        await effect(config, { ...pay, args: { item: s.item } }, far.receive);
        if (fails && s.item === "2") throw new Error("one fails");
        return { log: [s.item] };
      })
      .addConditionalEdges(START, () => ["1", "2", "3"].map((item) => new Send("leaf", { item })));
    const thread = new DrivenThread(graph);
    await thread.invoke({});
    fails = false;
    expect((await thread.deliver({ payload: { input: null } })).outcome).toEqual({ kind: "done" });
    expect([far.tokens.length, new Set(far.tokens).size]).toEqual([3, 3]);
  });
});
