/** What real processes tell: across a crash, to an OpenTelemetry Collector where Go can build one; and what they load. */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { PROJECT } from "../../scripts/demo/process.ts";
import { startCollector, whyNoCollector } from "../support/collector.ts";
import { fleetEngines } from "../support/fleet.ts";
import { otelEnv, startOtlpReceiver } from "../support/otlp-receiver.ts";
import type { ToldMetric, ToldSpan } from "../support/otlp.ts";
import { startTestService, testFolder, until } from "../support/process.ts";

const GRAPHS = join(PROJECT, "test/e2e/graphs/langgraph.json");

interface Receiver extends AsyncDisposable {
  readonly url: string;
  readonly spans: readonly ToldSpan[];
  readonly metrics: readonly ToldMetric[];
}

interface ReceiverKind {
  readonly name: string;
  /** Of the Collector the protocol's ordinary one. */
  readonly env: Readonly<Record<string, string>>;
  start(): Promise<Receiver>;
}

const missing = await whyNoCollector();
if (missing !== undefined) console.log(`the OpenTelemetry Collector is left out: ${missing}`);
const collector: ReceiverKind = {
  name: "the OpenTelemetry Collector",
  env: { OTEL_EXPORTER_OTLP_PROTOCOL: "http/protobuf" },
  start: startCollector,
};
const receivers: readonly ReceiverKind[] = [
  { name: "a receiver of OTLP in JSON", env: {}, start: startOtlpReceiver },
  ...(missing === undefined ? [collector] : []),
];

/** The one span of this name, once it has come. */
async function theOnly(receiver: Receiver, name: string): Promise<ToldSpan> {
  const find = (): readonly ToldSpan[] => receiver.spans.filter((span) => span.name === name);
  const found = await until(name, () => find().at(0));
  expect(find()).toHaveLength(1);
  return found;
}

const [sqlite] = fleetEngines();
if (!sqlite) throw new Error("there is no engine");

describe.each(receivers)("to $name", { timeout: 120_000 }, (receiverKind) => {
  it("the run of a killed worker is told as two deliveries, the second linked to the first and to the accept", async () => {
    await using receiver = await receiverKind.start();
    const settings = {
      ...otelEnv(receiver.url),
      ...receiverKind.env,
      HOLDPOINT_CONFIG: GRAPHS,
      HOLDPOINT_LEASE_MS: "1000",
    };
    await using fleet = await sqlite.open(settings);
    const { service: api, client } = await fleet.startApi();
    const killed = fleet.start({ role: "worker" });
    await killed.ready;
    const { thread_id: thread } = await client.threads.create();
    const { run_id: run } = await client.runs.create(thread, "steps", { input: { steps: 12, pauseMs: 150 } });
    const steps = () => receiver.spans.filter(({ name }) => name === "node step");
    await until("a step", () => steps().length > 0);
    await killed.stop("SIGKILL");
    const lost = new Set(steps().map(({ parentId }) => parentId));

    const heir = fleet.start({ role: "worker" });
    await heir.ready;
    await client.runs.join(thread, run);
    for (const service of [heir, api]) expect(await service.stop("SIGTERM")).toMatchObject({ code: 0 });

    const delivery = await theOnly(receiver, "invoke_workflow steps");
    // Of the one that was killed its steps are told, and not its end.
    expect(lost.size).toBe(1);
    const accepted = await theOnly(receiver, "accept steps");
    expect(delivery.links).toEqual([accepted.spanId, ...lost]);
    expect(delivery.attributes).toMatchObject({ "holdpoint.outcome": "success" });
    expect(receiver.metrics.map(({ name }) => name)).toEqual(
      expect.arrayContaining(["holdpoint.takeovers", "holdpoint.runs.ended", "holdpoint.backlog"]),
    );
    const ended = heir.lines.find((line) => line.includes('"run ended"')) ?? "{}";
    expect(JSON.parse(ended)).toMatchObject({ trace_id: delivery.traceId, span_id: delivery.spanId, run });
  });
});

describe("a process", () => {
  const PROTOBUF = { OTEL_EXPORTER_OTLP_PROTOCOL: "http/protobuf" };

  it.each([{}, PROTOBUF])(
    "whose receiver is a black hole serves, and ends when it is asked to: %j",
    async (protocol) => {
      await using receiver = await startOtlpReceiver();
      receiver.health = "hangs";
      await using folder = await testFolder();
      const late = { OTEL_EXPORTER_OTLP_TIMEOUT: "600000", HOLDPOINT_CONFIG: GRAPHS };
      const env = { ...otelEnv(receiver.url), ...protocol, ...late };
      await using service = startTestService({ role: "all", dataDir: folder.path, env });
      const { url } = await service.ready;
      expect((await fetch(`${url}/ready`)).status).toBe(200);
      await until("an export", () => receiver.requests > 0);
      expect(await service.stop("SIGTERM")).toMatchObject({ code: 0 });
    },
  );

  it("tells its spans and metrics in protobuf as well, which is what it speaks unless told otherwise", async () => {
    await using receiver = await startOtlpReceiver();
    const { OTEL_EXPORTER_OTLP_PROTOCOL: _, ...env } = otelEnv(receiver.url);
    await using folder = await testFolder();
    await using service = startTestService({
      role: "all",
      dataDir: folder.path,
      env: { ...env, HOLDPOINT_CONFIG: GRAPHS },
    });
    const { url } = await service.ready;
    await fetch(`${url}/threads`, { method: "POST", headers: { "content-type": "application/json" }, body: "{}" });
    await until("a metric", () => receiver.text.includes("holdpoint.backlog"));
    await until("a span", () => receiver.text.includes("POST /threads"));
    expect(receiver.metrics).toEqual([]);
  });

  /** Packages of OpenTelemetry that a process loads until it is ready. */
  async function loaded(env: Readonly<Record<string, string>>): Promise<ReadonlySet<string>> {
    const telling = `import { registerHooks } from "node:module"; registerHooks({ load(url, context, next) {
      const name = /@opentelemetry\\/[\\w-]+/.exec(url)?.[0]; if (name) console.error("loads " + name); return next(url, context); } });`;
    const NODE_OPTIONS = `--import=data:text/javascript,${encodeURIComponent(telling)}`;
    await using folder = await testFolder();
    await using service = startTestService({ role: "all", dataDir: folder.path, env: { ...env, NODE_OPTIONS } });
    await service.ready;
    const names = service.stderr.flatMap((line) => (line.startsWith("loads ") ? [line.slice("loads ".length)] : []));
    return new Set(names);
  }

  it("loads no more than OpenTelemetry's API unless its variables say where to", async () => {
    expect(await loaded({ OTEL_SERVICE_NAME: "named" })).toEqual(new Set(["@opentelemetry/api"]));
  });

  it("loads the SDK when they do (negative control)", async () => {
    expect(await loaded({ OTEL_TRACES_EXPORTER: "none" })).toContain("@opentelemetry/sdk-node");
  });
});
