/**
 * Once per run of vitest: says which servers of Java can run here, and starts one when the first test asks for it.
 * Tests run in processes of their own, so they ask over HTTP.
 */
import { createServer } from "node:http";
import type { TestProject } from "vitest/node";
import { startDynamoDbLocal, whyNoDynamoDbLocal } from "./dynamodb-local.ts";
import { startOpenSearch, whyNoOpenSearch } from "./opensearch.ts";

declare module "vitest" {
  export interface ProvidedContext {
    /** Answers with the endpoint of DynamoDB Local, which it starts; null where it cannot run. */
    dynamoDbLocalLauncher: string | null;
    /** The same of OpenSearch. */
    openSearchLauncher: string | null;
  }
}

interface Server extends AsyncDisposable {
  readonly endpoint: string;
}

interface Launcher extends AsyncDisposable {
  /** Null where the server cannot run. */
  readonly url: string | null;
}

export async function setup(project: TestProject): Promise<() => Promise<void>> {
  const dynamoDb = await launcherOf("DynamoDB Local", await whyNoDynamoDbLocal(), startDynamoDbLocal);
  const openSearch = await launcherOf("OpenSearch", await whyNoOpenSearch(), startOpenSearch);
  project.provide("dynamoDbLocalLauncher", dynamoDb.url);
  project.provide("openSearchLauncher", openSearch.url);
  return async () => {
    await Promise.all([dynamoDb, openSearch].map((launcher) => launcher[Symbol.asyncDispose]()));
  };
}

async function launcherOf(name: string, missing: string | undefined, start: () => Promise<Server>): Promise<Launcher> {
  if (missing !== undefined) {
    const line = `${name} is left out: ${missing}`;
    if (process.env["HOLDPOINT_REQUIRE_ALL_ENGINES"] === "1") throw new Error(line);
    console.log(line);
    return { url: null, [Symbol.asyncDispose]: async () => {} };
  }
  let started: Promise<Server> | undefined;
  const launcher = createServer((_request, response) => {
    started ??= start();
    started.then(
      (server) => response.end(server.endpoint),
      (error: unknown) => response.writeHead(500).end(String(error)),
    );
  });
  await new Promise<void>((resolve) => launcher.listen(0, "127.0.0.1", resolve));
  const address = launcher.address();
  if (address === null || typeof address === "string") throw new Error("the launcher has no port");
  return {
    url: `http://127.0.0.1:${address.port}`,
    async [Symbol.asyncDispose]() {
      launcher.closeAllConnections();
      launcher.close();
      await (await started)?.[Symbol.asyncDispose]();
    },
  };
}
