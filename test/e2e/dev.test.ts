import { copyFile, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Client } from "@langchain/langgraph-sdk";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { PROJECT, startProcess } from "../../scripts/demo/process.ts";
import type { RunningProcess } from "../../scripts/demo/process.ts";
import { NO_SETTINGS, testFolder, until } from "../support/process.ts";
import type { TestFolder } from "../support/process.ts";

let folder: TestFolder;
beforeEach(async () => {
  folder = await testFolder();
});
afterEach(() => folder[Symbol.asyncDispose]());

interface Ready {
  readonly msg: string;
  readonly url: string;
  readonly pid: number;
}

const dev = (flags: readonly string[]): RunningProcess =>
  startProcess({
    name: "npm run dev",
    args: ["--conditions=holdpoint-source", join(PROJECT, "scripts/dev.ts"), "--port", "0", ...flags],
    env: { ...NO_SETTINGS, HOLDPOINT_DATA_DIR: join(folder.path, "data") },
  });

const readies = ({ lines }: RunningProcess): readonly Ready[] =>
  lines.filter((line) => line.includes('"msg":"ready"')).map((line) => JSON.parse(line) as Ready);

describe("npm run dev", { timeout: 60_000 }, () => {
  it("starts again when a graph changes, and a thread goes on where it was", async () => {
    const graph = join(folder.path, "steps.ts");
    const config = join(folder.path, "langgraph.json");
    await copyFile(join(PROJECT, "test/e2e/graphs/steps.ts"), graph);
    await writeFile(config, JSON.stringify({ graphs: { steps: "./steps.ts:graph" } }));
    await using running = dev(["--config", config]);

    const first = await until("the first start", () => readies(running)[0]);
    const before = new Client({ apiUrl: first.url });
    const thread = await before.threads.create();
    await before.runs.wait(thread.thread_id, "steps", { input: { steps: 1, pauseMs: 0 } });

    await writeFile(graph, (await readFile(graph, "utf8")).replace("taken: [process.pid]", "taken: [-1]"));
    const second = await until("the second start", () => readies(running)[1]);
    expect(second.pid).not.toBe(first.pid);
    const after = new Client({ apiUrl: second.url });
    const values = await after.runs.wait(thread.thread_id, "steps", { input: { steps: 2, pauseMs: 0 } });
    expect(values).toMatchObject({ taken: [first.pid, -1] });

    expect(await running.stop("SIGINT")).toEqual({ code: 0, signal: null });
  });

  it("ends with the service's own line and exit code when the first start fails", async () => {
    const missing = join(folder.path, "nowhere.json");
    await using running = dev(["--config", missing]);
    expect(await running.exited).toEqual({ code: 1, signal: null });
    expect(running.stderr).toEqual([expect.stringContaining(missing)]);
  });

  it("does without reload when asked to", async () => {
    const config = join(PROJECT, "test/e2e/graphs/langgraph.json");
    await using running = dev(["--config", config, "--no-reload"]);
    const { url } = await until("the start", () => readies(running)[0]);
    expect((await fetch(`${url}/ok`)).status).toBe(200);
    expect(await running.stop("SIGTERM")).toEqual({ code: 0, signal: null });
  });
});
