/** Everything that a test knows when it is over: what clients were told, what stands in the table, what was seen. */
import type { RunStatus } from "../../src/core/run.ts";
import type { Look, ThreadItems } from "./look.ts";
import type { Effect } from "./outside.ts";
import type { Fact } from "./witness.ts";

/** What the service acknowledged to one client, all of it on one thread. */
export interface Told {
  readonly tenant: string;
  readonly threadId: string;
  /** Every run that was accepted. */
  readonly runs: readonly string[];
  readonly decisions: readonly ToldDecision[];
  /** What must have happened outside because of it, and nothing else of this thread. */
  readonly effects: readonly string[];
  /** The lines of its state. Undefined where they are not known. */
  readonly log?: readonly string[] | undefined;
  /** The status that each of its runs must have come to: `success`, or `held` for those that asked. */
  readonly ends?: readonly RunStatus[];
}

export interface ToldDecision {
  readonly reviewId: string;
  readonly type: string;
  /** The mark of whoever won, as it must stand on the hold. */
  readonly comment?: string;
  /** The run that was said to carry it on. */
  readonly continuation?: string;
}

export interface ThreadSeen extends ThreadItems {
  readonly told: Told;
}

export interface Evidence {
  readonly threads: readonly ThreadSeen[];
  readonly facts: readonly Fact[];
  readonly effects: readonly Effect[];
  readonly leaseMs: number;
  readonly unwritableMs: number;
}

export interface Gathering {
  readonly look: Look;
  readonly told: readonly Told[];
  readonly facts?: readonly Fact[];
  readonly effects?: readonly Effect[];
  readonly leaseMs: number;
  /** For how long nobody could write to the table. */
  readonly unwritableMs?: number;
}

/** Reads what stands in the table, past every process of the product. */
export async function gather(gathering: Gathering): Promise<Evidence> {
  const { look, told, facts = [], effects = [], leaseMs, unwritableMs = 0 } = gathering;
  const threads: ThreadSeen[] = [];
  for (const one of told) threads.push({ told: one, ...(await look.at(one)) });
  return { threads, facts, effects, leaseMs, unwritableMs };
}
