/**
 * The only place that sets OpenTelemetry up, by its own standard variables and before anything else is opened. Without one
 * that names where to, its SDK is not even loaded; where somebody has registered one before, such as a distribution that
 * is preloaded, that one is used.
 *
 * Nobody waits for telemetry: what cannot be sent is kept up to a bound, and then dropped; the end of the process waits
 * for the last of it no longer than a deadline.
 */
import { DiagLogLevel, diag } from "@opentelemetry/api";
import type { DiagLogger } from "@opentelemetry/api";
import type { Clock } from "./core/clock.ts";
import type { Log } from "./runtime/deps.ts";
import { isTraced, noTelemetry, registeredTelemetry } from "./telemetry/open-telemetry.ts";
import type { Telemetry } from "./telemetry/open-telemetry.ts";

export interface TelemetryOptions {
  readonly clock: Clock;
  readonly log: Log;
  readonly version: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** What is told from now on, until it is disposed. */
export interface RunningTelemetry extends AsyncDisposable {
  readonly telemetry: Telemetry;
}

const ENDPOINTS = [
  "OTEL_EXPORTER_OTLP_ENDPOINT",
  "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
  "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
] as const;
/** Any of these says where to, or how: then telemetry is on. */
const WHERE_TO = [...ENDPOINTS, "OTEL_TRACES_EXPORTER", "OTEL_METRICS_EXPORTER"] as const;

/** Of a process that ends. */
const SHUTDOWN_MS = 3000;
/** Problems of telemetry itself: so many lines a minute say what there is to say. */
const PROBLEMS = { lines: 3, windowMs: 60_000 } as const;
const LONGEST_PROBLEM = 300;

/** Starts what the environment asks for. It never fails: a service without telemetry is worth more than none. */
export async function startTelemetry(options: TelemetryOptions): Promise<RunningTelemetry> {
  const { log, env = process.env } = options;
  const isForeign = isTraced();
  if (!isForeign && !isOn(env)) return { telemetry: noTelemetry, [Symbol.asyncDispose]: async () => undefined };
  if (!isForeign) diag.setLogger(problemsIn(options), { logLevel: DiagLogLevel.WARN, suppressOverrideMessage: true });
  const shutdown = isForeign ? async (): Promise<void> => undefined : await startSdk(options, env);
  return {
    telemetry: registeredTelemetry({ capturesContent: capturesContent(env) }),
    async [Symbol.asyncDispose]() {
      const late = new AbortController();
      const ended = shutdown().catch((error: unknown) => log.warn({ err: error }, "telemetry did not end well"));
      await Promise.race([ended, options.clock.sleep(SHUTDOWN_MS, late.signal)]);
      late.abort();
    },
  };
}

const isSet = (value: string | undefined): boolean => value !== undefined && value.trim() !== "";

/** What has no protocol, such as `localhost:4318`, is none. */
const isHttpUrl = (text = ""): boolean => URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);

function isOn(env: Readonly<Record<string, string | undefined>>): boolean {
  return env["OTEL_SDK_DISABLED"]?.trim().toLowerCase() !== "true" && WHERE_TO.some((name) => isSet(env[name]));
}

/** The conventions' variable; `event_only` asks for what is not emitted here. */
function capturesContent(env: Readonly<Record<string, string | undefined>>): boolean {
  const asked = env["OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"]?.trim().toLowerCase() ?? "";
  return ["true", "span_only", "span_and_event"].includes(asked);
}

async function startSdk(
  { log, version }: TelemetryOptions,
  env: Readonly<Record<string, string | undefined>>,
): Promise<() => Promise<void>> {
  for (const setting of ENDPOINTS)
    if (isSet(env[setting]) && !isHttpUrl(env[setting]))
      log.warn({ setting }, "telemetry cannot be sent: not an http(s) URL");
  try {
    const [{ NodeSDK }, { defaultResource, resourceFromAttributes }] = await Promise.all([
      import("@opentelemetry/sdk-node"),
      import("@opentelemetry/resources"),
    ]);
    const resource = resourceFromAttributes({ "service.name": "holdpoint", "service.version": version });
    const sdk = new NodeSDK({
      resource: defaultResource().merge(resource),
      // Logs are lines on standard output, which bear trace ids.
      logRecordProcessors: [],
      ...(env["OTEL_TRACES_EXPORTER"]?.trim() === "none" ? { spanProcessors: [] } : {}),
    });
    sdk.start();
    return () => sdk.shutdown();
  } catch (error) {
    log.error({ err: error }, "telemetry could not be started; the service runs without it");
    return async () => undefined;
  }
}

/** What OpenTelemetry says of its own troubles, in our log and in measure. */
function problemsIn({ log, clock }: TelemetryOptions): DiagLogger {
  let until = -Infinity;
  let lines = 0;
  // Whatever its type says, some of its exporters hand over the error itself.
  const say = (problem: unknown): void => {
    const now = clock.monotonic();
    if (now >= until) [until, lines] = [now + PROBLEMS.windowMs, 0];
    if (lines++ < PROBLEMS.lines)
      log.warn({ problem: String(problem).slice(0, LONGEST_PROBLEM) }, "telemetry has a problem");
  };
  const nothing = (): void => undefined;
  return { error: say, warn: say, info: nothing, debug: nothing, verbose: nothing };
}
