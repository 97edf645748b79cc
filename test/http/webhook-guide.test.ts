/** The snippets of docs/webhooks-and-schedules.md, as they stand there. */
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { signatureHeaders } from "../../src/core/webhook.ts";
import { createRegistry, registeredGraph } from "../../src/langgraph/registry.ts";
import { createTestGraphs } from "../support/graphs.ts";
import { startService } from "../support/service.ts";
import { everyWeekday } from "./guides/crons.ts";
import { receive, register } from "./guides/webhooks.ts";

const read = (path: string): string => readFileSync(resolve(import.meta.dirname, path), "utf8");

describe("the guide to webhooks and schedules", () => {
  it.each(["webhooks", "crons"])("shows %s as this test executes it", (name) => {
    expect(read("../../docs/webhooks-and-schedules.md")).toContain(`\`\`\`ts\n${read(`guides/${name}.ts`)}\`\`\``);
  });

  it("registers, and receives each message once", async () => {
    await using service = await startService({ graphs: createTestGraphs().registry, worker: false });
    const { id, secret } = await register(service.app.url, service.app.key("acme"), "https://example.com/hook");
    const shown = (await (await service.app.call("GET", `/v1/webhooks/${id}`)).json()) as object;
    expect(shown).toMatchObject({ groups: ["payments"], state: "active" });
    const body = JSON.stringify({ type: "review.opened" });
    const key = Buffer.from(secret.slice("whsec_".length), "base64");
    const headers = signatureHeaders({ id: "one", at: Date.now(), body: Buffer.from(body), keys: [key] });
    expect(receive(secret, body, { ...headers })).toEqual({ type: "review.opened" });
    expect(receive(secret, body, { ...headers })).toBeUndefined();
    expect(() => receive(secret, `${body} `, { ...headers })).toThrow(/signature/i);
  });

  it("makes a cron", async () => {
    const { registry } = createTestGraphs();
    const compiled = await registry.get("echo")?.compiled();
    if (!compiled) throw new Error("there is no graph");
    const graphs = createRegistry([registeredGraph("policy-desk", compiled)], []);
    await using service = await startService({ graphs, worker: false });
    const made = await everyWeekday(service.client("acme"));
    expect(made).toMatchObject({ schedule: "0 9 * * 1-5", payload: { webhook: "https://example.com/hooks/report" } });
  });
});
