import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { PROJECT, startProcess } from "../../scripts/demo/process.ts";
import type { Exit } from "../../scripts/demo/process.ts";
import { dynamoEngines } from "../support/engines.ts";
import { NO_SETTINGS, testFolder } from "../support/process.ts";
import type { TestFolder } from "../support/process.ts";

let folder: TestFolder;
beforeEach(async () => {
  folder = await testFolder();
});
afterEach(() => folder[Symbol.asyncDispose]());

interface Told extends Exit {
  readonly text: string;
}

async function demo(flags: readonly string[] = [], env: Readonly<Record<string, string>> = {}): Promise<Told> {
  await using running = startProcess({
    name: "the demonstration",
    args: [
      "--conditions=holdpoint-source",
      join(PROJECT, "scripts/demo.ts"),
      "--exit",
      "--data-dir",
      join(folder.path, "data"),
      ...flags,
    ],
    env: { ...NO_SETTINGS, ...env },
  });
  const exit = await running.exited;
  return { ...exit, text: running.lines.join("\n") };
}

describe("npm run demo -- --exit", { timeout: 180_000 }, () => {
  it("tells the whole story on SQLite and ends with 0", async () => {
    const { code, text } = await demo();
    expect(text).toMatch(/✓ 29 of 29 claims verified/);
    expect(text).not.toContain("\u001b");
    expect(code).toBe(0);
  });

  it.each(dynamoEngines())("tells the same story on $name", async (engine) => {
    await using opened = await engine.open();
    const { endpoint, tableName } = opened.place;
    const { code, text } = await demo([], { HOLDPOINT_TABLE: `${tableName}-demo`, DYNAMODB_ENDPOINT: endpoint });
    expect(text).toMatch(/✓ 29 of 29 claims verified/);
    expect(code).toBe(0);
  });

  it("works on any folder of documents", async () => {
    const documents = join(folder.path, "documents");
    await mkdir(documents);
    await writeFile(
      join(documents, "bees.md"),
      "# The apiary\n\nThe hives are inspected every nine days between April and August.\n",
    );
    await writeFile(join(documents, "honey.txt"), "Honey is bottled in the second week of September.\n");
    const { code, text } = await demo(["--documents", documents, "--question", "How often are the hives inspected?"]);
    expect(text).toContain("The hives are inspected every nine days between April and August. [1]");
    expect(code).toBe(0);
  });

  it("fails, and says where, when a payment is made twice", async () => {
    const { code, text } = await demo(["--no-honour-keys"]);
    expect(text).toContain("✗ asked twice, paid once");
    expect(text).toMatch(/✗ The demonstration failed at 6\. kill -9/);
    expect(code).toBe(1);
  });
});
