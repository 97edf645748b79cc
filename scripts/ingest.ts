/** Ingests a folder of documents for a tenant: `npm run ingest -- --tenant acme documents/`. */
import { parseArgs } from "node:util";
import { readConfig } from "../src/config.ts";
import { createLog } from "../src/log.ts";
import { DOCUMENTS, ingestFolder, openRetriever } from "../src/open-retrieval.ts";
import { openFolder } from "../src/retrieval/folder.ts";
import { namedTenant } from "../src/storage/api-keys.ts";
import { noMetrics } from "../src/telemetry/metrics.ts";

const USAGE = `usage: ingest --tenant <name> [--collection <name>] <folder>, with the settings of the service in the environment
  The collection ("${DOCUMENTS}" by default) is made the same as the folder: what is gone from it is removed.
  What has not changed is left as it is, so that what was interrupted goes on by being started again.`;

async function main(args: readonly string[]): Promise<void> {
  const { positionals, values } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      tenant: { type: "string" },
      collection: { type: "string", default: DOCUMENTS },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return console.log(USAGE);
  const [path, ...more] = positionals;
  const { collection } = values;
  if (path === undefined || more.length > 0 || values.tenant === undefined || collection === "") throw new Error(USAGE);
  const tenant = namedTenant(values.tenant);
  const read = readConfig([]);
  if (read.kind === "help") throw new Error(USAGE);
  const folder = await openFolder(path);
  using log = createLog({ level: read.config.logLevel, format: process.stdout.isTTY ? "text" : "json" });
  await using retriever = await openRetriever(read.config, { log, metrics: noMetrics });
  const stop = new AbortController();
  // A second one ends the process as it does any other.
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());
  const { signal: stopping } = stop;
  await ingestFolder({ folder, retriever, tenant, collection, log, stopping }).catch((error: unknown) => {
    throw stopping.aborted ? new Error("stopped before all documents were ingested: start it again to go on") : error;
  });
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
