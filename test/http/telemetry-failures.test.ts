/** Whatever becomes of who is told: no run is harmed by it, nothing grows, and nobody waits. */
import { describe, expect, it } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { eventually } from "../support/eventually.ts";
import { freePort } from "../support/free-port.ts";
import { otelEnv, startOtlpReceiver } from "../support/otlp-receiver.ts";
import type { Health, OtlpReceiver } from "../support/otlp-receiver.ts";
import { startService } from "../support/service.ts";
import { tellingGraphs, tellingServices } from "../support/telling-graphs.ts";
import { startTelling } from "../support/telling.ts";
import type { Telling } from "../support/telling.ts";

/** On which every wait is over at once: a deadline is then reached before anything else. */
const impatient = { ...systemClock, sleep: async () => undefined };

async function runs(telling: Telling, count: number): Promise<void> {
  const { telemetry } = telling;
  await using service = await startService({ graphs: tellingGraphs, services: tellingServices, telemetry });
  const acme = service.client("acme");
  for (let i = 0; i < count; i++) {
    const { thread_id: thread } = await acme.threads.create();
    const { run_id: run } = await acme.runs.create(thread, "plain", { input: { text: `run ${i}`, fails: false } });
    await acme.runs.join(thread, run);
    expect((await acme.runs.get(thread, run)).status).toBe("success");
  }
}

const quick = (url: string) => ({ ...otelEnv(url), OTEL_EXPORTER_OTLP_TIMEOUT: "300", OTEL_BSP_EXPORT_TIMEOUT: "400" });

describe("runs", () => {
  it.each<Health>(["hangs", "fails", "breaks"])("succeed while the receiver %s", async (health) => {
    await using receiver = await startOtlpReceiver();
    receiver.health = health;
    await using telling = await startTelling(quick(receiver.url));
    await runs(telling, 5);
    await eventually(() => receiver.requests > 0, "an export");
    expect(receiver.spans).toEqual([]);
  });

  it("succeed while there is no receiver, and the log says so, in measure", async () => {
    await using telling = await startTelling(quick(`http://127.0.0.1:${await freePort()}`));
    await runs(telling, 5);
    await eventually(() => telling.lines.length > 0, "a line");
    await runs(telling, 5);
    expect(telling.lines.length).toBeLessThanOrEqual(3);
    expect(telling.lines[0]).toMatchObject({ level: "warn", message: "telemetry has a problem" });
  });

  it("are told again once the receiver is well again", async () => {
    await using receiver = await startOtlpReceiver();
    receiver.health = "breaks";
    {
      await using telling = await startTelling(quick(receiver.url));
      await runs(telling, 1);
      await eventually(() => receiver.requests > 0, "an export");
      receiver.health = "answers";
      await runs(telling, 1);
    }
    expect(receiver.spans.filter(({ name }) => name === "invoke_workflow plain").length).toBeGreaterThan(0);
  });
});

describe("what cannot be sent", () => {
  /** Spans that arrive in the end, of these, made while the receiver hangs. */
  async function arriving(made: number, queue: number, receiver: OtlpReceiver): Promise<number> {
    receiver.health = "hangs";
    {
      await using telling = await startTelling({ ...quick(receiver.url), OTEL_BSP_MAX_QUEUE_SIZE: String(queue) });
      for (let i = 0; i < made; i++) telling.telemetry.tracer?.startSpan(`span ${i}`).end();
      await eventually(() => receiver.requests > 0, "an export");
      receiver.health = "answers";
    }
    return receiver.spans.length;
  }

  it("is kept up to a bound, and then dropped", async () => {
    await using receiver = await startOtlpReceiver();
    const arrived = await arriving(5000, 1024, receiver);
    expect(arrived).toBeGreaterThan(0);
    expect(arrived).toBeLessThanOrEqual(1024);
  });

  it("would all be kept without it (negative control)", async () => {
    await using receiver = await startOtlpReceiver();
    expect(await arriving(5000, 100_000, receiver)).toBeGreaterThan(1024);
  });

  it("keeps no process: its end waits as long as a deadline says, and no longer", async () => {
    await using receiver = await startOtlpReceiver();
    receiver.health = "hangs";
    const slow = { ...otelEnv(receiver.url), OTEL_EXPORTER_OTLP_TIMEOUT: "600000", OTEL_BSP_EXPORT_TIMEOUT: "600000" };
    await using telling = await startTelling({ ...slow, OTEL_METRIC_EXPORT_TIMEOUT: "600000" }, impatient);
    telling.telemetry.tracer?.startSpan("a span").end();
    await eventually(() => receiver.requests > 0, "an export");
    await telling[Symbol.asyncDispose]();
    expect(receiver.health).toBe("hangs");
  });
});

describe("Prometheus", () => {
  const prometheus = (port: number) => ({
    OTEL_TRACES_EXPORTER: "none",
    OTEL_METRICS_EXPORTER: "prometheus",
    OTEL_EXPORTER_PROMETHEUS_HOST: "127.0.0.1",
    OTEL_EXPORTER_PROMETHEUS_PORT: String(port),
  });

  it("reads the metrics where its own variables say", async () => {
    const port = await freePort();
    await using telling = await startTelling(prometheus(port));
    await runs(telling, 1);
    const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
    expect(text).toMatch(/^holdpoint_run_duration_count\{.*outcome="success".*\} 1$/m);
    expect(text).toMatch(/^holdpoint_runs_ended_total\{.*\} 1$/m);
  });

  it("that finds its port taken is told of in the log, and runs go on", async () => {
    await using receiver = await startOtlpReceiver();
    await using telling = await startTelling(prometheus(Number(new URL(receiver.url).port)));
    await runs(telling, 1);
    await eventually(() => telling.lines.length > 0, "a line");
    expect(telling.lines[0]?.fields["problem"]).toContain("EADDRINUSE");
  });
});
