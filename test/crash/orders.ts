/**
 * What is to happen to whoever works on a thread, written down before the thread is used. Any process of the role finds
 * it there, so it does not matter which of them gets the work; it happens to one process, once.
 */
import { closeSync, fstatSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";

export type Role = "api" | "worker";

/** The kinds of writes of a holder, each of which a zombie may still have in hand. */
export const WRITE_KINDS = [
  "claim",
  "beat",
  "move",
  "mark",
  "end",
  "barrier",
  "checkpoint",
  "writes",
  "events",
  "hold",
  "effect",
] as const;
export type WriteKind = (typeof WRITE_KINDS)[number];

export type Order =
  /** Nothing but to note every call and every write. */
  | { readonly do: "count" }
  /** SIGKILL at the `call`-th call of the role that concerns the thread, before it is applied or before its reply. */
  | { readonly do: "kill"; readonly role: Role; readonly call: number; readonly when: "before" | "after" }
  /** SIGKILL right before the `nth` write of the kind. */
  | { readonly do: "kill-at"; readonly kind: WriteKind; readonly nth: number }
  /** SIGKILL in the middle of the `nth` set of task writes, as if each write were a row of its own: one has landed. */
  | { readonly do: "tear"; readonly kind: "writes"; readonly nth: number }
  /** SIGSTOP right before the `nth` write of the kind. `unfenced`: the write is then made without its condition. */
  | { readonly do: "stop"; readonly kind: WriteKind; readonly nth: number; readonly unfenced?: boolean }
  /** SIGSTOP inside the transaction of the `nth` write of the kind; only where there are transactions. */
  | { readonly do: "stop-inside"; readonly kind: WriteKind; readonly nth: number };

export function placeOrder(folder: string, thread: string, order: Order): void {
  writeFileSync(join(folder, `order-${thread}.json`), JSON.stringify(order));
}

export interface Orders {
  of(thread: string): Order | undefined;
  /** The next number of this name for the thread, over all processes. */
  count(thread: string, name: string): number;
  /** True for the one process that carries it out. */
  take(thread: string): boolean;
}

export function createOrders(folder: string): Orders {
  const known = new Map<string, Order | undefined>();
  return {
    of(thread) {
      if (!known.has(thread)) known.set(thread, read(join(folder, `order-${thread}.json`)));
      return known.get(thread);
    },
    count(thread, name) {
      const file = openSync(join(folder, `count-${thread}-${name}`), "a");
      try {
        writeSync(file, ".");
        return fstatSync(file).size;
      } finally {
        closeSync(file);
      }
    },
    take(thread) {
      try {
        closeSync(openSync(join(folder, `taken-${thread}`), "wx"));
        return true;
      } catch {
        return false;
      }
    },
  };
}

function read(file: string): Order | undefined {
  try {
    return JSON.parse(readFileSync(file, "utf8")) as Order;
  } catch {
    return undefined;
  }
}
