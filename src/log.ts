import { context, trace } from "@opentelemetry/api";
import { pino } from "pino";
import type { Log } from "./runtime/deps.ts";

/** A log that can be flushed: what is buffered must be out before the process ends. */
export interface ProcessLog extends Log, Disposable {}

export interface LogOptions {
  readonly level: "debug" | "info" | "warn" | "error" | "silent";
  /** JSON, one object a line; or lines for a person at a terminal. */
  readonly format: "json" | "text";
}

/** Logs to standard output through pino, one line per state change. */
export function createLog({ level, format }: LogOptions): ProcessLog {
  const out = pino.destination({ dest: 1, sync: false });
  const target = format === "json" ? out : { write: (line: string): void => void out.write(readable(line)) };
  const log = pino(
    {
      level,
      base: { pid: process.pid },
      timestamp: pino.stdTimeFunctions.isoTime,
      mixin: spanFields,
      formatters: { level: (label) => ({ level: label }) },
    },
    target,
  );
  return {
    debug: (fields, message) => log.debug(fields, message),
    info: (fields, message) => log.info(fields, message),
    warn: (fields, message) => log.warn(fields, message),
    error: (fields, message) => log.error(fields, message),
    [Symbol.dispose]: () => out.flushSync(),
  };
}

/** By which a line is found from the span that was going on, and the span from the line. */
function spanFields(): object {
  const span = trace.getSpanContext(context.active());
  return span ? { trace_id: span.traceId, span_id: span.spanId } : {};
}

/** One JSON line of pino's as a line for a person: time, message, then the fields that it came with. */
function readable(line: string): string {
  const { time, level, pid: _, msg, ...fields } = JSON.parse(line) as Record<string, unknown>;
  const shown = Object.entries(fields).map(
    ([name, value]) => ` ${name}=${typeof value === "string" ? value : JSON.stringify(value)}`,
  );
  const severity = level === "info" ? "" : `${String(level)}: `;
  return `${String(time).slice(11, 19)} ${severity}${String(msg)}${shown.join("")}\n`;
}
