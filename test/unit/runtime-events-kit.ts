/** What the tests of the event log share: a graph that says what the test wants, and readers that write down what they get. */
import type { Json } from "../../src/core/json.ts";
import type { Run } from "../../src/core/run.ts";
import type { Drive, DriveOutcome } from "../../src/langgraph/drive.ts";
import type { Engine } from "../../src/runtime/engine.ts";
import type { Followed, Runtime } from "../../src/runtime/runtime.ts";
import { createCountingTable } from "../../bench/support/counting-table.ts";
import type { Call } from "../../bench/support/counting-table.ts";
import type { MemoryTable } from "../support/memory-table.ts";
import { ALICE } from "./runtime-kit.ts";

/** The table as one that does not tell of changes, and writes down its calls. */
export function remote(calls: (readonly Call[])[] = []): (table: MemoryTable) => MemoryTable {
  return (table) => {
    const counting = createCountingTable(table, { now: () => table.now() });
    calls.push(counting.calls);
    return { ...counting, dump: () => table.dump() };
  };
}

export interface Speaker {
  readonly drive: Engine["drive"];
  /** Deliveries so far. */
  readonly deliveries: () => number;
  /** Says this in the name of the delivery that was begun last. Resolves when the graph may go on. */
  readonly say: (data: string) => Promise<void>;
  readonly end: (outcome?: DriveOutcome) => void;
}

/** A graph that says what the test tells it to, until the test ends it. */
export function createSpeaker(): Speaker {
  const drives: { readonly drive: Drive; readonly end: (outcome: DriveOutcome) => void }[] = [];
  return {
    drive: (drive) => new Promise((end) => void drives.push({ drive, end })),
    deliveries: () => drives.length,
    say: async (data) => drives.at(-1)?.drive.emit({ kind: "data", event: "custom", data }),
    end: (outcome = { kind: "done" }) => drives.at(-1)?.end(outcome),
  };
}

export interface Reading extends Disposable {
  /** What came, in its order: custom data as it is, other frames by their names, and the status that the run ended with. */
  readonly got: readonly string[];
  readonly numbers: readonly number[];
  readonly markers: readonly unknown[];
}

/** Reads along in the background, as fast as it can. */
export function read(runtime: Runtime, run: Run, after: number | "now" = -1): Reading {
  const [got, numbers, markers]: [string[], number[], unknown[]] = [[], [], []];
  const stop = new AbortController();
  void (async () => {
    for await (const followed of follow(runtime, run, {
      after: after === "now" ? undefined : after,
      signal: stop.signal,
    })) {
      got.push(said(followed));
      if (followed.kind !== "frame") continue;
      numbers.push(followed.frame.number);
      if (followed.frame.event === "truncated") markers.push(followed.frame.data);
    }
  })().catch((error: unknown) => got.push(String(error)));
  return { got, numbers, markers, [Symbol.dispose]: () => stop.abort() };
}

export function said(followed: Followed): string {
  if (followed.kind === "end") return followed.run.status;
  const { event, data } = followed.frame;
  return event === "custom" ? textOf(data) : event;
}

/** Custom data as the test said it. */
export const textOf = (data: Json): string => (typeof data === "string" ? data : JSON.stringify(data));

/** A reader that reads on only when it is told to. */
export function slowReader(runtime: Runtime, run: Run, after = -1) {
  const frames = follow(runtime, run, { after, signal: new AbortController().signal })[Symbol.asyncIterator]();
  const got: string[] = [];
  const one = async (): Promise<boolean> => {
    const next: IteratorResult<Followed, unknown> = await frames.next();
    if (next.done !== true) got.push(said(next.value));
    return next.done !== true;
  };
  return {
    got,
    one,
    rest: async (): Promise<void> => {
      while (await one());
    },
    leave: async (): Promise<void> => void (await frames.return?.()),
  };
}

const follow = (
  runtime: Runtime,
  { threadId, runId }: Run,
  { after, signal }: { readonly after: number | undefined; readonly signal: AbortSignal },
): AsyncIterable<Followed> => runtime.runs.follow(ALICE, { threadId, runId, after, signal });
