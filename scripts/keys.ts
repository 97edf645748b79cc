/** Makes, lists and revokes API keys: `npm run keys -- create --file keys.json --tenant acme --subject alice --roles developer`. */
import { existsSync } from "node:fs";
import { parseArgs } from "node:util";
import { ROLES } from "../src/core/principal.ts";
import { systemClock } from "../src/core/clock.ts";
import { systemIds } from "../src/core/ids.ts";
import { readKeyFile, writeKeyFile } from "../src/local/key-file.ts";
import { emptyKeyFile, withNewKey, withoutKey } from "../src/storage/api-keys.ts";

const USAGE = `usage:
  keys create --file <keys.json> --tenant <name> --subject <name> --roles <role,...>
              [--groups <group,...>] [--env <live>] [--expires-days <n>]
  keys list   --file <keys.json>
  keys revoke <id> --file <keys.json>
roles: ${ROLES.join(", ")}`;

const DAY_MS = 24 * 3_600_000;

async function main(args: readonly string[]): Promise<void> {
  const { positionals, values } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      file: { type: "string" },
      tenant: { type: "string" },
      subject: { type: "string" },
      roles: { type: "string" },
      groups: { type: "string", default: "" },
      env: { type: "string", default: "live" },
      "expires-days": { type: "string" },
    },
  });
  const path = required(values.file, "--file");
  switch (positionals[0]) {
    case "create":
      return create(path, {
        env: values.env,
        tenant: required(values.tenant, "--tenant"),
        subject: required(values.subject, "--subject"),
        roles: listOf(required(values.roles, "--roles")),
        groups: listOf(values.groups),
        expiresDays: values["expires-days"],
      });
    case "list":
      return list(path);
    case "revoke":
      return revoke(path, required(positionals[1], "the id of a key"));
    case undefined:
    default:
      throw new Error(USAGE);
  }
}

interface Create {
  readonly env: string;
  readonly tenant: string;
  readonly subject: string;
  readonly roles: readonly string[];
  readonly groups: readonly string[];
  readonly expiresDays: string | undefined;
}

async function create(path: string, { expiresDays, ...fields }: Create): Promise<void> {
  const now = systemClock.wall();
  const days = expiresDays === undefined ? undefined : Number(expiresDays);
  if (days !== undefined && !(days > 0)) throw new Error("--expires-days must be a number above 0");
  const before = existsSync(path) ? await readKeyFile(path) : emptyKeyFile(systemIds);
  const made = withNewKey(before, systemIds, {
    ...fields,
    createdAt: now,
    ...(days === undefined ? {} : { expiresAt: now + days * DAY_MS }),
  });
  await writeKeyFile(path, made.file, systemIds);
  console.error("The key is shown this once and stored nowhere:");
  console.log(made.key);
}

async function list(path: string): Promise<void> {
  const { keys } = await readKeyFile(path);
  for (const key of keys) {
    const state = key.disabled === true ? "revoked" : `expires ${key.expiresAt ?? "never"}`;
    const groups = key.groups.length === 0 ? "-" : key.groups.join(",");
    console.log([key.id, key.env, key.tenant, key.subject, key.roles.join(","), groups, state].join("\t"));
  }
}

async function revoke(path: string, id: string): Promise<void> {
  const file = withoutKey(await readKeyFile(path), id);
  if (!file) throw new Error(`there is no key ${id} in ${path}`);
  await writeKeyFile(path, file, systemIds);
  console.log(`revoked ${id}`);
}

function required(value: string | undefined, what: string): string {
  if (value === undefined || value === "") throw new Error(`${what} is missing\n${USAGE}`);
  return value;
}

const listOf = (text: string): string[] => text.split(",").filter((part) => part !== "");

try {
  await main(process.argv.slice(2));
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
