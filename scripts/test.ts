/**
 * `npm test`: every check, then every test; fails at the end if either did. What follows `--` goes to vitest.
 * Leaves vitest's report as JSON where `.ci/run` reads it.
 */
import { rm } from "node:fs/promises";
import { check } from "./check.ts";
import { foreground } from "./run.ts";

const REPORT = ".cache/test-report.json";

/** The runs that have a name of their own, and what each tells vitest and the tests. */
const kinds: Readonly<
  Record<string, { readonly args: readonly string[]; readonly env: Readonly<Record<string, string>> }>
> = {
  contract: { args: ["test/contract"], env: {} },
  nightly: { args: [], env: { HOLDPOINT_NIGHTLY: "1", HOLDPOINT_SIM_SCHEDULES: "20000" } },
};

async function main(argv: readonly string[]): Promise<number> {
  const [first = "", ...rest] = argv;
  const kind = Object.hasOwn(kinds, first) ? kinds[first] : undefined;
  const findings = kind === undefined ? await check() : 0;
  await rm(REPORT, { force: true });
  const reporters = ["--reporter=default", "--reporter=json", `--outputFile.json=${REPORT}`];
  const args = ["run", ...reporters, ...(kind?.args ?? []), ...(kind === undefined ? argv : rest)];
  const code = await foreground("vitest", args, { ...kind?.env, ...process.env });
  if (findings > 0) console.log(`${findings} of the checks before the tests failed: see above, or run npm run check`);
  return code === 0 && findings === 0 ? 0 : 1;
}

process.exitCode = await main(process.argv.slice(2));
