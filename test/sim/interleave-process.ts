/**
 * Processes as functions of what they are told. One activity of one process (an API call, a worker with one thread)
 * is the product's own code on dependencies of its own (I7), whose every table call stops until it is given a result.
 * It is deterministic: what it asks next depends on nothing but the results that it was given. So its states form a
 * tree, each is reached by executing the code from its start, and none has to be executed for more than one
 * interleaving of the others.
 *
 * A process that is told something it was told before is not executed again. One that goes on from where a living
 * execution stands goes on with that one; every other is executed from its start, with the results on its path.
 */
import { sha256 } from "../../src/core/ids.ts";
import type { Deps } from "../../src/runtime/deps.ts";
import type { Table } from "../../src/storage/table.ts";
import type { Answer, Fact } from "./facts.ts";
import { createOpTable } from "./interleave-table.ts";
import type { TableOp } from "./interleave-table.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { processDeps } from "./process-deps.ts";
import { EPOCH, createScheduler } from "./scheduler.ts";
import type { Scheduler, SimProcess } from "./scheduler.ts";
import { scripted } from "./stage.ts";
import type { Stage } from "./stage.ts";

export const LEASE_MS = 1000;

/** What code that is executed step by step is given. */
export interface Host {
  readonly deps: Deps;
  readonly stage: Stage;
  readonly process: SimProcess;
  /** Whom to call when this process has a look at what it was asked to stop. */
  readonly onLook: (look: () => void) => void;
}

/** One activity of a process. The same name and the same `given` always mean the same code on the same arguments. */
export interface Activity {
  readonly name: string;
  readonly given: string;
  readonly run: (host: Host) => Promise<Answer | undefined>;
}

/** What happens to a process. */
export type Input =
  | { readonly kind: "result"; readonly call: number; readonly value: unknown }
  /** Its next timer fires. */
  | { readonly kind: "timer" }
  | { readonly kind: "look" };

/** A state of a process: what it waits for, or what it came to. */
export interface Local {
  readonly id: number;
  readonly activity: Activity;
  /** The calls that have no result yet, by their numbers in the order in which they were made. */
  readonly calls: ReadonlyMap<number, TableOp>;
  readonly ended: boolean;
  readonly answer: Answer | undefined;
  /** What happened in it on the way from the state before. */
  readonly notes: readonly Fact[];
  readonly timers: number;
  readonly looks: number;
}

interface Node extends Local {
  readonly parent: Node | undefined;
  readonly input: Input | undefined;
  readonly children: Map<string, Node>;
  /** An execution that stands here. */
  execution: Execution | undefined;
}

export interface Processes {
  begin(activity: Activity): Promise<Local>;
  after(local: Local, input: Input): Local | Promise<Local>;
  /** Inputs that the product's code was given, those on repeated paths included. */
  readonly executed: number;
}

/** So many executions are kept alive, to go on with: each holds what a process has in memory. */
const ALIVE = 2000;

export function createProcesses(adapt: (deps: Deps) => Deps): Processes {
  const roots = new Map<string, Node>();
  const nodes = new WeakMap<Local, Node>();
  const alive = new Set<Node>();
  let [states, executed] = [0, 0];
  const keep = (node: Node, execution: Execution): void => {
    Object.assign(node, { execution });
    alive.add(node);
    const [oldest] = alive;
    if (alive.size > ALIVE && oldest) forget(oldest);
  };
  const forget = (node: Node): void => {
    alive.delete(node);
    Object.assign(node, { execution: undefined });
  };
  const added = (execution: Execution, parent: Node | undefined, input: Input | undefined): Node => {
    const node: Node = {
      ...execution.local(),
      id: states++,
      timers: (parent?.timers ?? 0) + (input?.kind === "timer" ? 1 : 0),
      looks: (parent?.looks ?? 0) + (input?.kind === "look" ? 1 : 0),
      parent,
      input,
      children: new Map(),
      execution: undefined,
    };
    nodes.set(node, node);
    if (!node.ended) keep(node, execution);
    return node;
  };
  const give = async (execution: Execution, input: Input): Promise<void> => {
    executed++;
    await execution.give(input);
  };
  const again = async (node: Node): Promise<Execution> => {
    const path: Input[] = [];
    for (let at: Node | undefined = node; at; at = at.parent) if (at.input) path.unshift(at.input);
    const execution = new Execution(node.activity, adapt);
    await execution.settle();
    for (const input of path) await give(execution, input);
    execution.local();
    return execution;
  };
  const extend = async (node: Node, input: Input): Promise<Local> => {
    const execution = node.execution ?? (await again(node));
    forget(node);
    await give(execution, input);
    const child = added(execution, node, input);
    node.children.set(nameOfInput(input), child);
    return child;
  };
  return {
    async begin(activity) {
      const name = `${activity.name} ${activity.given}`;
      const known = roots.get(name);
      if (known) return known;
      const execution = new Execution(activity, adapt);
      await execution.settle();
      const root = added(execution, undefined, undefined);
      roots.set(name, root);
      return root;
    },
    after(local, input) {
      const node = nodes.get(local);
      if (!node) throw new Error("a state of another search");
      return node.children.get(nameOfInput(input)) ?? extend(node, input);
    },
    get executed() {
      return executed;
    },
  };
}

