/** Telemetry of this very process, set up as the product sets it up, and taken down again. */
import { context, diag, logs, metrics, propagation, trace } from "@opentelemetry/api";
import { systemClock } from "../../src/core/clock.ts";
import type { Clock } from "../../src/core/clock.ts";
import { startTelemetry } from "../../src/telemetry.ts";
import type { Telemetry } from "../../src/telemetry/open-telemetry.ts";
import { createMemoryLog } from "./http.ts";
import type { LogLine } from "./http.ts";

export interface Telling extends AsyncDisposable {
  readonly telemetry: Telemetry;
  readonly lines: readonly LogLine[];
}

/** OpenTelemetry reads the process's own environment, which is put back at the end. */
export async function startTelling(
  env: Readonly<Record<string, string>>,
  clock: Clock = systemClock,
): Promise<Telling> {
  const before = new Map(Object.keys(env).map((name) => [name, process.env[name]]));
  Object.assign(process.env, env);
  const log = createMemoryLog();
  const running = await startTelemetry({ clock, log, version: "0.0.0" });
  return {
    telemetry: running.telemetry,
    lines: log.lines,
    async [Symbol.asyncDispose]() {
      await running[Symbol.asyncDispose]();
      for (const api of [trace, metrics, logs, context, propagation, diag]) api.disable();
      for (const [name, value] of before) {
        if (value === undefined) delete process.env[name];
        else process.env[name] = value;
      }
    },
  };
}
