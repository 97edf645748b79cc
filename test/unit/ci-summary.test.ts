import { describe, expect, it } from "vitest";
import { summaryOf } from "../../scripts/ci-summary.ts";

const counts = { numPassedTests: 12, numFailedTests: 1, numPendingTests: 2, numTodoTests: 1 };
const ran = { status: "failed", assertionResults: [{ status: "failed" }] };
const neverRan = { status: "failed", assertionResults: [] };

describe("the last line of a CI run", () => {
  it("counts what passed, failed and was skipped", () => {
    expect(summaryOf(JSON.stringify({ ...counts, testResults: [ran] }))).toBe("12 passed, 1 failed, 3 skipped");
  });

  it("counts a file that broke before its tests as a failure", () => {
    const none = { ...counts, numFailedTests: 0 };
    expect(summaryOf(JSON.stringify({ ...none, testResults: [neverRan] }))).toBe("12 passed, 1 failed, 3 skipped");
    expect(summaryOf(JSON.stringify({ ...none, testResults: [] }))).toBe("12 passed, 0 failed, 3 skipped");
  });

  it("refuses what is no report", () => {
    expect(() => summaryOf("{}")).toThrow("numPassedTests");
    expect(() => summaryOf("")).toThrow("JSON");
  });
});
