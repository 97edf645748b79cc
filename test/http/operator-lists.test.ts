/** The lists of operators, and who may do what: `/v1/effects`, `/v1/runs`, `/v1/errors`, and the verbs on what they show. */
import { Annotation, START, StateGraph } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { ROLES } from "../../src/core/principal.ts";
import type { NodeConfig } from "../../src/graph/context.ts";
import { effect } from "../../src/graph/effect.ts";
import { keyAuthenticator } from "../../src/http/auth.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import { serviceEngines } from "../support/engines.ts";
import type { Engine } from "../support/engines.ts";
import { createTestKeys } from "../support/http.ts";
import { startService } from "../support/service.ts";

const State = Annotation.Root({ what: Annotation<string>() });
const graph = new StateGraph(State)
  .addNode("act", async ({ what }: typeof State.State, config: NodeConfig) => {
    if (what === "type") throw new TypeError("no stock for order 17");
    if (what === "range") throw new RangeError("no room");
    if (what === "parks")
      await effect(config, { name: "pay", policy: "unsafe" }, async () => {
        throw new Error("no answer");
      });
    return {};
  })
  .addEdge(START, "act")
  .compile();

interface Page {
  readonly items: readonly { readonly id?: string; readonly class?: string; readonly intent?: number }[];
  readonly next_cursor: string | null;
}

const PEOPLE = [...ROLES.map((role) => ({ tenant: "acme", role })), { tenant: "globex", role: "admin" as const }];

