/** `npm run data-keys` on an embedded data folder. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, describe, expect, it } from "vitest";
import { systemClock } from "../../src/core/clock.ts";
import { systemIds, tenantId } from "../../src/core/ids.ts";
import { createLocalKeys } from "../../src/local/local-keys.ts";
import { createSqliteTable } from "../../src/local/sqlite-table.ts";
import { createDataKeys } from "../../src/storage/encryption/data-keys.ts";
import { NO_SETTINGS, testFolder } from "../support/process.ts";
import type { TestFolder } from "../support/process.ts";

const KEY = "0123456789abcdef0123456789abcdef";
const SCRIPT = join(import.meta.dirname, "../../scripts/data-keys.ts");

let folder: TestFolder | undefined;
afterEach(() => folder?.[Symbol.asyncDispose]());

async function run(dir: string, ...args: readonly string[]): Promise<{ readonly code: number; readonly said: string }> {
  const env = { ...process.env, ...NO_SETTINGS, HOLDPOINT_DATA_DIR: dir, HOLDPOINT_ENCRYPTION_KEYS: KEY };
  try {
    const { stderr } = await promisify(execFile)(process.execPath, ["--conditions=holdpoint-source", SCRIPT, ...args], {
      env,
    });
    return { code: 0, said: stderr };
  } catch (error) {
    const { code, stderr } = error as { readonly code: number; readonly stderr: string };
    return { code, said: stderr };
  }
}

describe("npm run data-keys", () => {
  it("says how many keys it dropped, and fails where there is nothing to drop", { timeout: 60_000 }, async () => {
    folder = await testFolder();
    const { path: dir } = folder;
    {
      await using table = await createSqliteTable({
        path: join(dir, "holdpoint.db"),
        clock: systemClock,
        ids: systemIds,
      });
      const dataKeys = createDataKeys({ table, keys: createLocalKeys([KEY]), clock: systemClock, ids: systemIds });
      await dataKeys.current(tenantId("acme"));
    }
    expect(await run(dir, "drop", "--tenant", "acne")).toMatchObject({
      code: 1,
      said: expect.stringContaining("acne has no data keys in SQLite") as string,
    });
    expect(await run(dir, "drop", "--tenant", "acme")).toMatchObject({
      code: 0,
      said: expect.stringMatching(/data keys of acme that are gone from SQLite .*: 1/) as string,
    });
    expect(await run(dir, "drop", "--tenant", "acme")).toMatchObject({ code: 1 });
    expect(await run(dir, "renew", "--tenant", "acme")).toMatchObject({ code: 0 });
  });
});
