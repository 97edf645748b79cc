/** Every change of a webhook and of a cron is on the record, and no record has a secret in it. */
import { describe, expect, it } from "vitest";
import { tenantId } from "../../src/core/ids.ts";
import { verifyChain } from "../../src/runtime/audit/verify.ts";
import { serviceEngines } from "../support/engines.ts";
import type { Engine } from "../support/engines.ts";
import { LONG_MS, eventually } from "../support/eventually.ts";
import { createTestGraphs } from "../support/graphs.ts";
import { startService } from "../support/service.ts";

interface Entry {
  readonly action: string;
  readonly actor: string;
  readonly request_id: string | null;
  readonly webhook_id: string | null;
  readonly cron_id: string | null;
  readonly link: number | null;
  readonly patch: readonly { readonly op: string; readonly path: string; readonly value?: unknown }[];
}

async function opened(engine: Engine) {
  await using opening = new AsyncDisposableStack();
  const { table } = opening.use(await engine.open());
  const service = opening.use(await startService({ graphs: createTestGraphs().registry, table }));
  const kept = opening.move();
  const call = async <T>(method: "GET" | "POST" | "PATCH" | "DELETE", path: string, json?: object): Promise<T> => {
    const response = await service.app.call(method, path, json ? { json } : {});
    expect([path, response.ok]).toEqual([path, true]);
    return (response.status === 204 ? {} : await response.json()) as T;
  };
  return {
    service,
    call,
    /** In the order of their actions: some may be of the same millisecond. */
    entries: async (kind: string) =>
      (await call<{ readonly items: readonly Entry[] }>("GET", `/v1/audit?kind=${kind}`)).items.toSorted((a, b) =>
        a.action < b.action ? -1 : 1,
      ),
    [Symbol.asyncDispose]: () => kept.disposeAsync(),
  };
}

describe.each(serviceEngines())("on $name, the audit log", { timeout: 120_000 }, (engine) => {
  it("has one entry for each change of a webhook: who, when, from what to what, and no secret", async () => {
    await using at = await opened(engine);
    const { call, entries } = at;
    const address = "https://example.com/services/T0K3N";
    const made = await call<{ id: string; secret: string }>("POST", "/v1/webhooks", {
      url: address,
      events: ["run.ended"],
    });
    const hook = `/v1/webhooks/${made.id}`;
    await call("PATCH", hook, { description: "for the desk", events: ["run.ended", "review.opened"] });
    await call("POST", `${hook}/pause`);
    await call("POST", `${hook}/resume`);
    const { secret } = await call<{ secret: string }>("POST", `${hook}/rotate`);
    await call("DELETE", hook);

    const hooks = await entries("webhook");
    expect(hooks.map(({ action }) => action)).toEqual(["create", "pause", "remove", "resume", "rotate", "update"]);
    for (const entry of hooks)
      expect(entry).toMatchObject({ actor: "alice", webhook_id: made.id, request_id: expect.any(String) as string });
    expect(hooks[5]?.patch).toEqual([
      { op: "replace", path: "/description", value: "for the desk" },
      { op: "add", path: "/events/-", value: "review.opened" },
    ]);
    expect(hooks[4]?.patch.map(({ path }) => path)).toEqual(["/secrets"]);
    const text = JSON.stringify(hooks);
    for (const hidden of [made.secret, secret, address, "T0K3N"]) expect(text).not.toContain(hidden);
  });

  it("has one entry for each change of a cron, and chains it", async () => {
    await using at = await opened(engine);
    const { service, entries } = at;
    const sdk = service.client("acme");
    const { cron_id: cron } = await sdk.crons.create("echo", {
      schedule: "0 9 * * 1-5",
      input: { text: "daily" },
      metadata: { team: "a" },
    });
    await sdk.crons.update(cron, { enabled: false });
    await sdk.crons.update(cron, { input: { text: "changed" } });
    await sdk.crons.delete(cron);
    const crons = await entries("schedule");
    expect(crons.map(({ action }) => action)).toEqual(["create", "remove", "update", "update"]);
    expect(
      crons
        .slice(2)
        .flatMap(({ patch }) => patch.map(({ path }) => path))
        .toSorted(),
    ).toEqual(["/enabled", "/request"]);
    expect(crons.every(({ cron_id: id, actor }) => id === cron && actor === "alice")).toBe(true);

    const isChained = async () => (await entries("schedule")).every(({ link }) => link !== null);
    await eventually(isChained, "the chain", LONG_MS);
    expect((await verifyChain(service.deps.audit, tenantId("acme"))).problems).toEqual([]);
  });

  it("has nothing of who may not, and nothing of another tenant", async () => {
    await using at = await opened(engine);
    const { app } = at.service;
    await app.call("POST", "/v1/webhooks", { json: { url: "https://example.com/", events: ["run.ended"] } });
    for (const [as, path, status] of [
      ["globex", "/v1/audit?kind=webhook", 200],
      ["acme", "/v1/audit?kind=cron", 422],
    ] as const) {
      const response = await app.call("GET", path, { as });
      expect(response.status).toBe(status);
      if (status === 200) expect(await response.json()).toEqual({ items: [], next_cursor: null });
    }
  });
});
