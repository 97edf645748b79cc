/** A process that was asked to stop, and does not. */
import { spawnSync } from "node:child_process";
import { join, resolve } from "node:path";
import { describe, expect, it } from "vitest";

const project = resolve(import.meta.dirname, "../..");
const signals = join(project, "src/signals.ts");

/** Asks itself to stop, and would go on for ever: `sleep` is how its time passes. Ends with 0 if it is let go on. */
const program = (sleep: string): string => `
  import { stopSignal } from ${JSON.stringify(signals)};
  const say = (fields, message) => console.log(JSON.stringify({ ...fields, message }));
  const clock = { wall: () => 0, monotonic: () => 0, sleep: ${sleep} };
  stopSignal(clock, { debug: say, info: say, warn: say, error: say });
  setTimeout(() => process.exit(0), 1000);
  process.kill(process.pid, "SIGTERM");
`;

function run(sleep: string): { readonly code: number | null; readonly said: readonly string[] } {
  const args = ["--input-type=module", "--eval", program(sleep)];
  const { status, stdout } = spawnSync(process.execPath, args, { cwd: project, encoding: "utf8" });
  return { code: status, said: stdout.trim().split("\n") };
}

describe("a process that was asked to stop", () => {
  it("ends with 1 when it has not stopped after 95 seconds, and says so", () => {
    const { code, said } = run("() => Promise.resolve()");
    expect(code).toBe(1);
    expect(said.at(-1)).toContain('"afterMs":95000');
  });

  it("is let go on until then (negative control)", () => {
    const { code, said } = run("() => new Promise(() => undefined)");
    expect(code).toBe(0);
    expect(said).toHaveLength(1);
  });
});
