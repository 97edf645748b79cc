/** What a test proved, in one line, and as JSON for whoever makes a table of them. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PROJECT } from "../../scripts/demo/process.ts";

export interface Proof {
  /** R1, R2, … and what it is. */
  readonly test: string;
  readonly engine: string;
  readonly seed: number;
  readonly runs: number;
  /** How many processes were killed or stopped, and how many calls failed, on purpose. */
  readonly faults: number;
  /** Runs that were accepted and are gone, or have no end. */
  readonly lost: number;
  /** Effects that happened once more than they should. */
  readonly doubled: number;
  /** Everything that the checker found; of a negative control, the harm that it was to find. */
  readonly violations: number;
  /** Steps that were executed again, and the steps that were needed. */
  readonly steps?: { readonly again: number; readonly needed: number };
  readonly longestRecoveryMs?: number;
  /** What was asked for, where the counts of one engine do not say it: of all engines together, or one point of so many. */
  readonly size?: string;
  /** Anything else that was counted. */
  readonly counts?: Readonly<Record<string, number>>;
  /** How to see it again. */
  readonly command: string;
}

/** A proof as it is kept. */
export interface KeptProof extends Proof {
  /** When it was made, in ISO 8601. */
  readonly at: string;
}

export const FOLDER = join(PROJECT, ".cache/proof");

/** Prints the line and leaves the JSON in `.cache/proof`. */
export function report(proof: Proof): void {
  const {
    test,
    engine,
    seed,
    runs,
    faults,
    lost,
    doubled,
    violations,
    steps,
    longestRecoveryMs,
    counts = {},
    command,
  } = proof;
  const again = steps === undefined ? [] : [`${steps.again} of ${steps.needed} steps re-run (${percent(steps)})`];
  const recovery = longestRecoveryMs === undefined ? [] : [`longest recovery ${Math.round(longestRecoveryMs)} ms`];
  const others = Object.entries(counts).map(([name, count]) => `${name} ${count}`);
  const line = [
    `${runs} runs`,
    `${faults} faults`,
    `${lost} lost`,
    `${doubled} doubled`,
    `${violations} violations`,
    ...again,
    ...recovery,
    ...others,
  ].join(", ");
  console.log(`${test} on ${engine} (seed ${seed}): ${line}\n  ${command}`);
  const kept: KeptProof = { ...proof, at: new Date().toISOString() };
  mkdirSync(FOLDER, { recursive: true });
  const name = `${test} ${engine}`.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
  writeFileSync(join(FOLDER, `${name}.json`), `${JSON.stringify(kept, undefined, 2)}\n`);
}

/** Of the steps that were needed. */
export const percent = ({ again, needed }: { readonly again: number; readonly needed: number }): string =>
  `${((100 * again) / Math.max(1, needed)).toFixed(1)} %`;
