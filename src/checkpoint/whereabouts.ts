/**
 * Where in its graph a piece of code is running, as far as the saver has seen it: the facts from which an effect's
 * token is made. Nothing here reads the table, except a record that this process has neither written nor read.
 */
import { uuid5 } from "@langchain/langgraph-checkpoint";
import type { RunnableConfig } from "@langchain/core/runnables";
import { systemClock } from "../core/clock.ts";
import type { Clock } from "../core/clock.ts";
import { HoldpointError } from "../core/errors.ts";
import { sizeOf } from "./state-size.ts";
import type { StoredCheckpoint } from "./state.ts";
import type { Visits } from "./visits.ts";

/** What a checkpoint's record says about its place in the graph. */
export interface RecordFacts {
  readonly ns: string;
  readonly root: string | undefined;
  readonly visits: Visits;
  readonly sends: readonly string[];
  readonly step: number;
  /** Step of the input from which supersteps are counted; undefined where an older version wrote the record. */
  readonly inputStep: number | undefined;
  readonly source: string;
  /** Of the state, as it is serialized. */
  readonly bytes: number;
}

export const factsOf = (ns: string, { record, visits, sends, channels }: StoredCheckpoint): RecordFacts => ({
  ns,
  root: record.root,
  visits,
  sends,
  step: record.step,
  inputStep: record.inputStep,
  source: record.source,
  bytes: sizeOf(channels.values()),
});

/** Path and step of the task whose namespace a subgraph runs in. */
export interface TaskPlace {
  readonly path: readonly unknown[];
  readonly step: number;
}

/** One segment of a checkpoint namespace, under a given checkpoint of the level above. */
export interface TaskSegment {
  /** Namespace of the level above; empty for the root. */
  readonly prefix: string;
  readonly checkpointId: string;
  /** `node:taskId`. */
  readonly segment: string;
}

/** What `holdpoint/graph` asks of the saver to name the running task. */
export interface Whereabouts {
  /** Waits for a record that is still being written. @throws HoldpointError `unavailable` at the deadline */
  record(ns: string, checkpointId: string): Promise<RecordFacts>;
  /** Undefined for a namespace that was never loaded through the saver. */
  pathOf(ns: string): TaskPlace | undefined;
  /** Number of the first subgraph call of the running attempt of a task, of which `ns` is one. */
  firstOf(taskNs: string, ns: string): number;
  /** Index of an outer task whose subgraph never loaded through the saver: its id is a hash that can be redone. */
  recompute(task: TaskSegment): Promise<TaskPlace | undefined>;
  root(): string | undefined;
}

interface Place extends TaskPlace {
  readonly attempt: number;
}

/** How long `record` waits for a record that is being written, unless told otherwise. */
const RECORD_DEADLINE_MS = 10_000;

export interface WhereaboutsDeps {
  readonly clock?: Clock;
  readonly recordDeadlineMs?: number;
  root(): string | undefined;
  /** Reads a record that is not in memory. */
  read(ns: string, checkpointId: string): Promise<RecordFacts | undefined>;
}

export interface KnownWhereabouts extends Whereabouts {
  /** Takes note of a record that was written or read. */
  saw(checkpointId: string, facts: RecordFacts): void;
  /** Takes note of a record that is being written: whoever asks for it waits for this outcome. */
  writing(ns: string, checkpointId: string, outcome: Promise<RecordFacts>): void;
  /** Takes note of the task in whose name a namespace is loaded. */
  learn(ns: string, config: RunnableConfig): void;
}

/** Records kept in memory; a delivery rarely has as many. */
const REMEMBERED = 10_000;

