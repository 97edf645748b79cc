/** What operators say of effects whose outcome nobody knows, over HTTP, and how the parked runs go on. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { Annotation, START, StateGraph } from "@langchain/langgraph";
import type { LangGraphRunnableConfig } from "@langchain/langgraph";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { HoldpointError } from "../../src/core/errors.ts";
import { tenantId } from "../../src/core/ids.ts";
import type { Principal } from "../../src/core/principal.ts";
import { effect } from "../../src/graph/effect.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import { langGraphEngine } from "../../src/runtime/engine.ts";
import { createAssistants } from "../../src/runtime/assistants.ts";
import type { Deps } from "../../src/runtime/deps.ts";
import { createEffectUseCases } from "../../src/runtime/effects/effects.ts";
import { serviceEngines } from "../support/engines.ts";
import type { OpenTable } from "../support/engines.ts";
import { eventually } from "../support/eventually.ts";
import { startService } from "../support/service.ts";
import type { Service } from "../support/service.ts";

const State = Annotation.Root({
  tool: Annotation<string>(),
  amount: Annotation<number>(),
  irreversible: Annotation<boolean>(),
  done: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
});

/** Every call that the far side got; it never answers the first of a token. */
const calls: string[] = [];
/** Added to the amount, by thread: what a model that wavers does. */
const wavering = new Map<string, number>();

const pay = async ({ tool, amount, irreversible }: typeof State.State, config: LangGraphRunnableConfig) => {
  const thread = String(config.configurable?.["thread_id"]);
  const args = { amount: amount + (wavering.get(thread) ?? 0) };
  const spec = { name: tool, policy: "unsafe", args, irreversible } as const;
  const receipt = await effect(config, spec, async (token) => {
    calls.push(token);
    if (calls.filter((call) => call === token).length === 1) throw new Error("no answer");
    return "paid by a second call";
  });
  return { done: [receipt] };
};
const graph = new StateGraph(State)
  .addNode("pay", pay)
  .addNode("ship", () => ({ done: ["shipped"] }))
  .addEdge(START, "pay")
  .addEdge("pay", "ship")
  .compile();

interface EffectShown {
  readonly id: string;
  readonly name: string;
  readonly state: string;
  readonly intent: number;
  readonly thread_id: string;
  readonly run_id: string;
  readonly root_run_id: string;
  readonly token: string;
  readonly settlement: Readonly<Record<string, unknown>> | null;
  readonly [field: string]: unknown;
}

