/** Prints `N passed, N failed, N skipped` from vitest's report as JSON; a report that is missing is an error. */
import { readFile } from "node:fs/promises";
import { z } from "zod";

const report = z.object({
  numPassedTests: z.int().min(0),
  numFailedTests: z.int().min(0),
  numPendingTests: z.int().min(0),
  numTodoTests: z.int().min(0),
  testResults: z.array(z.object({ status: z.string(), assertionResults: z.array(z.unknown()) })),
});

/**
 * The last line of a CI run. A file that failed before any of its tests ran counts as one failure: vitest itself
 * counts tests only, so that such a file would be passed over in silence.
 * @throws if the text is not a report of vitest's
 */
export function summaryOf(json: string): string {
  const { numPassedTests, numFailedTests, numPendingTests, numTodoTests, testResults } = report.parse(JSON.parse(json));
  const broken = testResults.filter(
    ({ status, assertionResults }) => status === "failed" && assertionResults.length === 0,
  );
  const failed = numFailedTests + broken.length;
  return `${numPassedTests} passed, ${failed} failed, ${numPendingTests + numTodoTests} skipped`;
}

if (import.meta.main) {
  const [path] = process.argv.slice(2);
  if (path === undefined) throw new Error("usage: ci-summary <vitest's report as JSON>");
  console.log(summaryOf(await readFile(path, "utf8")));
}
