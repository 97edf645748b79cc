/** Amazon's DynamoDB Local: fetched once with Maven into `.cache`, run with Java. */
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { DynamoServer } from "./dynalite.ts";
import { freePort } from "./free-port.ts";
import { onPath } from "./on-path.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const POM = fileURLToPath(new URL("pom.xml", import.meta.url));
const CACHE = join(ROOT, ".cache", "dynamodb-local");
const LIBRARY = join(CACHE, "3.1.0");
const START_MS = 60_000;

/** Why DynamoDB Local cannot run here, in a few words; undefined when it can, after fetching it if need be. */
export async function whyNoDynamoDbLocal(): Promise<string | undefined> {
  if (!(await onPath("java"))) return "java is not installed";
  if (existsSync(LIBRARY)) return undefined;
  if (!(await onPath("mvn"))) return "Maven is not installed";
  try {
    await fetchLibrary();
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** Into a folder of its own and then renamed, so that two test runs at once do no harm. */
async function fetchLibrary(): Promise<void> {
  await mkdir(CACHE, { recursive: true });
  const target = await mkdtemp(join(CACHE, "fetching-"));
  try {
    const args = ["-q", "-B", "-f", POM, "dependency:copy-dependencies", `-DoutputDirectory=${target}`];
    const maven = spawn("mvn", args, { stdio: ["ignore", "pipe", "inherit"] });
    let output = "";
    maven.stdout.on("data", (text) => (output += String(text)));
    const code = await new Promise((resolve, reject) => maven.once("error", reject).once("close", resolve));
    if (code !== 0) throw new Error(`Maven could not fetch it: ${output.trim().split("\n")[0]}`);
    await rename(target, LIBRARY).catch((error: unknown) => {
      if (!existsSync(LIBRARY)) throw error;
    });
  } finally {
    await rm(target, { recursive: true, force: true });
  }
}

/** Starts it on a free port. It ends with this process, however that ends: the shell waits for our end of its input. */
export async function startDynamoDbLocal(): Promise<DynamoServer> {
  const port = await freePort();
  const java = [
    "-Xmx512m",
    `-Djava.library.path=${LIBRARY}`,
    "-cp",
    join(LIBRARY, "*"),
    "software.amazon.dynamodb.services.local.main.ServerRunner",
    "-inMemory",
    "-sharedDb",
    "-disableTelemetry",
    "-port",
    String(port),
  ];
  const script = 'java "$@" >/dev/null 2>&1 & child=$!; cat >/dev/null; kill $child; wait $child';
  const shell = spawn("sh", ["-c", script, "sh", ...java], { stdio: ["pipe", "ignore", "inherit"] });
  const ended = new Promise<void>((resolve) => shell.once("close", () => resolve()));
  const stop = async (): Promise<void> => {
    shell.stdin.end();
    await ended;
  };
  const endpoint = `http://127.0.0.1:${port}`;
  if (await answers(endpoint)) return { endpoint, [Symbol.asyncDispose]: stop };
  await stop();
  throw new Error(`DynamoDB Local did not answer within ${START_MS} ms`);
}

async function answers(endpoint: string): Promise<boolean> {
  const deadline = performance.now() + START_MS;
  while (performance.now() < deadline) {
    try {
      await fetch(endpoint);
      return true;
    } catch {
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
  return false;
}
