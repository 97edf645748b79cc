/** Drops the data keys of a tenant, for good, or lets it have new ones: `npm run data-keys -- drop --tenant acme`. */
import { parseArgs } from "node:util";
import { readConfig } from "../src/config.ts";
import { tenantId } from "../src/core/ids.ts";
import type { TenantId } from "../src/core/ids.ts";
import { openEncryption, openStorage } from "../src/open-storage.ts";
import type { DataKeys } from "../src/storage/encryption/data-keys.ts";

const USAGE = `usage: data-keys drop|renew --tenant <name>, with the settings of the service in the environment
  drop    removes every data key of the tenant: what was encrypted for it can never be read again
  renew   lets a tenant whose keys were dropped have new ones`;

async function main(args: readonly string[]): Promise<void> {
  const { positionals, values } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { tenant: { type: "string" } },
  });
  const [verb] = positionals;
  if ((verb !== "drop" && verb !== "renew") || values.tenant === undefined) throw new Error(USAGE);
  const read = readConfig([]);
  if (read.kind === "help") throw new Error(USAGE);
  await using stack = new AsyncDisposableStack();
  const storage = stack.use(await openStorage(read.config));
  stack.use(storage.table);
  const { dataKeys } = stack.use(await openEncryption(read.config.encryption, storage.table));
  if (dataKeys === undefined) throw new Error("no encryption key is set: see docs/encryption.md");
  console.error(await told(verb, { tenant: tenantId(values.tenant), dataKeys, place: storage.place }));
}

interface At {
  readonly tenant: TenantId;
  readonly dataKeys: DataKeys;
  readonly place: string;
}

/** What was done. @throws Error when there was nothing to drop: a wrong folder or name must not look like a success */
async function told(verb: "drop" | "renew", { tenant, dataKeys, place }: At): Promise<string> {
  if (verb === "renew") {
    await dataKeys.renew(tenant);
    return `${tenant} may have new keys in ${place}`;
  }
  const count = await dataKeys.drop(tenant);
  if (count === 0) throw new Error(`${tenant} has no data keys in ${place}: nothing was dropped now`);
  return `data keys of ${tenant} that are gone from ${place}: ${count}`;
}

try {
  await main(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