/** A service with a key for each role, `globex` for another tenant's, and a graph that can be taken away. */
async function opened(engine: Engine) {
  await using opening = new AsyncDisposableStack();
  const { apiKeys, texts } = createTestKeys(
    PEOPLE.map(({ tenant, role }) => ({ tenant, subject: role, roles: [role] })),
  );
  const keys = new Map(PEOPLE.map(({ tenant, role }, i) => [tenant === "acme" ? role : tenant, texts[i] ?? ""]));
  const registry = createRegistry([registeredGraph("acts", graph)]);
  const world = { isGone: false };
  const graphs = { ...registry, get: (id: string) => (world.isGone ? undefined : registry.get(id)) };
  const { table } = opening.use(await engine.open());
  const service = opening.use(await startService({ graphs, table, app: { auth: keyAuthenticator(apiKeys) } }));
  const call = (method: "GET" | "POST" | "DELETE", path: string, { as = "admin", json }: Asking = {}) => {
    const key = keys.get(as);
    const headers = key === undefined ? {} : { "x-api-key": key };
    return service.app.call(method, path, { as: "nobody", headers, ...(json === undefined ? {} : { json }) });
  };
  const kept = opening.move();
  return {
    world,
    call,
    get: async (path: string): Promise<Page> => (await call("GET", path)).json() as Promise<Page>,
    statusOf: async (...asked: Parameters<typeof call>): Promise<number> => (await call(...asked)).status,
    /** A run that has ended in this way. */
    async ran(what: string): Promise<{ readonly run: string; readonly thread: string }> {
      const { thread_id: thread } = (await (await call("POST", "/threads", { json: {} })).json()) as {
        readonly thread_id: string;
      };
      const json = { assistant_id: "acts", input: { what } };
      await call("POST", `/threads/${thread}/runs/wait`, { json });
      const runs = (await (await call("GET", `/threads/${thread}/runs`)).json()) as readonly {
        readonly run_id: string;
      }[];
      return { thread, run: runs[0]?.run_id ?? "" };
    },
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

interface Asking {
  readonly as?: string;
  readonly json?: unknown;
}

describe.each(serviceEngines())("on $name, what operators see and do", { timeout: 120_000 }, (engine) => {
  it("is read by every role but the notifier, and done by operators and admins only", async () => {
    await using at = await opened(engine);
    const { run } = await at.ran("parks");
    const [parked] = (await at.get("/v1/effects")).items;
    const settlement = { outcome: "happened", result: 1, intent: 99, reason: "seen" };
    const done = await Promise.all(
      ["nobody", ...ROLES].map(async (as) => [
        as,
        await at.statusOf("GET", "/v1/effects", { as }),
        await at.statusOf("GET", `/v1/effects/${parked?.id}`, { as }),
        await at.statusOf("GET", "/v1/runs", { as }),
        await at.statusOf("GET", "/v1/errors", { as }),
        await at.statusOf("POST", `/v1/effects/${parked?.id}/settlement`, { as, json: settlement }),
        await at.statusOf("POST", `/v1/runs/${run}/park`, { as, json: {} }),
      ]),
    );
    const reads = [200, 200, 200, 200];
    expect(done).toEqual([
      ["nobody", 401, 401, 401, 401, 401, 401],
      ...["viewer", "developer", "reviewer"].map((role) => [role, ...reads, 403, 403]),
      // It gets as far as its mistake: another intent than the one that stands. The run is parked already.
      ["operator", ...reads, 412, 202],
      // What gives out links reads reviews, and nothing else.
      ["notifier", 403, 403, 403, 403, 403, 403],
      ["auditor", ...reads, 403, 403],
      ["admin", ...reads, 412, 202],
    ]);
  });

  it("has pages: of errors, group by group; of effects, by state; and no cursor goes on with another list", async () => {
    await using at = await opened(engine);
    for (const what of ["range", "type", "type", "parks", "parks"]) await at.ran(what);
    const classes: string[] = [];
    let cursor = "";
    for (let next: string | null = ""; next !== null; cursor = next ?? cursor) {
      const page = await at.get(`/v1/errors?limit=1${next === "" ? "" : `&cursor=${next}`}`);
      classes.push(...page.items.map((item) => item.class ?? ""));
      next = page.next_cursor;
    }
    expect(classes).toEqual(["effect_ambiguous", "TypeError", "RangeError"]);

    const effects = await at.get("/v1/effects?limit=1");
    const rest = await at.get(`/v1/effects?limit=1&cursor=${effects.next_cursor}`);
    expect([...effects.items, ...rest.items].map(({ id }) => id)).toEqual(
      (await at.get("/v1/effects")).items.map(({ id }) => id),
    );
    const runs = await at.get("/v1/runs?limit=1");
    for (const [path, as] of [
      [`/v1/effects?state=settled&cursor=${effects.next_cursor}`, "admin"],
      [`/v1/effects?tool=pay&cursor=${effects.next_cursor}`, "admin"],
      [`/v1/effects?cursor=${effects.next_cursor}`, "globex"],
      [`/v1/errors?since=2020-01-01&cursor=${cursor}`, "admin"],
      [`/v1/errors?cursor=${runs.next_cursor}`, "admin"],
      [`/v1/runs?cursor=${runs.next_cursor}`, "globex"],
      [`/v1/runs?status=error&cursor=${runs.next_cursor}`, "admin"],
    ] as const)
      expect([path, as, await at.statusOf("GET", path, { as })]).toEqual([path, as, 422]);
  });

  it("refuses what it does not know", async () => {
    await using at = await opened(engine);
    for (const path of [
      "/v1/effects?state=maybe",
      "/v1/effects?limit=0",
      "/v1/effects?limit=many",
      "/v1/effects?older_than_seconds=-1",
      "/v1/effects?run_id=nonsense",
      "/v1/effects?tool=",
      "/v1/errors?limit=0",
      "/v1/errors?since=yesterday",
      "/v1/errors?cursor=nonsense",
      "/v1/runs?status=maybe",
      "/v1/runs?limit=1001",
      "/v1/runs?until=tomorrow",
    ])
      expect([path, await at.statusOf("GET", path)]).toEqual([path, 422]);
  });

  it("refuses to try again what is not there, has succeeded, or whose graph is gone, and says why", async () => {
    await using at = await opened(engine);
    const answerTo = async (run: string, verb = "retry") => {
      const response = await at.call("POST", `/v1/runs/${run}/${verb}`, { json: {} });
      return [response.status, ((await response.json()) as { readonly detail?: string }).detail];
    };
    const succeeded = await at.ran("nothing");
    expect(await answerTo(succeeded.run)).toEqual([409, expect.stringMatching(/succeeded: there is nothing/)]);
    const failed = await at.ran("type");
    expect(await answerTo(failed.run, "resume")).toEqual([409, expect.stringMatching(/only a parked one is resumed/)]);
    expect(await at.statusOf("POST", `/v1/runs/${failed.run}/retry`, { json: { reason: 7 } })).toBe(422);
    at.world.isGone = true;
    expect(await answerTo(failed.run)).toEqual([409, expect.stringMatching(/graph acts is not registered any more/)]);
    at.world.isGone = false;
    await at.call("DELETE", `/threads/${failed.thread}`);
    expect(await at.statusOf("POST", `/v1/runs/${failed.run}/retry`, { json: {} })).toBe(404);
    expect(await at.statusOf("POST", "/v1/runs/018bcfe5-6800-7000-8000-000000000001/retry", { json: {} })).toBe(404);
    expect(await at.statusOf("POST", "/v1/runs/nonsense/retry", { json: {} })).toBe(422);
  });
});
