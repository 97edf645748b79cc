/**
 * A table in a real process that notes what concerns claims and runs, and that carries out orders: it kills or stops
 * its own process, with a real signal, at the call that an order names.
 */
import { headerBytes, packBody, unpackBody } from "../../src/checkpoint/body.ts";
import { errorInfo } from "../../src/core/errors.ts";
import type { Draft, Item, Key, PutResult, Range, Table } from "../../src/storage/table.ts";
import type { Order, Orders, Role, WriteKind } from "./orders.ts";
import { machineMs, note } from "./witness.ts";
import type { Seen } from "./witness.ts";

export interface ArmedOptions {
  readonly folder: string;
  readonly role: Role;
  readonly orders: Orders;
  /** Told that the next transaction has the write inside which the process is to be stopped. */
  readonly onStopInside: (stop: () => void) => void;
  /** Negative control: nothing that is written into the effect journal is found in it. */
  readonly forgetsEffects: boolean;
}

interface Call {
  readonly method: "get" | "put" | "remove" | "query" | "batchGet" | "batchPut" | "add";
  readonly key: Key;
  readonly draft?: Draft;
}

/** What a header's item says of its lease. */
interface HeaderBody {
  readonly fence: number;
  readonly lease?: { readonly owner: string; readonly beat: number };
  readonly strikes?: { readonly count: number };
}

interface RunBody {
  readonly status: Extract<Seen, { readonly is: "run" }>["status"];
  readonly fence: number;
}

type Fate = "kill-before" | "kill-after" | "tear" | "stop" | "stop-inside";

interface At {
  readonly thread: string;
  readonly call: string;
  readonly kind: WriteKind | undefined;
}

/** What came of a write. */
interface Came {
  readonly won: boolean;
  /** Under which its writer believed to hold the thread. */
  readonly fence: number;
  readonly error?: string;
}

