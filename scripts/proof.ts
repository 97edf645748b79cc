/**
 * `npm run proof`: one table of what R1 to R13 proved when they last ran, from the line that each of them left in
 * `.cache/proof`. It runs nothing itself.
 */
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { FOLDER, percent } from "../test/crash/report.ts";
import type { KeptProof } from "../test/crash/report.ts";

const HEAD = [
  "test",
  "engine",
  "runs",
  "faults injected",
  "lost",
  "doubled",
  "violations",
  "steps re-run",
  "longest recovery",
  "command",
];
const ALL = Array.from({ length: 13 }, (_, i) => i + 1);
/** Figures that are measured, and judged by no checker. */
const MEASURED: ReadonlyMap<number, string> = new Map([
  [10, "npm run bench -- fairness"],
  [11, "npm run bench -- drain"],
]);

const numberOf = ({ test }: KeptProof): number => Number(/^R(\d+)/.exec(test)?.[1] ?? 0);

function rowOf(proof: KeptProof): string {
  const { test, engine, runs, faults, lost, doubled, violations, steps, longestRecoveryMs, command } = proof;
  const again = steps === undefined ? "" : `${steps.again} of ${steps.needed} (${percent(steps)})`;
  const recovery = longestRecoveryMs === undefined ? "" : `${Math.round(longestRecoveryMs)} ms`;
  return line([test, engine, runs, faults, lost, doubled, violations, again, recovery, `\`${command}\``]);
}

const line = (cells: readonly (string | number)[]): string => `| ${cells.join(" | ")} |`;

async function readProofs(): Promise<readonly KeptProof[]> {
  const names = await readdir(FOLDER).catch(() => []);
  const texts = await Promise.all(
    names.filter((name) => name.endsWith(".json")).map((name) => readFile(join(FOLDER, name), "utf8")),
  );
  const proofs = texts.map((text) => JSON.parse(text) as KeptProof);
  return proofs.toSorted(
    (a, b) => numberOf(a) - numberOf(b) || a.test.localeCompare(b.test) || a.engine.localeCompare(b.engine),
  );
}

async function main(): Promise<void> {
  const proofs = await readProofs();
  console.log([line(HEAD), line(HEAD.map(() => "---")), ...proofs.map(rowOf)].join("\n"));
  const times = proofs.map(({ at }) => at).toSorted();
  if (times.length > 0) console.log(`\nProven between ${times.at(0)} and ${times.at(-1)}.`);
  const proven = new Set(proofs.map(numberOf));
  const missing = ALL.filter((number) => !proven.has(number));
  for (const number of missing)
    console.log(`R${number}: ${MEASURED.has(number) ? `measured by \`${MEASURED.get(number)}\`` : "has left no line"}`);
}

await main();
