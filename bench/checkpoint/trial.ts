/** One saver in one workload: what its turns asked of its storage. */
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import { createSerializer } from "../../src/checkpoint/serializer/serializer.ts";
import { sequentialChain } from "../support/counting-table.ts";
import type { Contender, Entrant, StorageCall } from "./contender.ts";
import { THREAD } from "./workloads.ts";
import type { Workload } from "./workloads.ts";

/** Turns that are looked at; each stands for the turns up to it. */
export const LOOKED_AT = [10, 100, 400, 2000] as const;
/** How many turns up to one that is looked at its figures are a mean of. */
const WINDOW = 10;

/** A mean turn. What nobody counted is NaN. */
export interface MeanTurn {
  readonly turn: number;
  readonly writeUnits: number;
  readonly readUnits: number;
  readonly requests: number;
  /** Bytes kept after it. */
  readonly bytes: number;
  readonly ms: number;
  readonly checkpoints: number;
  /** Items of task writes, for each task that wrote. */
  readonly itemsOfTask: number;
  /** Records of the log, for each checkpoint. */
  readonly recordsOfStep: number;
}

export interface Result {
  readonly entrant: Entrant;
  readonly turns: readonly MeanTurn[];
  /** Why it left, and when. */
  readonly left?: string;
  /** At the end; undefined for one that left. */
  readonly end?: {
    /** Calls one after another until a saver that remembers nothing has the thread; NaN where nobody counted. */
    readonly coldReadTrips: number;
    readonly bytes: number;
    /** Serialized bytes of the state after the last turn. */
    readonly stateBytes: number;
  };
}

export interface Trial extends AsyncDisposable {
  /** Takes the next turn, unless it has left. */
  take(turn: number): Promise<void>;
  result(): Promise<Result>;
}

interface Turn {
  readonly ms: number;
  readonly calls: readonly StorageCall[];
  readonly checkpoints: number;
  readonly tasks: number;
}

/** Begins one; the saver leaves when it fails or keeps more than `mostBytes`. */
export async function openTrial(workload: Workload, entrant: Entrant, mostBytes: number): Promise<Trial> {
  const contender = await entrant.open();
  const seen: Turn[] = [];
  const means: MeanTurn[] = [];
  let state: unknown;
  let left: string | undefined;

  async function taken(turn: number): Promise<Turn> {
    const before = contender.calls?.length ?? 0;
    const { saver, checkpoints, tasks } = watched(contender.saver());
    const began = performance.now();
    state = await workload.turn(saver, turn);
    const ms = performance.now() - began;
    return { ms, calls: contender.calls?.slice(before) ?? [], checkpoints: checkpoints(), tasks: tasks() };
  }

  return {
    async take(turn) {
      if (left !== undefined) return;
      try {
        seen.push(await taken(turn));
      } catch (error) {
        left = `failed in turn ${turn}: ${error instanceof Error ? error.message : String(error)}`;
      }
      const isLookedAt = (LOOKED_AT as readonly number[]).includes(turn);
      if (left !== undefined || (!isLookedAt && turn % WINDOW !== 0)) return;
      const bytes = await contender.bytes();
      if (isLookedAt)
        means.push(meanOf(turn, seen.slice(-WINDOW), { bytes, isCounted: contender.calls !== undefined }));
      if (bytes > mostBytes) left = `left after turn ${turn}, keeping ${(bytes / 1e6).toFixed(0)} MB`;
    },
    async result() {
      if (left !== undefined) return { entrant, turns: means, left };
      const coldReadTrips = await coldRead(contender, entrant.name);
      const [, serialized] = createSerializer().dumpsSync(state);
      const end = { coldReadTrips, bytes: await contender.bytes(), stateBytes: serialized.byteLength };
      return { entrant, turns: means, end };
    },
    [Symbol.asyncDispose]: () => contender[Symbol.asyncDispose](),
  };
}

/** The saver, with its checkpoints and the tasks that wrote counted. */
function watched(saver: BaseCheckpointSaver) {
  let checkpoints = 0;
  const tasks = new Set<string>();
  const original = Object.getPrototypeOf(saver) as BaseCheckpointSaver;
  const counting: Pick<BaseCheckpointSaver, "put" | "putWrites"> = {
    put(...given) {
      checkpoints += 1;
      return original.put.apply(saver, given);
    },
    putWrites(...given) {
      tasks.add(given[2]);
      return original.putWrites.apply(saver, given);
    },
  };
  return { saver: Object.assign(saver, counting), checkpoints: () => checkpoints, tasks: () => tasks.size };
}

async function coldRead(contender: Contender, name: string): Promise<number> {
  const before = contender.calls?.length ?? 0;
  const tuple = await contender.saver({ cold: true }).getTuple({ configurable: { thread_id: THREAD } });
  if (tuple === undefined) throw new Error(`${name} does not find the thread`);
  if (contender.calls === undefined) return Number.NaN;
  return sequentialChain(contender.calls.slice(before)).length;
}

function meanOf(
  turn: number,
  turns: readonly Turn[],
  { bytes, isCounted }: { readonly bytes: number; readonly isCounted: boolean },
): MeanTurn {
  const sum = (of: (turn: Turn) => number): number => turns.reduce((all, each) => all + of(each), 0);
  const calls = (of: (call: StorageCall) => number): number =>
    isCounted ? sum((each) => each.calls.reduce((all, call) => all + of(call), 0)) : Number.NaN;
  const items = (prefix: string): number =>
    calls(({ written }) => written.filter((key) => key.startsWith(prefix)).length);
  return {
    turn,
    bytes,
    writeUnits: calls(({ writeUnits }) => writeUnits) / turns.length,
    readUnits: calls(({ readUnits }) => readUnits) / turns.length,
    requests: calls(({ requests }) => requests) / turns.length,
    ms: sum(({ ms }) => ms) / turns.length,
    checkpoints: sum(({ checkpoints }) => checkpoints) / turns.length,
    itemsOfTask: items("W#") / sum(({ tasks }) => tasks),
    recordsOfStep: items("C#") / sum(({ checkpoints }) => checkpoints),
  };
}
