/**
 * Interleavings of a scenario: every one, unless the search stops at its limit. A state that was reached before is not gone
 * on from again; every history that comes to rest is put to the checker. Since workers are always there to do what is
 * due, that is also the question whether whatever was promised is kept once nothing fails any more.
 *
 * Each history is played to its end before the next one branches off somewhere, so that a search that is stopped early
 * has seen whole ones of all kinds. `shortest` is breadth first: what it finds first has as few steps as can be.
 */
import { FencedSaver } from "../../src/checkpoint/saver.ts";
import type { Deps } from "../../src/runtime/deps.ts";
import { TENANT } from "./clients.ts";
import type { Fact } from "./facts.ts";
import { REF, THREAD } from "./interleave-activities.ts";
import { choicesOf, initialState, keyOf } from "./interleave.ts";
import type { FaultKind, Fleet, Scenario, State, Trail } from "./interleave.ts";
import { LEASE_MS, createProcesses } from "./interleave-process.ts";
import { applyOp, createOpTable } from "./interleave-table.ts";
import type { Items } from "./interleave-table.ts";
import { check } from "./invariants.ts";
import type { Violation } from "./invariants.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { createRandom } from "./random.ts";
import type { Random } from "./random.ts";
import { EPOCH } from "./scheduler.ts";
import { scriptLog } from "./script.ts";

export interface SearchOptions {
  readonly scenario: Scenario;
  readonly fault: FaultKind;
  /** States after which it stops. */
  readonly limit: number;
  /** Changes what a process is given, for negative controls. */
  readonly adapt?: (deps: Deps) => Deps;
  readonly anyOrder?: boolean;
  readonly raced?: boolean;
  readonly shortest?: boolean;
}

export interface Found {
  readonly schedule: readonly string[];
  readonly violations: readonly Violation[];
  readonly facts: readonly Fact[];
}

export interface Outcome {
  /** Different orders in which everything may happen, of those states that were reached. */
  readonly schedules: number;
  readonly states: number;
  /** Histories that came to rest, and were checked. */
  readonly ends: number;
  readonly depth: number;
  readonly exhausted: boolean;
  /** What the product's code was told, over all processes and their repetitions. */
  readonly executed: number;
  readonly found: Found | undefined;
  /** One of the histories that were checked: for who wants to repeat it. */
  readonly last: Found | undefined;
}

/** Longer than any schedule that comes to rest. */
const MOST_STEPS = 400;

export async function search(options: SearchOptions): Promise<Outcome> {
  const fleet = fleetOf(options);
  const graph = new Graph(options.shortest ?? false);
  graph.reach(await initialState(fleet), undefined);
  let [depth, ends] = [0, 0];
  let last: Found | undefined;
  const outcome = (found: Found | undefined, exhausted: boolean): Outcome => {
    const { executed } = fleet.processes;
    return { schedules: graph.ways(), states: graph.states, ends, depth, exhausted, executed, found, last };
  };
  for (let visit = graph.take(); visit; visit = graph.take()) {
    depth = Math.max(depth, visit.depth);
    const choices = choicesOf(fleet, visit.state);
    if (choices.length === 0) {
      ends++;
      last = await judged(visit.state);
      if (last.violations.length > 0) return outcome(last, false);
      graph.branch();
    }
    if (visit.depth > MOST_STEPS) return outcome(await restless(visit.state), false);
    if (graph.states > options.limit) return outcome(undefined, false);
    for (const choice of choices) graph.reach(await choice.take(), visit);
  }
  return outcome(undefined, true);
}

interface Visit {
  readonly id: number;
  readonly depth: number;
  readonly state: State;
}

/** The states that were reached, those to go on from, and the ways through them. */
class Graph {
  readonly #known = new Map<string, number>();
  readonly #paths = new Paths();
  readonly #visits: Visit[] = [];
  readonly #isShortest: boolean;
  readonly #random: Random = createRandom("interleavings");
  #next = 0;

  constructor(isShortest: boolean) {
    this.#isShortest = isShortest;
  }

  get states(): number {
    return this.#known.size;
  }

  ways(): number {
    return this.#paths.count();
  }

  reach(state: State, from: Visit | undefined): void {
    const key = keyOf(state);
    const before = this.#known.get(key);
    const id = before ?? this.#paths.add();
    if (from) this.#paths.link(from.id, id);
    if (before !== undefined) return;
    this.#known.set(key, id);
    this.#visits.push({ id, depth: (from?.depth ?? -1) + 1, state });
  }

