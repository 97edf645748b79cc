/**
 * Storage faults as they come, to every process of a crew and at the rates of R4: calls that time out, applied or not,
 * calls that are throttled, and batches of which a part is left. On DynamoDB they are done to the traffic; on SQLite, to
 * the table inside each process. There are none before the crew is complete, so that everybody has started.
 */
import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Table } from "../../src/storage/table.ts";
import { createRandom } from "../sim/random.ts";
import type { Random } from "../sim/random.ts";
import type { Body, Fate, Passing } from "../support/dropping-proxy.ts";
import { createFaultyTable } from "../support/faulty-table.ts";
import type { FleetEngine } from "../support/fleet.ts";
import { throughProxy } from "./through-proxy.ts";
import { note } from "./witness.ts";
import type { FaultKind } from "./witness.ts";

/** The seed of the faults that a process on SQLite does to its own calls: a text, so that each process has its own. */
export const FAULTS_VARIABLE = "HOLDPOINT_TEST_FAULTS";

export const RATES: Readonly<Record<FaultKind, number>> = {
  "timed out": 0.01,
  "applied and timed out": 0.01,
  throttled: 0.05,
  "partial batch": 0.3,
};

const flagIn = (folder: string): string => join(folder, "faults");

/** From now on calls fail. */
export const beginFaults = (folder: string): void => writeFileSync(flagIn(folder), "");

/** Whether they do, asked again only until they do. */
function hasBegun(folder: () => string): () => boolean {
  let begun = false;
  return () => (begun ||= existsSync(flagIn(folder())));
}

/** The table of one process on SQLite. */
export function withFaults(table: Table, folder: string, seed: string): Table {
  const random = createRandom(seed);
  const isOn = hasBegun(() => folder);
  // The upper half is no fault, and still tells write ids apart.
  const next = (): number => (isOn() ? random.next() : (1 + random.next()) / 2);
  const named = (kind: FaultKind) => () => note(folder, { is: "fault", kind });
  const late = createFaultyTable(table, {
    random: next,
    faults: { refused: RATES["timed out"] },
    onFault: named("timed out"),
  });
  const kinds = {
    refused: "throttled",
    replyLost: "applied and timed out",
    partialBatch: "partial batch",
    repeated: "applied and timed out",
    staleIndex: "throttled",
  } as const;
  return createFaultyTable(late, {
    random: next,
    faults: {
      refused: RATES["throttled"],
      replyLost: RATES["applied and timed out"],
      partialBatch: RATES["partial batch"],
    },
    onFault: (fault) => named(kinds[fault])(),
  });
}

/** The engine with faults in the traffic between its table and all processes. */
export function throughFaults(engine: FleetEngine, seed: number): FleetEngine {
  const random = createRandom(seed);
  let folder = "";
  const isOn = hasBegun(() => folder);
  return throughProxy(engine, (passing, dataDir) => {
    folder = join(dataDir, "test");
    const drawn = isOn() ? draw(random, passing) : undefined;
    if (drawn) note(folder, { is: "fault", kind: drawn.kind });
    return drawn?.fate;
  });
}

interface Drawn {
  readonly kind: FaultKind;
  readonly fate: Fate;
}

const THROTTLED = {
  status: 400,
  body: { __type: "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException" },
};

function draw(random: Random, passing: Passing): Drawn | undefined {
  const drawn = random.next();
  const late = RATES["timed out"];
  const lateAfter = late + RATES["applied and timed out"];
  // Answered in the server's place, and that answer is not sent either.
  if (drawn < late) return { kind: "timed out", fate: { lose: "silence", answer: { status: 200, body: {} } } };
  if (drawn < lateAfter) return { kind: "applied and timed out", fate: { lose: "silence" } };
  if (drawn < lateAfter + RATES["throttled"]) return { kind: "throttled", fate: { answer: THROTTLED } };
  const half = random.next() < RATES["partial batch"] ? halfOf(passing) : undefined;
  return half && { kind: "partial batch", fate: half };
}

/** Half of a batch is left unprocessed. */
function halfOf({ operation, body }: Passing): Fate | undefined {
  const [[table, asked] = []] = Object.entries((body["RequestItems"] ?? {}) as Body);
  if (table === undefined) return undefined;
  const with_ = (part: unknown): Body => ({ [table]: part });
  if (operation === "BatchWriteItem") {
    const all = asked as readonly unknown[];
    const [done, left] = halves(all);
    if (all.length < 2) return undefined;
    return {
      body: { ...body, RequestItems: with_(done) },
      rewrite: (answer) => ({ ...answer, UnprocessedItems: with_(left) }),
    };
  }
  const { Keys: keys = [] } = asked as { readonly Keys?: readonly unknown[] };
  if (keys.length < 2) return undefined;
  const [done, left] = halves(keys).map((part) => with_({ ...(asked as Body), Keys: part }));
  return {
    body: { ...body, RequestItems: done },
    rewrite: (answer) => ({ ...answer, UnprocessedKeys: left }),
  };
}

function halves<T>(all: readonly T[]): readonly [readonly T[], readonly T[]] {
  const half = Math.ceil(all.length / 2);
  return [all.slice(0, half), all.slice(half)];
}
