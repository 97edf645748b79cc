import { join } from "node:path";
import { PROJECT, startProcess } from "./process.ts";
import type { ProcessOptions, RunningProcess } from "./process.ts";

/** The flags that `npm run dev` and `npm start` give to Node as well. */
export const NODE_FLAGS = [
  "--max-semi-space-size=16",
  "--heap-growing-percent=50",
  "--conditions=holdpoint-source",
] as const;

/** Compiled sources are kept: TypeScript is then not stripped again at every start, which saves 30 MB and time. */
export const NODE_ENV = { NODE_COMPILE_CACHE: join(PROJECT, ".cache/node") } as const;

/** A start takes a second or two; a machine that does much else takes its time. */
const READY_MS = 60_000;

export interface ServiceOptions extends Omit<ProcessOptions, "name" | "args"> {
  readonly mode?: "dev" | "start";
  readonly role: "api" | "worker" | "all";
  /** Flags after the mode. */
  readonly flags?: readonly string[];
}

/** What a process of the service says once it is ready. */
export interface Ready {
  readonly url?: string;
  readonly [field: string]: unknown;
}

export interface Service extends RunningProcess {
  readonly role: "api" | "worker" | "all";
  /** Resolves when the service says that it is ready. */
  readonly ready: Promise<Ready>;
}

/** Starts one real process of the service. */
export function startService({ mode = "start", role, flags = [], ...options }: ServiceOptions): Service {
  const main = join(PROJECT, "src/main.ts");
  const args = [...NODE_FLAGS, main, mode, "--role", role, ...flags];
  const env = { ...NODE_ENV, ...options.env };
  const running = startProcess({ ...options, env, name: `the ${role} process`, args });
  const ready = running.line(readyLine, READY_MS);
  // Whoever never asks whether it became ready must not be told by an unhandled rejection.
  ready.catch(() => undefined);
  return { ...running, role, ready };
}

function readyLine(line: string): Ready | undefined {
  if (!line.includes('"ready"')) return undefined;
  try {
    const said = JSON.parse(line) as Ready;
    return said["msg"] === "ready" ? said : undefined;
  } catch {
    return undefined;
  }
}
