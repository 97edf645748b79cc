/**
 * Once per run of vitest: says whether DynamoDB Local can run here, and starts it when the first test asks for it.
 * Tests run in processes of their own, so they ask over HTTP.
 */
import { createServer } from "node:http";
import type { TestProject } from "vitest/node";
import type { DynamoServer } from "./dynalite.ts";
import { startDynamoDbLocal, whyNoDynamoDbLocal } from "./dynamodb-local.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** Answers with the endpoint of DynamoDB Local, which it starts; null where it cannot run. */
    dynamoDbLocalLauncher: string | null;
  }
}

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const missing = await whyNoDynamoDbLocal();
  if (missing !== undefined) {
    const line = `DynamoDB Local is left out: ${missing}`;
    if (process.env["HOLDPOINT_REQUIRE_ALL_ENGINES"] === "1") throw new Error(line);
    console.log(line);
    project.provide("dynamoDbLocalLauncher", null);
    return async () => {};
  }
  let started: Promise<DynamoServer> | undefined;
  const launcher = createServer((_request, response) => {
    started ??= startDynamoDbLocal();
    started.then(
      (server) => response.end(server.endpoint),
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  });
  await new Promise<void>((resolve) => launcher.listen(0, "127.0.0.1", resolve));
  const address = launcher.address();
  if (address === null || typeof address === "string") throw new Error("the launcher has no port");
  project.provide("dynamoDbLocalLauncher", `http://127.0.0.1:${address.port}`);
  return async () => {
    launcher.closeAllConnections();
    launcher.close();
    await (await started)?.[Symbol.asyncDispose]();
  };
}
