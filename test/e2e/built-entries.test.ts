/** The published entry points as they are built: in a Node of their own, with nothing of the sources. */
import { execFile } from "node:child_process";
import { readFile, readdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { PROJECT } from "../../scripts/demo/process.ts";
import { assertNodeVersion } from "../../src/core/node-version.ts";
import { testFolder } from "../support/process.ts";
import type { TestFolder } from "../support/process.ts";

const run = promisify(execFile);
const TSC = join(PROJECT, "node_modules/.bin/tsc");

const PROGRAM = `
import * as dynamodb from "./dist/entry/checkpoint-dynamodb.js";
import * as graph from "./dist/entry/graph.js";
import { openSqlite } from "./dist/entry/checkpoint-sqlite.js";
const opened = await openSqlite({ dir: "data" });
await opened.store.put(["a"], "key", { text: "kept" });
const item = await opened.store.get(["a"], "key");
await opened[Symbol.asyncDispose]();
console.log(JSON.stringify({ dynamodb: Object.keys(dynamodb), graph: Object.keys(graph), kept: item.value.text }));
`;

let folder: TestFolder;
beforeAll(async () => {
  folder = await testFolder();
  await run(TSC, ["-p", join(PROJECT, "tsconfig.build.json"), "--outDir", join(folder.path, "dist")]);
  await symlink(join(PROJECT, "node_modules"), join(folder.path, "node_modules"));
  await writeFile(join(folder.path, "package.json"), JSON.stringify({ type: "module" }));
  await writeFile(join(folder.path, "program.js"), PROGRAM);
}, 120_000);
afterAll(() => folder[Symbol.asyncDispose]());

describe("what is built", () => {
  it("is imported and used without the sources", async () => {
    const { stdout } = await run(process.execPath, ["program.js"], { cwd: folder.path });
    const { dynamodb, graph, kept } = JSON.parse(stdout) as Record<string, unknown>;
    expect(dynamodb).toEqual(expect.arrayContaining(["openDynamoDB", "tableDefinition", "HoldpointError"]));
    expect(graph).toEqual(expect.arrayContaining(["review", "effect"]));
    expect(kept).toBe("kept");
  });

  it("has no syntax that a Node before 24 cannot even read, so that it can say what it needs", async () => {
    const dist = join(folder.path, "dist");
    const files = (await readdir(dist, { recursive: true })).filter((name) => name.endsWith(".js"));
    expect(files.length).toBeGreaterThan(100);
    const texts = await Promise.all(files.map((name) => readFile(join(dist, name), "utf8")));
    const wrong = files.filter((_, n) => /^\s*(?:await )?using \w+ =/m.test(texts[n] ?? ""));
    expect(wrong).toEqual([]);
    // Nor is Node's SQLite among what is imported before that is said.
    const entry = await readFile(join(dist, "entry/checkpoint-sqlite.js"), "utf8");
    expect(entry).not.toMatch(/^import .*sqlite-table/m);
  });
});

it("a Node that is too old is told which one is needed", () => {
  expect(() => assertNodeVersion("20.20.2")).toThrow(/needs Node 24 or newer; this is Node 20\.20\.2/);
  expect(() => assertNodeVersion("24.0.0")).not.toThrow();
  expect(() => assertNodeVersion(process.versions.node)).not.toThrow();
});