export function createArmedTable(table: Table, options: ArmedOptions): Table {
  const inner = options.forgetsEffects ? withoutJournal(table) : table;
  const arms = new Arms(options);
  return {
    get: (key) => arms.call({ method: "get", key }, () => inner.get(key)),
    put: (draft, when, writeOptions) =>
      arms.call({ method: "put", key: draft, draft }, (fate, order) =>
        inner.put(
          fate === "tear" ? firstWriteOf(draft) : draft,
          fate === "stop" && order?.do === "stop" && order.unfenced === true ? "any" : when,
          writeOptions,
        ),
      ),
    remove: (key, when) => arms.call({ method: "remove", key }, () => inner.remove(key, when)),
    query: (pk, range) => arms.call({ method: "query", key: { pk, sk: startOf(range) } }, () => inner.query(pk, range)),
    queryIndex: (index, pk, range) => inner.queryIndex(index, pk, range),
    batchGet: (keys) => arms.call({ method: "batchGet", key: first(keys) }, () => inner.batchGet(keys)),
    batchPut: (drafts) => {
      const [draft] = drafts;
      return arms.call({ method: "batchPut", key: first(drafts), ...(draft ? { draft } : {}) }, () =>
        inner.batchPut(drafts),
      );
    },
    add: (key, field, delta, ceiling) => arms.call({ method: "add", key }, () => inner.add(key, field, delta, ceiling)),
    now: () => inner.now(),
    changes: inner.changes,
    [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
  };
}

function withoutJournal(table: Table): Table {
  const isEffect = ({ sk }: Key): boolean => sk.startsWith("X#");
  return {
    ...table,
    get: async (key) => (isEffect(key) ? undefined : table.get(key)),
    put: async (draft, when, writeOptions) =>
      isEffect(draft) ? { won: true, version: 1 } : table.put(draft, when, writeOptions),
    [Symbol.asyncDispose]: () => table[Symbol.asyncDispose](),
  };
}

const first = (keys: readonly Key[]): Key => keys[0] ?? { pk: "", sk: "" };
const startOf = (range: Range): string => range.prefix ?? range.from ?? "";

class Arms {
  readonly #options: ArmedOptions;
  /** Thread of each run that was seen: journals and maps are kept by run. */
  readonly #threadOfRun = new Map<string, string>();
  /** Fence and beat under which this process last wrote each header. */
  readonly #held = new Map<string, { readonly fence: number; readonly beat: number }>();

  /** What is torn is the last that this process writes. */
  #isDying = false;

  constructor(options: ArmedOptions) {
    this.#options = options;
  }

  async call<T>(call: Call, apply: (fate?: Fate, order?: Order) => Promise<T>): Promise<T> {
    const thread = this.#threadOf(call);
    if (thread === undefined) return apply();
    const kind = call.draft && this.#kindOf(thread, call.draft);
    const order = this.#isAtWork(thread, call) ? this.#options.orders.of(thread) : undefined;
    const fate = order && this.#fateOf({ thread, order, call, kind });
    const at: At = { thread, call: `${call.method} ${call.key.sk}`, kind };
    const fence = this.#held.get(thread)?.fence ?? 0;
    if (this.#isDying) return new Promise<never>(() => {});
    this.#before(at, fate);
    const sentMs = machineMs();
    const result = await apply(fate, order).catch((error: unknown) => {
      this.#woke(at, fate, { won: false, fence, error: errorInfo(error).message });
      throw error;
    });
    const won = !isPutResult(result) || result.won;
    this.#after(at, fate, { won, fence });
    if (won && call.draft) this.#witness(thread, call.draft, sentMs);
    if (!won && kind === "claim") this.#note({ is: "outrun", thread });
    return result;
  }

  #before(at: At, fate: Fate | undefined): void {
    const { thread, call, kind } = at;
    if (fate === "kill-before") this.#kill(thread, call, "before");
    this.#isDying = fate === "tear";
    if (fate === "stop" && kind) this.#stop(thread, call, kind);
    if (fate === "stop-inside" && kind) this.#options.onStopInside(() => this.#stop(thread, call, kind));
  }

  #after(at: At, fate: Fate | undefined, came: Came): void {
    if (fate === "kill-after" || fate === "tear") this.#kill(at.thread, at.call, "after");
    this.#woke(at, fate, came);
  }

  #woke({ thread, call, kind }: At, fate: Fate | undefined, came: Came): void {
    const wasStopped = fate === "stop" || fate === "stop-inside";
    if (wasStopped && kind) this.#note({ is: "woke", thread, kind, call, ...came });
  }

  /** Reads of workers that only look whether there is something to do are no points of a story. */
  #isAtWork(thread: string, { draft }: Call): boolean {
    return this.#options.role === "api" || draft !== undefined || this.#held.has(thread);
  }

  #fateOf(about: {
    readonly thread: string;
    readonly order: Order;
    readonly call: Call;
    readonly kind: WriteKind | undefined;
  }): Fate | undefined {
    const { thread, order, call, kind } = about;
    const { orders, role } = this.#options;
    switch (order.do) {
      case "count": {
        const n = orders.count(thread, role);
        this.#note({ is: "call", thread, role, n, call: `${call.method} ${call.key.sk}` });
        if (kind && role === "worker") this.#note({ is: "write", thread, kind, nth: orders.count(thread, kind) });
        return undefined;
      }
      case "kill": {
        if (order.role !== role || orders.count(thread, role) < order.call || !orders.take(thread)) return undefined;
        return order.when === "before" ? "kill-before" : "kill-after";
      }
      case "kill-at":
      case "tear":
      case "stop":
      case "stop-inside": {
        if (order.kind !== kind || role !== "worker") return undefined;
        const isDue = orders.count(thread, kind) >= order.nth && orders.take(thread);
        return isDue ? (order.do === "kill-at" ? "kill-before" : order.do) : undefined;
      }
    }
  }

  #kill(thread: string, call: string, when: "before" | "after"): void {
    this.#note({ is: "killed", thread, call, when });
    process.kill(process.pid, "SIGKILL");
  }

  #stop(thread: string, call: string, kind: WriteKind): void {
    this.#note({ is: "stopped", thread, kind, call });
    process.kill(process.pid, "SIGSTOP");
  }

  #note(seen: Seen): void {
    note(this.#options.folder, seen);
  }

  /** What became true with a write that won. */
  #witness(thread: string, draft: Draft, sentMs: number): void {
    const { sk } = draft;
    if (sk === "H") {
      const { fence, lease, strikes } = bodyOf(draft) as HeaderBody;
      const before = this.#held.get(thread);
      // Who accepts a run writes the header too, with the lease that somebody else has.
      if (lease && !isOwn(lease.owner)) return;
      if (lease) this.#held.set(thread, { fence, beat: lease.beat });
      if (lease && before?.fence !== fence)
        this.#note({ is: "claim", thread, fence, strikes: strikes?.count ?? 0, sentMs });
      if (lease && before?.fence === fence && lease.beat > before.beat) this.#note({ is: "beat", thread, sentMs });
      if (!lease && before?.fence === fence) {
        this.#held.delete(thread);
        this.#note({ is: "release", thread, fence });
      }
    } else if (sk.startsWith("R#")) {
      const { status, fence } = bodyOf(draft) as RunBody;
      this.#note({ is: "run", thread, run: sk.slice(2), status, fence, sentMs });
    }
  }

  #kindOf(thread: string, draft: Draft): WriteKind | undefined {
    const [letter] = draft.sk.split("#");
    switch (letter) {
      case "H":
        return this.#headerKind(thread, bodyOf(draft) as HeaderBody);
      case "R":
        return (bodyOf(draft) as RunBody).status === "running" ? "mark" : "end";
      case "C":
        return draft.attributes["k"] === "b" ? "barrier" : "checkpoint";
      case "W":
        return "writes";
      case "E":
        return "events";
      case "A":
        return "hold";
      case "X":
        return "effect";
      case undefined:
      default:
        return undefined;
    }
  }

  #headerKind(thread: string, { fence, lease }: HeaderBody): WriteKind {
    const held = this.#held.get(thread);
    if (lease && isOwn(lease.owner) && held?.fence !== fence) return "claim";
    return lease && lease.beat > (held?.beat ?? 0) ? "beat" : "move";
  }

  /** The thread that a call concerns; undefined for everything that is of no thread, such as the index of due work. */
  #threadOf({ key, draft }: Call): string | undefined {
    const [, kind, id = "", rest = ""] = key.pk.split("#");
    switch (kind) {
      case "t": {
        const [letter, run] = key.sk.split("#");
        if ((letter === "R" || letter === "I") && run) this.#threadOfRun.set(run, id);
        return id;
      }
      case "e":
        return id;
      case "x": {
        const run = draft && (bodyOf(draft) as { readonly runId: string }).runId;
        const thread = this.#threadOfRun.get(id) ?? (run === undefined ? undefined : this.#threadOfRun.get(run));
        if (thread !== undefined) this.#threadOfRun.set(id, thread);
        return thread;
      }
      case "r": {
        const named = draft?.attributes["thread"];
        return typeof named === "string" ? named : this.#threadOfRun.get(id);
      }
      case "i":
        // These tests begin their keys with the thread.
        return rest.slice(0, 36);
      case undefined:
      default:
        return undefined;
    }
  }
}

/** Task writes of which only the first was stored. */
function firstWriteOf(draft: Draft): Draft {
  const { b: body } = draft.attributes;
  if (!(body instanceof Uint8Array)) return draft;
  const { header, rest } = unpackBody(body);
  const { w: writes } = header as { readonly w: readonly unknown[] };
  const torn = packBody(headerBytes({ ...(header as object), w: writes.slice(0, 1) }), [rest]);
  return { ...draft, attributes: { ...draft.attributes, b: torn } };
}

/** The fourth part of an owner is its process id. */
const isOwn = (owner: string): boolean => owner.split("/")[3] === String(process.pid);

/** What the record in an item says of itself; the caller knows of which noun it is. */
function bodyOf({ attributes }: Draft): unknown {
  const text = attributes["d"];
  return JSON.parse(typeof text === "string" ? text : "{}");
}

const isPutResult = (result: unknown): result is PutResult & { readonly current?: Item } =>
  typeof result === "object" && result !== null && "won" in result;
