/** Amazon's DynamoDB Local: fetched once with Maven into `.cache`, run with Java. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { DynamoServer } from "./dynalite.ts";
import { freePort } from "./free-port.ts";
import { whyNotFetched } from "./maven.ts";

const POM = fileURLToPath(new URL("pom.xml", import.meta.url));
const LIBRARY = fileURLToPath(new URL("../../.cache/dynamodb-local/3.1.0", import.meta.url));
const START_MS = 60_000;

/** Why DynamoDB Local cannot run here, in a few words; undefined when it can, after fetching it if need be. */
export function whyNoDynamoDbLocal(): Promise<string | undefined> {
  return whyNotFetched({ folder: LIBRARY, pom: POM, goal: "dependency:copy-dependencies" });
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
