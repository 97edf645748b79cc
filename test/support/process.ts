import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SETTINGS } from "../../src/config.ts";
import { PROJECT } from "../../scripts/demo/process.ts";
import { startService } from "../../scripts/demo/service.ts";
import type { Service, ServiceOptions } from "../../scripts/demo/service.ts";

/** A folder of its own for one test, removed at its end. */
export interface TestFolder extends AsyncDisposable {
  readonly path: string;
}

export async function testFolder(): Promise<TestFolder> {
  const path = await mkdtemp(join(tmpdir(), "holdpoint-"));
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true, maxRetries: 5 }) };
}

/** No setting of the machine that runs the tests reaches a service under test. */
export const NO_SETTINGS: Readonly<Record<string, undefined>> = Object.fromEntries(
  SETTINGS.map(({ name }) => [name, undefined]),
);

/** The shipped graphs, whatever folder a test runs in. */
export const SHIPPED_GRAPHS = join(PROJECT, "langgraph.json");

export interface TestServiceOptions extends Omit<ServiceOptions, "env"> {
  readonly dataDir: string;
  readonly env?: Readonly<Record<string, string | undefined>>;
}

/** One real process of the service on any free port, with no settings but the given. */
export function startTestService({ dataDir, env, flags = [], ...options }: TestServiceOptions): Service {
  return startService({
    ...options,
    env: { ...NO_SETTINGS, HOLDPOINT_PORT: "0", HOLDPOINT_CONFIG: SHIPPED_GRAPHS, HOLDPOINT_DATA_DIR: dataDir, ...env },
    flags,
  });
}

/** Polls until the condition holds. @throws Error when it does not within the time */
export async function until<T>(
  what: string,
  condition: () => Promise<T | undefined | false> | T | undefined | false,
  timeoutMs = 15_000,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    const found = await condition();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > deadline) throw new Error(`${what}: not within ${timeoutMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
}
