/**
 * `npm run proof`: one table of what R1 to R13 proved when they last ran, from the line that each of them left in
 * `.cache/proof`, or in the folder that is given. It runs nothing itself. Ends with 1 when a line has anything lost, doubled
 * or broken, when a negative control has found no harm, and when a test has left no line.
 */
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { FOLDER, percent } from "../test/crash/report.ts";
import type { KeptProof } from "../test/crash/report.ts";

const HEAD = [
  "test",
  "engine",
  "size",
  "runs",
  "faults injected",
  "lost",
  "doubled",
  "violations",
  "steps re-run",
  "longest recovery",
  "also counted",
  "command",
];
/** Every one that leaves a line, on one engine at least. */
const ALL = [
  "R1 crash points",
  "R2 random kills",
  "R3 frozen inside a transaction",
  "R3 zombies",
  "R4 storage faults",
  "R4 full disk",
  "R5 storage outage",
  "R6 clock skew",
  "R7 duplicate offers",
  "R8 poison",
  "R9 overload",
  "R11 workers replaced under load",
  "R12 decisions",
  "R12 payments",
  "R12 timers and callbacks",
  "R13 control: fence off, a write of effect",
  "R13 control: fence off, a write of events",
  "R13 control: journal off",
  "R13 control: journal off, a payment",
  "R13 control: one row per write",
  "R13 control: time by the wall clock",
  "R13 journal on",
] as const;
/** Figures that are measured, and judged by no checker. */
const MEASURED: ReadonlyMap<number, string> = new Map([
  [10, "npm run bench -- fairness"],
  [11, "npm run bench -- drain"],
]);

const numberOf = ({ test }: KeptProof): number => Number(/^R(\d+)/.exec(test)?.[1] ?? 0);

/** A protection was off: the harm is what was to be found. */
const isControl = ({ test }: KeptProof): boolean => /^R13 control\b/.test(test);

function rowOf(proof: KeptProof): string {
  const { test, engine, size = "", runs, faults, lost, doubled, violations, longestRecoveryMs } = proof;
  const { steps, counts = {}, command } = proof;
  const again = steps === undefined ? "" : `${steps.again} of ${steps.needed} (${percent(steps)})`;
  const recovery = longestRecoveryMs === undefined ? "" : `${Math.round(longestRecoveryMs)} ms`;
  const counted = Object.entries(counts).map(([name, count]) => `${name} ${count.toLocaleString("en")}`);
  const found = isControl(proof) ? `${violations}, to be found` : violations;
  const figures = [size, runs, faults, lost, doubled, found, again, recovery, counted.join("; ")];
  return line([test, engine, ...figures, `\`${command}\``]);
}

const line = (cells: readonly (string | number)[]): string => `| ${cells.join(" | ")} |`;

async function readProofs(folder: string): Promise<readonly KeptProof[]> {
  const names = await readdir(folder).catch(() => []);
  const texts = await Promise.all(
    names.filter((name) => name.endsWith(".json")).map((name) => readFile(join(folder, name), "utf8")),
  );
  const proofs = texts.map((text) => JSON.parse(text) as KeptProof);
  return proofs.toSorted(
    (a, b) => numberOf(a) - numberOf(b) || a.test.localeCompare(b.test) || a.engine.localeCompare(b.engine),
  );
}

/** What a line says against the project; nothing of one that is as it should be. */
function failingOf(proof: KeptProof): readonly string[] {
  const { test, engine, lost, doubled, violations } = proof;
  const name = `${test} on ${engine}`;
  if (isControl(proof)) return violations > 0 ? [] : [`${name}: its protection is off, and no harm was found`];
  const wrong = Object.entries({ lost, doubled, violations }).filter(([, count]) => count > 0);
  return wrong.length === 0 ? [] : [`${name}: ${wrong.map(([what, count]) => `${count} ${what}`).join(", ")}`];
}

function missingOf(proofs: readonly KeptProof[]): readonly string[] {
  const proven = new Set(proofs.map(({ test }) => test));
  return ALL.filter((test) => !proven.has(test)).map((test) => `${test}: has left no line`);
}

/** Answers the exit code. */
async function main(folder: string): Promise<number> {
  const proofs = await readProofs(folder);
  console.log([line(HEAD), line(HEAD.map(() => "---")), ...proofs.map(rowOf)].join("\n"));
  const times = proofs.map(({ at }) => at).toSorted();
  if (times.length > 0) console.log(`\nProven between ${times.at(0)} and ${times.at(-1)}.`);
  for (const [number, command] of MEASURED) console.log(`R${number}: measured by \`${command}\``);
  const wrong = [...proofs.flatMap(failingOf), ...missingOf(proofs)];
  for (const what of wrong) console.error(what);
  return wrong.length === 0 ? 0 : 1;
}

process.exitCode = await main(process.argv[2] ?? FOLDER);
