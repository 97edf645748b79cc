import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { PROJECT } from "../../scripts/demo/process.ts";
import { startTestService, testFolder } from "../support/process.ts";

const MEASURED_MS = 10_000;
/** What happens right after the start is not idling. */
const SETTLE_MS = 3_000;
/** Linux counts the time of processes in hundredths of a second. */
const TICK_MS = 10;

async function processorMs(pid: number): Promise<number> {
  const fields = (await readFile(`/proc/${pid}/stat`, "utf8")).replace(/^.*\)/s, "").trim().split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

async function residentMb(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024;
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

it.runIf(existsSync("/proc/self/stat"))(
  "an idle service leaves the machine to others",
  { timeout: 60_000 },
  async () => {
    await using folder = await testFolder();
    const config = join(PROJECT, "test/e2e/graphs/langgraph.json");
    const began = performance.now();
    await using service = startTestService({ role: "all", dataDir: folder.path, env: { HOLDPOINT_CONFIG: config } });
    await service.ready;
    const startMs = performance.now() - began;
    await sleep(SETTLE_MS);
    const before = await processorMs(service.pid);
    await sleep(MEASURED_MS);
    const percent = ((await processorMs(service.pid)) - before) / (MEASURED_MS / 100);
    const memoryMb = await residentMb(service.pid);
    console.log(
      `idle service: ${percent.toFixed(2)} % of a core, ${memoryMb.toFixed(0)} MB resident, ready after ${startMs.toFixed(0)} ms`,
    );
    expect(memoryMb).toBeGreaterThan(0);
    expect(percent).toBeLessThan(20);
  },
);
