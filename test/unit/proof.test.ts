/** `npm run proof`, on lines that were made by hand: what it shows, and when it fails. */
import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { PROJECT } from "../../scripts/demo/process.ts";
import type { KeptProof } from "../crash/report.ts";
import { testFolder } from "../support/process.ts";

const proofOf = (test: string, more: Partial<KeptProof> = {}): KeptProof => ({
  test,
  engine: "one SQLite file",
  seed: 1,
  runs: 10,
  faults: 2,
  lost: 0,
  doubled: 0,
  violations: 0,
  command: `npx vitest run ${test}`,
  at: "2026-01-01T00:00:00.000Z",
  ...more,
});

/** What the command misses of nothing, as it says it: the names of all that leave lines. */
const missed = await proven([]);
const NAMES = [...missed.wrong.matchAll(/^(.*): has left no line$/gm)].map(([, name = ""]) => name);
const ALL = NAMES.map((name) =>
  proofOf(name, name.startsWith("R13 control") ? { violations: 1, doubled: 1, lost: 1 } : {}),
);

interface Printed {
  readonly code: number;
  readonly out: string;
  readonly wrong: string;
}

/** What the command prints of these lines, and its exit code. */
async function proven(proofs: readonly KeptProof[]): Promise<Printed> {
  await using folder = await testFolder();
  for (const [n, proof] of proofs.entries()) await writeFile(join(folder.path, `${n}.json`), JSON.stringify(proof));
  return await new Promise((resolve) => {
    execFile(process.execPath, [join(PROJECT, "scripts/proof.ts"), folder.path], (error, out, wrong) =>
      resolve({ code: typeof error?.code === "number" ? error.code : 0, out, wrong }),
    );
  });
}

it("is content with a line of each test, all of them clean, and a control that found its harm", async () => {
  const { code, out, wrong } = await proven(ALL);
  expect(wrong).toBe("");
  expect(code).toBe(0);
  expect(out.split("\n").filter((line) => line.startsWith("| R"))).toHaveLength(ALL.length);
});

it("shows what was asked for, and what else was counted", async () => {
  const more = { size: "200 runs on all engines together", counts: { "ms to heal": 1234 } };
  const { out } = await proven([proofOf("R2 kills", more)]);
  expect(out).toContain("| 200 runs on all engines together | 10 |");
  expect(out).toContain("| ms to heal 1,234 |");
});

it.each(["lost", "doubled", "violations"])("fails over a line with anything that is to be 0: %s", async (what) => {
  const { code, wrong } = await proven([...ALL, proofOf("R8 poison", { engine: "DynamoDB Local", [what]: 2 })]);
  expect(wrong).toBe(`R8 poison on DynamoDB Local: 2 ${what}\n`);
  expect(code).toBe(1);
});

it("fails over a control that found nothing", async () => {
  const { code, wrong } = await proven([...ALL, proofOf("R13 control: anything off")]);
  expect(wrong).toMatch(
    /^R13 control: anything off on one SQLite file: its protection is off, and no harm was found\n$/,
  );
  expect(code).toBe(1);
});

it("fails where a test has left no line", async () => {
  expect(missed.code).toBe(1);
  for (const number of [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 13])
    expect(NAMES.filter((name) => name.startsWith(`R${number} `))).not.toEqual([]);
  const but = ALL.filter(({ test }) => test !== "R5 storage outage");
  expect(await proven(but)).toMatchObject({ code: 1, wrong: "R5 storage outage: has left no line\n" });
});
