/** `npm run audit:verify` on the folder of an embedded table and on a table of DynamoDB. */
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { execFile } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { expect, it } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { systemIds, tenantId } from "../../src/core/ids.ts";
import { auditId } from "../../src/core/audit.ts";
import type { AuditEntry } from "../../src/core/audit.ts";
import { createSqliteTable } from "../../src/local/sqlite-table.ts";
import { chainEntries } from "../../src/runtime/audit/chain.ts";
import { createAudit } from "../../src/storage/audit.ts";
import { auditKeys } from "../../src/storage/keys.ts";
import type { Table } from "../../src/storage/table.ts";
import { dynamoEngines } from "../support/engines.ts";

const ACME = tenantId("acme");
const SCRIPT = join(import.meta.dirname, "../../scripts/audit-verify.ts");

interface Finished {
  readonly code: number;
  readonly output: string;
}

function verify(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Finished> {
  const tenant = args.includes("--tenant") ? [] : ["--tenant", "acme"];
  const flags = ["--conditions=holdpoint-source", SCRIPT, ...tenant, ...args];
  return new Promise((resolve) => {
    execFile(process.execPath, flags, { env: { PATH: "", ...env } }, (error, stdout, stderr) =>
      resolve({ code: error ? Number(error.code) : 0, output: stdout + stderr }),
    );
  });
}

it("does not find a table in order that is not there", async () => {
  const folder = join(tmpdir(), `nowhere-${process.pid}`);
  expect(await verify(["--data-dir", folder])).toMatchObject({
    code: 2,
    output: expect.stringContaining("there is no table") as string,
  });
  expect(existsSync(folder)).toBe(false);
});

const entry = (n: number): AuditEntry => ({
  tenant: ACME,
  kind: "decision",
  key: [String(n)],
  at: 1_700_000_000_000 + n,
  actor: "alice",
  action: "approve",
  subject: {},
});

/** Two links; the second entry is then taken away. */
async function fill(table: Table): Promise<void> {
  const audit = createAudit({ table, shards: 1 });
  for (const n of [1, 2]) {
    await audit.record(entry(n));
    await chainEntries({ audit, table }, ACME, [auditId(entry(n))]);
  }
}
const damage = (table: Table) => table.remove(auditKeys.entry(ACME, auditId(entry(2))), "any");

/** What the script says before and after the damage, and of a head that is not there. */
async function story(table: Table, run: (args: readonly string[]) => Promise<Finished>): Promise<Finished> {
  await fill(table);
  const whole = await run([]);
  expect(whole).toMatchObject({
    code: 0,
    output: expect.stringContaining("ok: 2 entries in 2 links of acme") as string,
  });
  const head = /^head (\S+)$/m.exec(whole.output)?.[1] ?? "";
  expect(await run(["--head", head])).toMatchObject({ code: 0 });
  const misspelt = await run(["--tenant", "amce"]);
  expect([misspelt.code, misspelt.output]).toEqual([2, expect.stringContaining("no audit log of a tenant amce")]);
  expect(await run(["--tenant", "young", "--head", `0:${"0".repeat(64)}`])).toMatchObject({ code: 0 });
  const cut = await run(["--head", head.replace(/^2/, "3")]);
  expect([cut.code, cut.output]).toEqual([1, expect.stringContaining("link 3: the chain was cut off")]);
  await damage(table);
  const damaged = await run([]);
  expect([damaged.code, damaged.output]).toEqual([1, expect.stringMatching(/^link 2: entry \S+ is missing$/m)]);
  return run(["--head", "nonsense"]);
}

it("verifies the folder of an embedded table", async () => {
  const dir = await mkdtemp(join(tmpdir(), "holdpoint-audit-"));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rm(dir, { recursive: true, force: true }));
  const path = join(dir, "holdpoint.db");
  const table = stack.use(await createSqliteTable({ path, clock: systemClock, ids: systemIds }));
  expect(await story(table, (args) => verify(["--data-dir", dir, ...args]))).toMatchObject({ code: 2 });
});

it("names an entry whose row is no JSON any more, and goes on", async () => {
  const dir = await mkdtemp(join(tmpdir(), "holdpoint-audit-"));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rm(dir, { recursive: true, force: true }));
  const path = join(dir, "holdpoint.db");
  const table = stack.use(await createSqliteTable({ path, clock: systemClock, ids: systemIds }));
  await fill(table);
  const id = auditId(entry(1));
  using file = new DatabaseSync(path);
  file.prepare("UPDATE items SET attributes = '{nope' WHERE pk = ?").run(auditKeys.entry(ACME, id).pk);
  await damage(table);
  const { code, output } = await verify(["--data-dir", dir]);
  expect([code, output.split("\n").slice(0, 3)]).toEqual([
    1,
    [
      `link 1: entry ${id} is damaged: it cannot be read`,
      `link 2: entry ${auditId(entry(2))} is missing`,
      expect.stringMatching(/^2 problems: 2 entries in 2 links of acme/),
    ],
  ]);
});

it.each(dynamoEngines())("verifies a table of $name", async (engine) => {
  await using opened = await engine.open();
  const env = {
    DYNAMODB_ENDPOINT: opened.place.endpoint,
    AWS_REGION: "eu-central-1",
    AWS_ACCESS_KEY_ID: "test",
    AWS_SECRET_ACCESS_KEY: "test",
  };
  const run = (args: readonly string[]) => verify(["--table", opened.place.tableName, ...args], env);
  expect(await story(opened.table, run)).toMatchObject({ code: 2 });
});