describe.each(serviceEngines())("on $name", (engine) => {
  let service: Service;
  let opened: OpenTable;
  beforeAll(async () => {
    opened = await engine.open();
    service = await startService({ table: opened.table, graphs: createRegistry([registeredGraph("shop", graph)]) });
  });
  afterAll(async () => {
    await service[Symbol.asyncDispose]();
    await opened[Symbol.asyncDispose]();
  });

  const bob: Principal = { tenant: tenantId("acme"), subject: "bob", roles: ["operator"], groups: [] };
  const eve: Principal = { ...bob, subject: "eve" };

  async function recorded({ token }: EffectShown) {
    const { items } = await service.runtime.audit.list(bob, { kind: "settlement", limit: 100 });
    return items.flatMap(({ content }) => (content?.subject.effect === token ? [content] : []));
  }

  async function parked(input: Readonly<Record<string, unknown>> = {}): Promise<EffectShown> {
    const client = service.client("acme");
    const { thread_id: thread } = await client.threads.create();
    const outcome = await client.runs.wait(thread, "shop", {
      input: { tool: "pay", amount: 100, irreversible: false, ...input },
      raiseError: false,
    });
    expect(outcome).toMatchObject({ __error__: { error: "effect_ambiguous" } });
    return found(thread);
  }

  async function found(thread: string): Promise<EffectShown> {
    const effect = (await list("state=parked")).find((one) => one.thread_id === thread);
    if (!effect) throw new Error("nothing is parked on the thread");
    return effect;
  }

  async function list(query: string): Promise<readonly EffectShown[]> {
    const items: EffectShown[] = [];
    for (let cursor: string | null = ""; cursor !== null;) {
      const response = await service.app.call("GET", `/v1/effects?${query}${cursor === "" ? "" : `&cursor=${cursor}`}`);
      expect(response.status).toBe(200);
      const page = (await response.json()) as { readonly items: EffectShown[]; readonly next_cursor: string | null };
      items.push(...page.items);
      cursor = page.next_cursor;
    }
    return items;
  }

  const get = async (id: string): Promise<EffectShown> =>
    (await service.app.call("GET", `/v1/effects/${id}`)).json() as Promise<EffectShown>;

  const settle = (effect: EffectShown, json: object): Promise<Response> =>
    service.app.call("POST", `/v1/effects/${effect.id}/settlement`, {
      json: { intent: effect.intent, reason: "asked the bank", ...json },
    });
  const happened = { outcome: "happened", result: "paid, says the bank" };

  const valuesOf = async (thread: string): Promise<unknown> =>
    ((await service.client("acme").threads.getState(thread)).values as { readonly done?: unknown }).done;
  /** The run that goes on has come to this. */
  async function goesOn(thread: string, done: readonly string[]): Promise<void> {
    const isThere = async (): Promise<boolean> => isDeepStrictEqual(await valuesOf(thread), done);
    await eventually(isThere, `the run that goes on, to ${done.join()}`);
  }
  const callsOf = ({ token }: EffectShown): number => calls.filter((call) => call === token).length;

  it.each(
    [
      ...readFileSync(join(import.meta.dirname, "../../docs/effects.md"), "utf8").matchAll(/^\{ "outcome": .*\}$/gm),
    ].map(([line]) => line),
  )("%s of the documentation settles one as it says", async (line) => {
    const effect = await parked();
    const given = JSON.parse(line) as { readonly outcome: string; readonly reason: string };
    const { status, body } = await eventually(async () => {
      const response = await service.app.call("POST", `/v1/effects/${effect.id}/settlement`, { json: given });
      // The call may still be on its way.
      return response.status === 409 ? undefined : { status: response.status, body: await response.json() };
    }, "an answer");
    const { outcome, reason } = given;
    expect([status, body]).toMatchObject([200, { settlement: { outcome, reason } }]);
  });

  describe("an effect that happened", () => {
    it("is settled with its result; the run goes on with it, and nothing is called again", async () => {
      const effect = await parked();
      expect(effect).toMatchObject({ name: "pay", state: "parked", policy: "unsafe", irreversible: false, intent: 1 });
      const response = await settle(effect, happened);
      expect(response.status).toBe(200);
      const settled = (await response.json()) as EffectShown;
      expect(settled).toMatchObject({ state: "happened", result: happened.result, parked: null });
      expect(settled.settlement).toMatchObject({ outcome: "happened", reason: "asked the bank", not_continued: null });
      await goesOn(effect.thread_id, ["paid, says the bank", "shipped"]);
      expect(callsOf(effect)).toBe(1);
      // By the API at once, or by the worker where it comes first.
      await eventually(async () => typeof (await get(effect.id)).settlement?.["continuation_run_id"] === "string");
      const runs = await service.client("acme").runs.list(effect.thread_id);
      const next = (await get(effect.id)).settlement?.["continuation_run_id"];
      expect(runs.map(({ run_id: id }) => id)).toContain(next);
      expect(runs.map(({ status }) => status).toSorted()).toEqual(["error", "success"]);
    });

    it("may be settled again in the same words, and not in others", async () => {
      const effect = await parked();
      const first = (await (await settle(effect, happened)).json()) as EffectShown;
      const again = await settle(effect, happened);
      expect(again.status).toBe(200);
      // What follows comes at once, or a moment later by the worker.
      const word = ({ settlement }: EffectShown) => ({ ...settlement, continuation_run_id: null });
      expect(word((await again.json()) as EffectShown)).toEqual(word(first));
      const other = await settle(effect, { ...happened, result: "something else" });
      expect(other.status).toBe(409);
      expect(await other.json()).toMatchObject({
        detail: expect.stringMatching(/already settled: happened by /) as unknown,
      });
      expect((await settle(effect, { outcome: "not_happened" })).status).toBe(409);
      await goesOn(effect.thread_id, ["paid, says the bank", "shipped"]);
      expect(await service.client("acme").runs.list(effect.thread_id)).toHaveLength(2);
    });

    it("is won by one of many who say something else at the same time", async () => {
      const effect = await parked();
      const words = Array.from({ length: 10 }, (_, n) =>
        settle(effect, { outcome: "happened", result: `receipt ${n}` }),
      );
      const statuses = (await Promise.all(words)).map(({ status }) => status);
      expect(statuses.toSorted((a, b) => a - b)).toEqual([200, ...Array.from({ length: 9 }, () => 409)]);
      const { result } = await get(effect.id);
      await goesOn(effect.thread_id, [String(result), "shipped"]);
    });
  });

  describe("an effect that did not happen", () => {
    it("is settled so only once its call cannot be on its way any more; then it is called again, under its token", async () => {
      const effect = await parked();
      const early = await settle(effect, { outcome: "not_happened" });
      expect(early.status).toBe(409);
      expect(Number(early.headers.get("retry-after"))).toBeGreaterThan(1);
      expect(callsOf(effect)).toBe(1);
      const from = Date.parse(String(effect["not_happened_from"]));
      await eventually(() => service.deps.table.now() > from, "the end of the time in which it may arrive");
      expect((await settle(effect, { outcome: "not_happened" })).status).toBe(200);
      await goesOn(effect.thread_id, ["paid by a second call", "shipped"]);
      expect(callsOf(effect)).toBe(2);
      expect(await get(effect.id)).toMatchObject({ state: "happened", intent: 2 });
    });
  });

  describe("an irreversible effect", () => {
    const say = (who: Principal, { id }: EffectShown, result: string, replaces?: string) =>
      service.runtime.effects.settle(who, id, {
        said: { verdict: "happened", result },
        reason: "seen",
        intent: 1,
        ...(replaces === undefined ? {} : { replaces }),
      });

    it("takes two people who say the same", async () => {
      const effect = await parked({ tool: "wire", irreversible: true });
      const first = await settle(effect, { outcome: "happened", result: "sent" });
      expect(first.status).toBe(202);
      expect(await first.json()).toMatchObject({
        state: "parked",
        proposal: { outcome: "happened" },
        settlement: null,
      });
      // Alone, however often.
      expect((await settle(effect, { outcome: "happened", result: "sent" })).status).toBe(202);
      expect(await valuesOf(effect.thread_id)).toEqual([]);
      const confirmed = await say(bob, effect, "sent");
      expect(confirmed.settlement).toMatchObject({ by: "bob", proposedBy: "alice" });
      await goesOn(effect.thread_id, ["sent", "shipped"]);
      expect(await recorded(effect)).toMatchObject([
        { actor: "bob", action: "happened", detail: { stands: true, proposedBy: "alice" } },
        { actor: "alice", action: "happened", detail: { stands: false } },
      ]);
    });

    it("stands for the two who said so: a third who says the same is told who they were, and not that it counts", async () => {
      const effect = await parked({ tool: "wire", irreversible: true });
      const { effects } = service.runtime;
      const ask = { said: { verdict: "happened", result: "sent" }, reason: "seen", intent: 1 } as const;
      await effects.settle(eve, effect.id, ask);
      await effects.settle(bob, effect.id, ask);
      for (const one of [eve, bob])
        expect((await effects.settle(one, effect.id, ask)).settlement).toMatchObject({ by: "bob", proposedBy: "eve" });
      await expect(effects.settle({ ...bob, subject: "mia" }, effect.id, ask)).rejects.toMatchObject({
        code: "conflict",
        detail: { settled_by: "bob" },
      });
      await goesOn(effect.thread_id, ["sent", "shipped"]);
    });

    it("takes another word than the one that was proposed only from who names that", async () => {
      const effect = await parked({ tool: "wire", irreversible: true });
      const { proposal: first } = await say(bob, effect, "sent");
      const other = { outcome: "happened", result: "other" };
      const refused = await settle(effect, other);
      expect(refused.status).toBe(409);
      expect(await refused.json()).toMatchObject({
        detail: expect.stringMatching(/^bob has proposed happened with another result at .* replaces/) as unknown,
        proposal: { id: first?.id, by: "bob", outcome: "happened", reason: "seen" },
      });
      const unknown = { ...other, replaces: effect.root_run_id };
      expect((await settle(effect, unknown)).status).toBe(409);
      expect((await get(effect.id))["proposal"]).toMatchObject({ id: first?.id });
      const replaced = await settle(effect, { ...other, replaces: first?.id });
      expect(replaced.status).toBe(202);
      expect(await replaced.json()).toMatchObject({ proposal: { by: "alice", replaces: first?.id } });
      // Sent again because its answer was lost.
      expect((await settle(effect, { ...other, replaces: first?.id })).status).toBe(202);
      await expect(say(bob, effect, "sent")).rejects.toThrow("alice has proposed");
      await say(bob, effect, "other");
      await goesOn(effect.thread_id, ["other", "shipped"]);
      expect(await recorded(effect)).toMatchObject([
        { actor: "bob", detail: { stands: true, proposedBy: "alice" } },
        { actor: "alice", detail: { stands: false, replaces: first?.id } },
        { actor: "bob", detail: { stands: false, word: first?.id } },
      ]);
    });

    it("has each word on the record, also that of who comes back to what they said first", async () => {
      const effect = await parked({ tool: "wire", irreversible: true });
      const first = await say(bob, effect, "sent");
      const second = await say(eve, effect, "lost", first.proposal?.id);
      await say(eve, effect, "sent", second.proposal?.id);
      const { settlement } = await say(bob, effect, "sent");
      expect(settlement).toMatchObject({ by: "bob", proposedBy: "eve" });
      await goesOn(effect.thread_id, ["sent", "shipped"]);
      expect((await recorded(effect)).map(({ actor, detail }) => [actor, detail?.["stands"]])).toEqual([
        ["bob", true],
        ["eve", false],
        ["eve", false],
        ["bob", false],
      ]);
    });

    it("knows of no proposal on what one may settle alone", async () => {
      const effect = await parked();
      expect((await settle(effect, { ...happened, replaces: effect.root_run_id })).status).toBe(409);
      expect((await settle(effect, happened)).status).toBe(200);
    });
  });

  describe("an effect that was asked for with other arguments", () => {
    it("goes on with what it came to, once an operator accepts that", async () => {
      const effect = await parked();
      await service.runtime.effects.settle(bob, effect.id, {
        said: { verdict: "happened", result: "paid 100" },
        reason: "seen",
        intent: 1,
      });
      await goesOn(effect.thread_id, ["paid 100", "shipped"]);
      const client = service.client("acme");
      const history = await client.threads.getHistory(effect.thread_id);
      const before = history.find(({ next }) => next.includes("pay"))?.checkpoint.checkpoint_id ?? "";
      wavering.set(effect.thread_id, 1);
      const again = await client.runs.wait(effect.thread_id, "shop", {
        input: null,
        checkpointId: before,
        raiseError: false,
      });
      expect(again).toMatchObject({ __error__: { error: "effect_diverged" } });
      const diverged = await found(effect.thread_id);
      expect(diverged).toMatchObject({ parked: { reason: "diverged" }, result: "paid 100", intent: 2 });
      expect((await settle(diverged, { outcome: "not_happened" })).status).toBe(409);
      expect((await settle(diverged, { outcome: "happened" })).status).toBe(200);
      await goesOn(effect.thread_id, ["paid 100", "shipped"]);
      expect(await list(`run_id=${effect.run_id}`)).toMatchObject([{ state: "happened" }]);
      expect(callsOf(effect)).toBe(1);
    });
  });

  describe("what follows a word", () => {
    const onDeps = (others: Partial<Deps>) => {
      const deps = { ...service.deps, ...others };
      return createEffectUseCases({ deps, assistants: createAssistants(deps), engine: langGraphEngine });
    };

    it("is done by a worker when the API dies right after it", async () => {
      const effect = await parked();
      const audit = {
        ...service.deps.audit,
        record: async () => {
          throw new HoldpointError("unavailable", "the process died");
        },
      };
      const dying = onDeps({ audit });
      const ask = { said: { verdict: "happened", result: "paid" }, reason: "seen", intent: 1 } as const;
      expect((await dying.settle(bob, effect.id, ask)).settlement?.continuation).toBeUndefined();
      await goesOn(effect.thread_id, ["paid", "shipped"]);
      const carried = async () => typeof (await get(effect.id)).settlement?.["continuation_run_id"] === "string";
      await eventually(carried, "the end of the follow-up");
    });

    it("waits for the run to stop, which is found parked a moment later than its effect", async () => {
      const effect = await parked();
      const stillRunning = async (...at: Parameters<Deps["runs"]["get"]>) => {
        const found = await service.deps.runs.get(...at);
        return found && { ...found, value: { ...found.value, status: "running" as const } };
      };
      const early = onDeps({ runs: { ...service.deps.runs, get: stillRunning } });
      const ask = { said: { verdict: "happened", result: "paid" }, reason: "seen", intent: 1 } as const;
      const { settlement } = await early.settle(bob, effect.id, ask);
      expect([settlement?.continuation, settlement?.notContinued]).toEqual([undefined, undefined]);
      await goesOn(effect.thread_id, ["paid", "shipped"]);
    });

    it("is a resume like any other: linked to the parked run, and on the record in the name of who spoke", async () => {
      const effect = await parked();
      await settle(effect, happened);
      // By the API at once, or by the worker where it comes first.
      await eventually(async () => typeof (await get(effect.id)).settlement?.["continuation_run_id"] === "string");
      const next = String((await get(effect.id)).settlement?.["continuation_run_id"]);
      const timeline = await service.app.call("GET", `/v1/runs/${next}`);
      expect(await timeline.json()).toMatchObject({ replay_of: effect.run_id });
      const { items } = await service.runtime.audit.list(bob, { kind: "resume", runId: effect.run_id, limit: 10 });
      expect(items.map(({ content }) => content)).toMatchObject([
        { actor: "alice", reason: "asked the bank", detail: { retriedBy: next } },
      ]);
    });

    it("is no run where the thread has moved on meanwhile", async () => {
      const effect = await parked();
      await service
        .client("acme")
        .threads.updateState(effect.thread_id, { values: { done: ["by hand"] }, asNode: "pay" });
      await settle(effect, happened);
      // By the API at once, or by the worker where it comes first.
      const why = await eventually(async () => (await get(effect.id)).settlement?.["not_continued"] ?? undefined);
      expect(why).toMatch(/has moved on since run/);
      expect((await get(effect.id)).settlement).toMatchObject({ continuation_run_id: null });
      expect(await service.client("acme").runs.list(effect.thread_id)).toHaveLength(1);
    });
  });

  describe("who asks for nonsense", () => {
    it("is told what is wrong, and nothing changes", async () => {
      const effect = await parked();
      const statuses = async (...bodies: readonly object[]) =>
        Promise.all(bodies.map(async (body) => (await settle(effect, body)).status));
      expect(
        await statuses(
          { outcome: "happened" },
          { outcome: "perhaps" },
          { ...happened, reason: " " },
          { outcome: "not_happened", result: 1 },
          { ...happened, intent: null },
          { ...happened, intent: 7 },
        ),
      ).toEqual([422, 422, 422, 422, 428, 412]);
      const path = `/v1/effects/${effect.id}`;
      expect((await service.app.call("GET", path, { as: "globex" })).status).toBe(404);
      const theirs = { json: { ...happened, intent: 1, reason: "mine" }, as: "globex" } as const;
      expect((await service.app.call("POST", `${path}/settlement`, theirs)).status).toBe(404);
      for (const id of ["nonsense", `${effect.id}0`, "%2e%2e.x"])
        expect((await service.app.call("GET", `/v1/effects/${id}`)).status).toBe(404);
      expect((await service.app.call("GET", "/v1/effects?cursor=abc")).status).toBe(422);
      expect(await get(effect.id)).toMatchObject({ state: "parked", settlement: null, proposal: null });
    });
  });

  describe("the list", () => {
    it("has parked effects by tool, age and run, in pages, and of no other tenant", async () => {
      const three = [await parked({ tool: "t1" }), await parked({ tool: "t1" }), await parked({ tool: "t2" })];
      const tools = (await list("tool=t1&limit=1")).map(({ thread_id: thread }) => thread);
      expect(tools).toEqual(three.slice(0, 2).map(({ thread_id: thread }) => thread));
      expect(await list("tool=t1&older_than_seconds=3600")).toEqual([]);
      expect((await list(`run_id=${three[2]?.run_id ?? ""}`)).map(({ name }) => name)).toEqual(["t2"]);
      const others = await service.app.call("GET", "/v1/effects", { as: "globex" });
      expect(await others.json()).toEqual({ items: [], next_cursor: null });
      expect(
        (await service.app.call("GET", `/v1/effects?run_id=${three[0]?.run_id ?? ""}`, { as: "globex" })).status,
      ).toBe(404);
      expect((await list("state=settled")).every(({ settlement }) => settlement !== null)).toBe(true);
    });
  });
});
