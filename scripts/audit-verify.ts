/** Verifies the audit log of a tenant: `npm run audit:verify -- --tenant acme --head 42:<hash>`. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { readConfig } from "../src/config.ts";
import { tenantId } from "../src/core/ids.ts";
import { openStorage } from "../src/open-storage.ts";
import { verifyChain } from "../src/runtime/audit/verify.ts";
import type { NotedHead } from "../src/runtime/audit/verify.ts";
import { createAudit } from "../src/storage/audit.ts";

const USAGE = `usage: audit-verify --tenant <name> [--head <number>:<hash>] [--data-dir <folder> | --table <name>]
  reads the whole chain and every entry, and says what is wrong and where; needs no data keys
  --head      a head that was noted before: tells whether the end was cut off, or the chain written anew
  --data-dir  the folder of an embedded table; --table a DynamoDB table; otherwise as the service's settings say`;

interface Options {
  readonly tenant: string;
  readonly head: NotedHead | undefined;
  /** Flags of the service's own. */
  readonly place: readonly string[];
}

function readOptions(args: readonly string[]): Options {
  const text = { type: "string" } as const;
  const { values } = parseArgs({
    args: [...args],
    options: { tenant: text, head: text, "data-dir": text, table: text },
  });
  const [, n, hash] = /^(\d+):([0-9a-f]{64})$/.exec(values.head ?? "") ?? [];
  if (values.tenant === undefined || (values.head !== undefined && hash === undefined)) throw new Error(USAGE);
  const place = (["data-dir", "table"] as const).flatMap((flag) => {
    const value = values[flag];
    return value === undefined ? [] : [`--${flag}`, value];
  });
  return { tenant: values.tenant, head: hash === undefined ? undefined : { n: Number(n), hash }, place };
}

/** True if nothing is wrong. */
async function verify({ tenant, head, place }: Options): Promise<boolean> {
  const read = readConfig(place);
  if (read.kind === "help") throw new Error(USAGE);
  // Opening would make it, and find nothing wrong in it.
  const file = join(read.config.dataDir, "holdpoint.db");
  if (!read.config.dynamo && !existsSync(file)) throw new Error(`there is no table at ${file}`);
  await using stack = new AsyncDisposableStack();
  const storage = stack.use(await openStorage(read.config));
  const table = stack.use(storage.table);
  const audit = createAudit({ table, shards: read.config.shards });
  const found = await verifyChain(audit, tenantId(tenant), head);
  // A misspelt name is no audit log without a fault; only who says that there is to be none is told so.
  if (found.links + found.entries + found.unchained === 0 && head === undefined)
    throw new Error(`there is no audit log of a tenant ${tenant} in ${storage.place}`);
  for (const { link, what } of found.problems) console.log(link === undefined ? what : `link ${link}: ${what}`);
  const verdict = found.problems.length === 0 ? "ok" : `${found.problems.length} problems`;
  const rest = found.unchained === 0 ? "" : `, and ${found.unchained} that no link has yet`;
  console.log(`${verdict}: ${found.entries} entries in ${found.links} links${rest} of ${tenant} in ${storage.place}`);
  console.log(`head ${found.head.n}:${found.head.hash}`);
  return found.problems.length === 0;
}

try {
  process.exitCode = (await verify(readOptions(process.argv.slice(2)))) ? 0 : 1;
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 2;
}