  /** The next state to go on from. */
  take(): Visit | undefined {
    return this.#isShortest ? this.#visits[this.#next++] : this.#visits.pop();
  }

  /** A history has come to its end: the next one branches off anywhere. */
  branch(): void {
    const [from, to] = [this.#random.int(Math.max(1, this.#visits.length)), this.#visits.length - 1];
    const [one, other] = [this.#visits[from], this.#visits[to]];
    if (this.#isShortest || !one || !other) return;
    this.#visits[from] = other;
    this.#visits[to] = one;
  }
}

/** Takes the steps of one schedule, on executions of its own. */
export async function replay(options: SearchOptions, schedule: readonly string[]): Promise<Found> {
  const fleet = fleetOf(options);
  let state = await initialState(fleet);
  for (const name of schedule) {
    const choices = choicesOf(fleet, state);
    const choice = choices.find((one) => one.name === name);
    if (!choice) throw new Error(`${name} is not among ${choices.map((one) => one.name).join(", ")}`);
    state = await choice.take();
  }
  return judged(state);
}

function fleetOf({ scenario, fault, adapt = (deps) => deps, ...options }: SearchOptions): Fleet {
  const { anyOrder = false, raced = false } = options;
  return { scenario, fault, processes: createProcesses(adapt), anyOrder, raced };
}

/** Puts a history that has come to rest to the checker. Its times are the numbers of its steps. */
async function judged(state: State): Promise<Found> {
  const { schedule, facts: told } = historyOf(state.trail);
  const log = await logOf(state.items);
  const end: Fact = { kind: "state", at: EPOCH + schedule.length, by: "checker", thread: THREAD, log };
  const facts = [...told, end];
  return { schedule, facts, violations: check(facts, { leaseMs: LEASE_MS }) };
}

async function restless(state: State | undefined): Promise<Found | undefined> {
  if (!state) return undefined;
  const found = await judged(state);
  const violation: Violation = { invariant: "the fleet comes to rest", what: `not in ${MOST_STEPS} steps`, at: EPOCH };
  return { ...found, violations: [violation, ...found.violations] };
}

function historyOf(end: Trail): { readonly schedule: readonly string[]; readonly facts: readonly Fact[] } {
  const trail: Trail[] = [];
  for (let at = end; at.before; at = at.before) trail.push(at);
  trail.reverse();
  return {
    schedule: trail.map(({ choice }) => choice),
    facts: trail.flatMap(({ facts }, i) => facts.map((fact) => ({ ...fact, at: EPOCH + i + 1 }))),
  };
}

function logOf(items: Items): Promise<readonly string[]> {
  const table = createOpTable(async (op) => applyOp(items, op).result, { now: () => EPOCH, writeId: String });
  const saver = new FencedSaver({ table, blobs: createMemoryBlobs(), tenant: TENANT, threadId: REF.threadId });
  return scriptLog(saver, THREAD);
}

/** The graph of states, for counting the ways through it. */
class Paths {
  readonly #from: number[] = [];
  readonly #to: number[] = [];
  #states = 0;

  add(): number {
    return this.#states++;
  }

  link(from: number, to: number): void {
    this.#from.push(from);
    this.#to.push(to);
  }

  /** The number of ways from the first state to where it does not go on; more than 2^53 are counted about. */
  count(): number {
    const [incoming, leaving] = [new Int32Array(this.#states), new Int32Array(this.#states)];
    const edges: number[][] = Array.from({ length: this.#states }, () => []);
    this.#from.forEach((from, i) => {
      const to = this.#to[i] ?? 0;
      edges[from]?.push(to);
      leaving[from] = (leaving[from] ?? 0) + 1;
      incoming[to] = (incoming[to] ?? 0) + 1;
    });
    const ways = new Float64Array(this.#states);
    ways[0] = 1;
    const ready = [0];
    let total = 0;
    for (let from = ready.pop(); from !== undefined; from = ready.pop()) {
      const own = ways[from] ?? 0;
      if (leaving[from] === 0) total += own;
      for (const to of edges[from] ?? []) {
        ways[to] = (ways[to] ?? 0) + own;
        incoming[to] = (incoming[to] ?? 0) - 1;
        if (incoming[to] === 0) ready.push(to);
      }
    }
    return total;
  }
}
