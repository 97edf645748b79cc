/** Every metric that the names file has is told by the product, and no other; none says whose a thing was. */
import { describe, expect, it } from "vitest";
import { tenantId, threadId } from "../../src/core/ids.ts";
import { METRICS } from "../../src/telemetry/metric-names.ts";
import type { MetricName } from "../../src/telemetry/metric-names.ts";
import type { Telemetry } from "../../src/telemetry/open-telemetry.ts";
import { eventually } from "../support/eventually.ts";
import { createTestGraphs } from "../support/graphs.ts";
import { otelEnv, startOtlpReceiver } from "../support/otlp-receiver.ts";
import type { ToldMetric } from "../support/otlp.ts";
import { startService } from "../support/service.ts";
import { tellingGraphs, tellingServices } from "../support/telling-graphs.ts";
import { startTelling } from "../support/telling.ts";

interface Reviews {
  readonly items: readonly { readonly id: string; readonly digest: string }[];
}

/** A run with a model, a tool and retries, which is streamed; and one that asks, is answered and goes on. */
async function ordinaryWork(telemetry: Telemetry): Promise<void> {
  await using service = await startService({ graphs: tellingGraphs, services: tellingServices, telemetry });
  const acme = service.client("acme");
  for await (const _ of acme.runs.stream(null, "plain", { input: { text: "a", fails: false } })) void _;
  const { thread_id: thread } = await acme.threads.create();
  await acme.runs.wait(thread, "asking", { input: { text: "b", fails: false } });
  const open = (await (await service.app.call("GET", "/v1/reviews?state=open")).json()) as Reviews;
  const [asked] = open.items;
  const json = { type: "approve", digest: asked?.digest };
  const decided = await service.app.call("POST", `/v1/reviews/${asked?.id}/decisions`, { json });
  const { decision } = (await decided.json()) as { readonly decision: { readonly continuation_run_id: string } };
  await acme.runs.join(thread, decision.continuation_run_id);
}

/** A run whose worker loses its lease to somebody who is never heard of again, and takes it over from there. */
async function lostAndTakenOver(telemetry: Telemetry): Promise<void> {
  const { registry, gate } = createTestGraphs();
  await using service = await startService({ graphs: registry, telemetry });
  const acme = service.client("acme");
  const { thread_id: thread } = await acme.threads.create();
  const { run_id: run } = await acme.runs.create(thread, "gated", { input: { text: "c" } });
  await eventually(() => gate.waiting() === 1);
  const { deps } = service;
  const ref = { tenant: tenantId("acme"), threadId: threadId(thread) };
  await deps.threads.update(ref, (header) => ({
    ...header,
    fence: header.fence + 1,
    lease: { owner: "somebody/else", beat: 0, endsAt: deps.table.now() + 1 },
  }));
  await eventually(() => gate.waiting() === 0, "the loss");
  await eventually(() => gate.waiting() === 1, "the takeover");
  gate.open();
  await acme.runs.join(thread, run);
}

const kindOf = ({ kind }: MetricName): ToldMetric["kind"] => (kind === "histogram" || kind === "gauge" ? kind : "sum");

describe("the metrics of the product", () => {
  it("are those of the names file, with their kinds, units and attributes", async () => {
    await using receiver = await startOtlpReceiver();
    {
      await using telling = await startTelling({ ...otelEnv(receiver.url), OTEL_TRACES_EXPORTER: "none" });
      await ordinaryWork(telling.telemetry);
      await lostAndTakenOver(telling.telemetry);
      expect(telling.lines).toEqual([]);
    }
    const told = new Map(receiver.metrics.map((metric) => [metric.name, metric]));
    const names: readonly MetricName[] = Object.values(METRICS);
    expect([...told.keys()].toSorted((a, b) => a.localeCompare(b))).toEqual(
      names.map(({ name }) => name).toSorted((a, b) => a.localeCompare(b)),
    );
    for (const metric of names) {
      const of = told.get(metric.name);
      expect(of).toMatchObject({ unit: metric.unit, kind: kindOf(metric) });
      // Nothing has failed here.
      const shown = metric.attributes.filter((attribute) => attribute !== "error.type");
      expect(of?.attributes).toEqual(shown.toSorted((a, b) => a.localeCompare(b)));
    }
    expect(receiver.spans).toEqual([]);
    for (const word of ["acme", "alice", "threadId", "holdpoint.run.id"]) expect(receiver.text).not.toContain(word);
  });

  it("have dimensions that are among their attributes, and names of which each stands once", () => {
    const names: readonly MetricName[] = Object.values(METRICS);
    for (const { attributes, dimensions } of names) expect(attributes).toEqual(expect.arrayContaining([...dimensions]));
    expect(new Set(names.map(({ name }) => name)).size).toBe(names.length);
  });
});
