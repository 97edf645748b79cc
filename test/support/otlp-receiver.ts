/** A receiver of OTLP over HTTP, which can fall ill. It understands the protocol's JSON; of protobuf it keeps the bytes. */
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import { listen } from "./http.ts";
import { metricsIn, spansIn } from "./otlp.ts";
import type { MetricsRequest, ToldMetric, ToldSpan, TraceRequest } from "./otlp.ts";

/** `hangs`: takes everything and never answers. `fails`: answers 500. `breaks`: closes the connection. */
export type Health = "answers" | "hangs" | "fails" | "breaks";

export interface OtlpReceiver extends AsyncDisposable {
  readonly url: string;
  readonly spans: readonly ToldSpan[];
  readonly metrics: readonly ToldMetric[];
  /** Everything that came, as text. */
  readonly text: string;
  /** Requests so far, whatever became of them. */
  readonly requests: number;
  health: Health;
}

/** The variables with which a process tells this receiver everything, soon. */
export const otelEnv = (url: string): Readonly<Record<string, string>> => ({
  OTEL_EXPORTER_OTLP_ENDPOINT: url,
  OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
  OTEL_METRICS_EXPORTER: "otlp",
  OTEL_METRIC_EXPORT_INTERVAL: "500",
  OTEL_METRIC_EXPORT_TIMEOUT: "400",
  OTEL_BSP_SCHEDULE_DELAY: "100",
  OTEL_NODE_RESOURCE_DETECTORS: "env",
});

export async function startOtlpReceiver(): Promise<OtlpReceiver> {
  const traces: TraceRequest[] = [];
  const metrics: MetricsRequest[] = [];
  const texts: string[] = [];
  let requests = 0;
  const taken = ({ url: path, headers }: IncomingMessage, bytes: Buffer): void => {
    const text = bytes.toString("utf8");
    texts.push(text);
    if (headers["content-type"] === "application/x-protobuf") return;
    const body: unknown = JSON.parse(text);
    if (path === "/v1/traces") traces.push(body as TraceRequest);
    else metrics.push(body as MetricsRequest);
  };
  const answer = (response: ServerResponse, health: Health): void => {
    if (health === "breaks") response.destroy();
    else if (health !== "hangs") response.writeHead(health === "answers" ? 200 : 500).end("{}");
  };
  const server = createServer((request, response) => {
    requests++;
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("error", () => undefined);
    request.on("end", () => {
      if (receiver.health === "answers") taken(request, Buffer.concat(chunks));
      answer(response, receiver.health);
    });
  });
  const { url, [Symbol.asyncDispose]: close } = await listen(server);
  const receiver: OtlpReceiver = {
    url,
    health: "answers",
    get spans() {
      return spansIn(traces);
    },
    get metrics() {
      return metricsIn(metrics);
    },
    get text() {
      return texts.join("\n");
    },
    get requests() {
      return requests;
    },
    [Symbol.asyncDispose]: close,
  };
  return receiver;
}