export function createWhereabouts(deps: WhereaboutsDeps): KnownWhereabouts {
  const facts = new Map<string, RecordFacts>();
  const inFlight = new Map<string, Promise<RecordFacts>>();
  const waiters = new Map<string, ((found: RecordFacts) => void)[]>();
  const places = new Map<string, Place>();
  const keyOf = (ns: string, id: string): string => `${ns}\u0000${id}`;

  const saw = (checkpointId: string, found: RecordFacts): void => {
    const key = keyOf(found.ns, checkpointId);
    facts.set(key, found);
    for (const oldest of facts.keys()) {
      if (facts.size <= REMEMBERED) break;
      facts.delete(oldest);
    }
    const waiting = waiters.get(key) ?? [];
    waiters.delete(key);
    for (const wake of waiting) wake(found);
  };

  const inTime = async (checkpointId: string, outcome: Promise<RecordFacts>): Promise<RecordFacts> => {
    const timer = new AbortController();
    const { clock = systemClock, recordDeadlineMs = RECORD_DEADLINE_MS } = deps;
    const late = clock.sleep(recordDeadlineMs, timer.signal).then(() => undefined);
    try {
      const found = await Promise.race([outcome, late]);
      if (found === undefined)
        throw new HoldpointError("unavailable", `checkpoint ${checkpointId} was not written in time`);
      return found;
    } finally {
      timer.abort();
    }
  };

  const record = async (ns: string, checkpointId: string): Promise<RecordFacts> => {
    const key = keyOf(ns, checkpointId);
    const known = facts.get(key);
    if (known !== undefined) return known;
    const beingWritten = inFlight.get(key);
    if (beingWritten !== undefined) return inTime(checkpointId, beingWritten);
    const written = new Promise<RecordFacts>((wake) => waiters.set(key, [...(waiters.get(key) ?? []), wake]));
    const stored = await deps.read(ns, checkpointId);
    if (stored !== undefined) saw(checkpointId, stored);
    return inTime(checkpointId, written);
  };

  return {
    saw,
    writing: (ns, checkpointId, outcome) => {
      const key = keyOf(ns, checkpointId);
      inFlight.set(key, outcome);
      outcome.then(
        (found) => {
          inFlight.delete(key);
          saw(checkpointId, found);
        },
        () => inFlight.delete(key),
      );
    },
    record,
    learn: (ns, config) => {
      const metadata: Readonly<Record<string, unknown>> = config.metadata ?? {};
      const path = metadata["langgraph_path"];
      const step = metadata["langgraph_step"];
      if (ns === "" || !Array.isArray(path)) return;
      places.set(ns, { path, step: typeof step === "number" ? step : 0, attempt: attemptOf(config) });
    },
    pathOf: (ns) => places.get(ns),
    firstOf: (taskNs, ns) => {
      const attempt = places.get(ns)?.attempt;
      let n = Number(ns.slice(ns.lastIndexOf("|") + 1));
      // LangGraph does not reset its counter for a new attempt: "node:id|2" may be the first call of the second one.
      while (n > 0 && places.get(n === 1 ? taskNs : `${taskNs}|${n - 1}`)?.attempt === attempt) n--;
      return n;
    },
    recompute: async ({ prefix, checkpointId, segment }) => {
      const found = await record(prefix, checkpointId);
      const colon = segment.lastIndexOf(":");
      const [node, taskId] = [segment.slice(0, colon), segment.slice(colon + 1)];
      const ns = prefix === "" ? node : `${prefix}|${node}`;
      const step = found.step + 1;
      const idOfSend = (index: number): string =>
        uuid5(JSON.stringify([ns, String(step), node, PUSH, String(index)]), checkpointId);
      const index = found.sends.findIndex((name, n) => name === node && idOfSend(n) === taskId);
      return { path: index >= 0 ? [PUSH, index, false] : [PULL, node], step };
    },
    root: () => deps.root(),
  };
}

const PUSH = "__pregel_push";
const PULL = "__pregel_pull";

function attemptOf(config: RunnableConfig): number {
  const info: unknown = "executionInfo" in config ? config.executionInfo : undefined;
  const attempt = typeof info === "object" && info !== null && "nodeAttempt" in info ? info.nodeAttempt : undefined;
  return typeof attempt === "number" ? attempt : 1;
}