/** The product's code on its way. */
class Execution {
  readonly #activity: Activity;
  readonly #scheduler: Scheduler;
  readonly #waiting = new Map<number, { readonly op: TableOp; readonly resolve: (value: unknown) => void }>();
  #notes: Fact[] = [];
  #calls = 0;
  #look: () => void = () => {};
  #ended = false;
  #answer: Answer | undefined;

  constructor(activity: Activity, adapt: (deps: Deps) => Deps) {
    const { name } = activity;
    this.#activity = activity;
    this.#scheduler = createScheduler({ seed: name });
    const process = this.#scheduler.process(name);
    const stage = this.#stage();
    const deps = processDeps(process, {
      table: this.#table(name),
      blobs: createMemoryBlobs(),
      stage,
      scheduler: this.#scheduler,
      recorder: { note: (fact) => void this.#notes.push(fact), onChange: () => {}, facts: async () => [] },
      leaseMs: LEASE_MS,
      shards: 1,
      adapt,
    });
    const onLook = (look: () => void): void => {
      this.#look = look;
    };
    void process
      .enter(() => activity.run({ deps, stage, process, onLook }))
      .catch((error: unknown) => {
        const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
        this.#notes.push({ kind: "defect", at: EPOCH, by: name, message });
        return undefined;
      })
      .then((answer) => {
        this.#ended = true;
        this.#answer = answer;
      });
  }

  /** Lets the process run until it waits again. Timers of no length fire; others do when the search says so. */
  async settle(): Promise<void> {
    await this.#scheduler.run(() => false, this.#scheduler.now());
  }

  async give(input: Input): Promise<void> {
    switch (input.kind) {
      case "result": {
        const call = this.#waiting.get(input.call);
        if (!call) throw new Error(`${this.#activity.name} does not repeat what it did: no call ${input.call}`);
        this.#waiting.delete(input.call);
        call.resolve(input.value);
        break;
      }
      case "timer":
        await this.#scheduler.run(() => false, this.#scheduler.now() + TIMER_MS);
        break;
      case "look":
        this.#look();
        break;
    }
    await this.settle();
  }

  local(): Pick<Local, "activity" | "calls" | "ended" | "answer" | "notes"> {
    const notes = this.#notes;
    this.#notes = [];
    return {
      activity: this.#activity,
      calls: new Map([...this.#waiting].map(([number, { op }]) => [number, op])),
      ended: this.#ended,
      answer: this.#answer,
      notes,
    };
  }

  #table(name: string): Table {
    const send = (op: TableOp): Promise<unknown> =>
      new Promise((resolve) => void this.#waiting.set(++this.#calls, { op, resolve }));
    return createOpTable(send, { now: () => this.#scheduler.now(), writeId: (n) => `${name}.${n}` });
  }

  #stage(): Stage {
    const outside = {
      call: () => Promise.reject(new Error("effects are not modelled")),
      attempt: () => 1,
      happened: () => false,
      handOut: () => undefined,
      handedOut: [],
    };
    return scripted({
      outside,
      heard: (process, tag) => void this.#notes.push({ kind: "heard", at: EPOCH, by: process.name, tag }),
    });
  }
}

/** More than a decision's pause between two looks, less than a heartbeat's. */
const TIMER_MS = 100;

function nameOfInput(input: Input): string {
  return input.kind === "result" ? `${input.call} ${digest(input.value)}` : input.kind;
}

const digests = new WeakMap<object, string>();

/** Names what a call resulted in, or an item, by its content. */
export function digest(value: unknown): string {
  if (typeof value !== "object" || value === null) return String(value);
  const known = digests.get(value);
  if (known !== undefined) return known;
  const parts = Object.entries(value).map(([name, part]: [string, unknown]) =>
    part instanceof Uint8Array ? `${name}=${Buffer.from(part).toString("hex")}` : `${name}=${digest(part)}`,
  );
  const text = sha256(parts.join("\n")).slice(0, 20);
  digests.set(value, text);
  return text;
}
