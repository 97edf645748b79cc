/** The end of every test: what was known is put to the checker, and what it proved is reported. */
import type { Crew } from "./crew.ts";
import { gather } from "./evidence.ts";
import type { Evidence, Told } from "./evidence.ts";
import { doubledEffects, lostRuns, recoveriesOf, violationsOf } from "./invariants.ts";
import type { Violation } from "./invariants.ts";
import { reachableByOthers } from "./isolation.ts";
import { report } from "./report.ts";
import type { Proof } from "./report.ts";
import { factsOf } from "./witness.ts";
import type { Fact } from "./witness.ts";

export interface Case extends Pick<Proof, "test" | "engine" | "seed" | "size" | "counts" | "command"> {
  readonly told: readonly Told[];
  /** What the test found by itself, beside the checker. */
  readonly found?: readonly Violation[];
  /** For how long nobody could write to the table: no lease can be taken meanwhile. */
  readonly unwritableMs?: number;
  /** How many processes were killed or stopped, where facts do not say it. */
  readonly faults?: number;
  /** Steps that had to be executed. */
  readonly stepsNeeded?: number;
}

export interface Judgement {
  readonly violations: readonly Violation[];
  readonly evidence: Evidence;
  readonly facts: readonly Fact[];
  readonly proof: Proof;
}

export async function judge(crew: Crew, about: Case): Promise<Judgement> {
  const { told, found = [], unwritableMs = 0, stepsNeeded, faults, ...rest } = about;
  const facts = crew.facts();
  const effects = crew.outside.effects();
  const evidence = await gather({ look: crew.look, told, facts, effects, leaseMs: crew.leaseMs, unwritableMs });
  const violations = [...violationsOf(evidence), ...(await reachableByOthers(crew, told)), ...found];
  const recoveries = recoveriesOf(facts);
  const proof: Proof = {
    ...rest,
    runs: evidence.threads.reduce((sum, { runs }) => sum + runs.length, 0),
    faults: faults ?? (["killed", "stopped", "fault"] as const).reduce((sum, is) => sum + factsOf(facts, is).length, 0),
    lost: lostRuns(evidence),
    doubled: doubledEffects(evidence),
    violations: violations.length,
    ...(stepsNeeded === undefined
      ? {}
      : { steps: { again: factsOf(facts, "step").length - stepsNeeded, needed: stepsNeeded } }),
    ...(recoveries.length === 0 ? {} : { longestRecoveryMs: Math.max(...recoveries.map(({ tookMs }) => tookMs)) }),
  };
  report(proof);
  return { violations, evidence, facts, proof };
}
