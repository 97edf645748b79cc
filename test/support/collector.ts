/** The OpenTelemetry Collector: built once with Go into `.cache`, writing all that it is told to a file. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "./free-port.ts";
import { onPath } from "./on-path.ts";
import { metricsIn, spansIn } from "./otlp.ts";
import type { MetricsRequest, ToldMetric, ToldSpan, TraceRequest } from "./otlp.ts";
import { until } from "./process.ts";

const SOURCE = fileURLToPath(new URL("otelcol", import.meta.url));
const CACHE = fileURLToPath(new URL("../../.cache/otelcol", import.meta.url));
const START_MS = 60_000;
const WANTED = process.env["HOLDPOINT_COLLECTOR"] === "1" || process.env["HOLDPOINT_NIGHTLY"] === "1";

/** A program of these sources and no others. */
function binary(): string {
  const hash = createHash("sha256");
  for (const file of ["main.go", "go.mod", "go.sum"]) hash.update(readFileSync(join(SOURCE, file)));
  return join(CACHE, hash.digest("hex").slice(0, 16));
}

/** Why it cannot run here, in a few words; undefined when it can, after building it if need be: that takes minutes. */
export async function whyNoCollector(): Promise<string | undefined> {
  if (existsSync(binary())) return undefined;
  if (!WANTED) return "it is not built yet, which takes minutes: HOLDPOINT_COLLECTOR=1 has it built";
  if (!(await onPath("go"))) return "Go is not installed";
  try {
    await build();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Into a folder of its own and then renamed, so that two test runs at once do no harm. */
async function build(): Promise<void> {
  await mkdir(CACHE, { recursive: true });
  const folder = await mkdtemp(join(CACHE, "building-"));
  try {
    const target = join(folder, "otelcol");
    const go = spawn("go", ["build", "-trimpath", "-ldflags", "-s -w", "-o", target, "."], {
      cwd: SOURCE,
      stdio: ["ignore", "inherit", "inherit"],
    });
    const code = await new Promise((resolve, reject) => go.once("error", reject).once("close", resolve));
    if (code !== 0) throw new Error("Go could not build it");
    await rename(target, binary());
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export interface Collector extends AsyncDisposable {
  readonly url: string;
  readonly spans: readonly ToldSpan[];
  readonly metrics: readonly ToldMetric[];
}

/** Starts it on a free port. It ends with this process, however that ends. */
export async function startCollector(): Promise<Collector> {
  const folder = await mkdtemp(join(tmpdir(), "holdpoint-otelcol-"));
  const [port, file] = [await freePort(), join(folder, "told.jsonl")];
  const pipeline = { receivers: ["otlp"], exporters: ["file"] };
  const config = {
    receivers: { otlp: { protocols: { http: { endpoint: `127.0.0.1:${port}` } } } },
    exporters: { file: { path: file, flush_interval: "50ms" } },
    service: { telemetry: { metrics: { level: "none" } }, pipelines: { traces: pipeline, metrics: pipeline } },
  };
  const script = '"$@" >/dev/null 2>&1 & child=$!; cat >/dev/null; kill $child; wait $child';
  const args = ["-c", script, "sh", binary(), "--config", `yaml:${JSON.stringify(config)}`];
  const shell = spawn("sh", args, { stdio: ["pipe", "ignore", "inherit"] });
  const ended = new Promise<void>((resolve) => shell.once("close", () => resolve()));
  const url = `http://127.0.0.1:${port}`;
  const told = (): readonly (TraceRequest & MetricsRequest)[] =>
    existsSync(file)
      ? readFileSync(file, "utf8")
          .split("\n")
          .filter((line) => line.endsWith("}"))
          .map((line) => JSON.parse(line) as TraceRequest & MetricsRequest)
      : [];
  const collector: Collector = {
    url,
    get spans() {
      return spansIn(told());
    },
    get metrics() {
      return metricsIn(told());
    },
    async [Symbol.asyncDispose]() {
      shell.stdin.end();
      await ended;
      await rm(folder, { recursive: true, force: true });
    },
  };
  const answers = (): Promise<boolean> =>
    fetch(url).then(
      () => true,
      () => false,
    );
  await until("the Collector's start", answers, START_MS);
  return collector;
}
