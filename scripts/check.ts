/** `npm run check`: format, lint with the layer rule, types and dead code, in one command that shows every finding. */
import { styleText } from "node:util";
import { installInfra } from "./infra.ts";
import { capture } from "./run.ts";
import type { Finished } from "./run.ts";

const checks: readonly (readonly [name: string, command: string, ...args: string[]])[] = [
  ["format", "oxfmt", "--check"],
  ["lint and layers", "oxlint"],
  ["types", "tsc", "-p", "."],
  ["types of infra", "tsc", "-p", "infra"],
  ["dead code", "knip", "--no-progress"],
];

function report({ name, code, output, tookMs }: Finished): void {
  const mark = code === 0 ? styleText("green", "ok") : styleText("red", "failed");
  console.log(`${mark} ${name} (${(tookMs / 1000).toFixed(1)} s)`);
  if (code !== 0) console.log(output.trimEnd());
}

/** Runs every check, prints what each found as it ends, and answers how many failed. */
export async function check(): Promise<number> {
  await installInfra();
  const ends = checks.map(async ([name, command, ...args]) => {
    const finished = await capture(name, command, args);
    report(finished);
    return finished.code;
  });
  return (await Promise.all(ends)).filter((code) => code !== 0).length;
}

if (import.meta.main) {
  const failed = await check();
  if (failed > 0) console.log(`${failed} of ${checks.length} checks failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}
