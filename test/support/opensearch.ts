/** OpenSearch with its k-NN plugin: fetched once with Maven into `.cache`, run with Java on loopback. */
import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { freePort } from "./free-port.ts";
import { whyNotFetched } from "./maven.ts";

const POM = fileURLToPath(new URL("opensearch/pom.xml", import.meta.url));
const LAUNCH = fileURLToPath(new URL("opensearch/Launch.java", import.meta.url));
const LIBRARY = fileURLToPath(new URL("../../.cache/opensearch/2.19.1.0", import.meta.url));

/** Java takes long to begin with, and much longer on a machine that does other work as well. */
export const OPENSEARCH_START_MS = 150_000;

/** Why OpenSearch cannot run here, in a few words; undefined when it can, after fetching it if need be. */
export function whyNoOpenSearch(): Promise<string | undefined> {
  return whyNotFetched({ folder: LIBRARY, pom: POM, goal: "package" });
}

export interface OpenSearchServer extends AsyncDisposable {
  readonly endpoint: string;
  /** Ends it as a crash does: nothing is flushed, and its data stays. */
  kill(): Promise<void>;
  /** Starts it again on the same port and the same data. */
  restart(): Promise<void>;
}

interface Running {
  kill(): Promise<void>;
}

/** Starts it on a free port. It ends with this process, however that ends: it waits for our end of its input. */
export async function startOpenSearch(): Promise<OpenSearchServer> {
  const folder = await mkdtemp(join(tmpdir(), "holdpoint-opensearch-"));
  const port = await freePort();
  const remove = (): Promise<void> => rm(folder, { recursive: true, force: true, maxRetries: 5 });
  let running: Running;
  try {
    running = await start(folder, port);
  } catch (error) {
    await remove();
    throw error;
  }
  return {
    endpoint: `http://127.0.0.1:${port}`,
    kill: () => running.kill(),
    async restart() {
      running = await start(folder, port);
    },
    async [Symbol.asyncDispose]() {
      await running.kill();
      await remove();
    },
  };
}

async function start(folder: string, port: number): Promise<Running> {
  const java = [
    "-Xms256m",
    "-Xmx512m",
    // It is to be there soon, and not for long.
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-cp",
    join(LIBRARY, "*"),
    LAUNCH,
    folder,
    String(port),
  ];
  const process = spawn("java", java, { stdio: ["pipe", "ignore", "pipe"] });
  let errors = "";
  process.stderr.on("data", (text) => (errors = `${errors}${String(text)}`.slice(-2_000)));
  const ended = new Promise<void>((resolve) => {
    process.once("error", () => resolve()).once("close", () => resolve());
  });
  const kill = async (): Promise<void> => {
    process.kill("SIGKILL");
    await ended;
  };
  const deadline = performance.now() + OPENSEARCH_START_MS;
  while (process.exitCode === null && performance.now() < deadline) {
    if (await answers(`http://127.0.0.1:${port}`)) return { kill };
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await kill();
  throw new Error(`OpenSearch did not start within ${OPENSEARCH_START_MS} ms: ${errors}`);
}

/** Once it is a cluster that can be written to. */
async function answers(endpoint: string): Promise<boolean> {
  try {
    const health = await fetch(`${endpoint}/_cluster/health?wait_for_status=yellow&timeout=1s`);
    await health.arrayBuffer();
    return health.ok;
  } catch {
    return false;
  }
}
