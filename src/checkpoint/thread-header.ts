/**
 * What the saver needs of a thread's header: which generation lives, and whether others advance the thread under leases.
 * A thread that was never deleted nor copied to has none, unless the runtime has made one.
 */
import { HoldpointError } from "../core/errors.ts";
import { threadKeys } from "../storage/keys.ts";
import type { ThreadRef } from "../storage/keys.ts";
import { readableInClear } from "../storage/records.ts";
import type { Attributes, Item, Table } from "../storage/table.ts";

export interface Generations {
  /** The one that is read. */
  readonly live: number;
  /** The highest that was ever given to anyone: a copy writes into one of its own before it is read. */
  readonly given: number;
}

const numberIn = (header: Item | undefined, name: string): number | undefined => {
  const value = readableInClear(header)?.attributes[name];
  return typeof value === "number" ? value : undefined;
};

const generationsIn = (header: Item | undefined): Generations => {
  const live = numberIn(header, "g") ?? 0;
  return { live, given: Math.max(live, numberIn(header, "ng") ?? 0) };
};

/** The generation in the thread's header; 0 where there is none. */
export async function readGeneration(table: Table, thread: ThreadRef): Promise<number> {
  return generationsIn(await table.get(threadKeys.header(thread))).live;
}

/**
 * Changes the generations until the write wins, and returns them. Where there is no header, one is left that says nothing
 * else; it has no expiry, for with it the number would fall back to one whose keys a late writer still knows.
 * @throws HoldpointError `conflict` for a thread that the runtime advances
 */
export async function changeGenerations(
  table: Table,
  thread: ThreadRef,
  change: (now: Generations) => Generations,
): Promise<Generations> {
  const key = threadKeys.header(thread);
  let current = await table.get(key);
  for (;;) {
    if (current?.attributes["d"] !== undefined)
      throw new HoldpointError(
        "conflict",
        `thread ${thread.threadId} is the runtime's: it is deleted and copied there`,
      );
    const { live, given } = change(generationsIn(current));
    const { version, writeId: _, ...draft } = current ?? { ...key, attributes: {}, version: 0, writeId: "" };
    const attributes: Attributes = { ...draft.attributes, g: live, ...(given === live ? {} : { ng: given }) };
    const result = await table.put(
      { ...draft, attributes: given === live ? without(attributes, "ng") : attributes },
      current === undefined ? "absent" : { version },
    );
    if (result.won) return { live, given };
    current = result.current;
  }
}

const without = (attributes: Attributes, name: string): Attributes =>
  Object.fromEntries(Object.entries(attributes).filter(([other]) => other !== name));
