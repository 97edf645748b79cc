/** What stands in the table, read past every process of the product. */
import { FencedSaver } from "../../src/checkpoint/saver.ts";
import { namespaceOf, readRecord } from "../../src/checkpoint/record.ts";
import type { LogRecord } from "../../src/checkpoint/record.ts";
import type { Hold } from "../../src/core/hold.ts";
import { tenantId, threadId } from "../../src/core/ids.ts";
import type { Run } from "../../src/core/run.ts";
import type { Thread } from "../../src/core/thread.ts";
import { DEFAULT_LIMITS } from "../../src/core/limits.ts";
import { createEvents } from "../../src/storage/events.ts";
import { createHolds } from "../../src/storage/holds.ts";
import { eventKeys, threadKeys } from "../../src/storage/keys.ts";
import type { ThreadRef } from "../../src/storage/keys.ts";
import { numberOf } from "../../src/storage/records.ts";
import { createRuns } from "../../src/storage/runs.ts";
import type { Item, Table } from "../../src/storage/table.ts";
import { createThreads } from "../../src/storage/threads.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { openPlace } from "../support/table-place.ts";
import type { TablePlace } from "../support/table-place.ts";

export interface Named {
  readonly tenant: string;
  readonly threadId: string;
}

/** The log of events, as its readers find it. */
export interface EventsSeen {
  readonly numbers: readonly number[];
  /** Of each batch. */
  readonly fences: readonly number[];
}

/** A thread as it stands in the table. */
export interface ThreadItems {
  readonly header: Thread | undefined;
  readonly runs: readonly Run[];
  readonly holds: readonly Hold[];
  /** Records of each namespace, in the order of their positions. */
  readonly logs: ReadonlyMap<string, readonly LogRecord[]>;
  readonly events: EventsSeen;
  /** The lines of its state. */
  readonly log: readonly string[];
}

export interface Look extends AsyncDisposable {
  at(named: Named): Promise<ThreadItems>;
  /** Holds that wait for a decision and can be decided. */
  waiting(named: Named): Promise<readonly Hold[]>;
  run(named: Named, runId: string): Promise<Run | undefined>;
  /** Nothing waits, runs or is to be followed up. */
  isAtRest(named: Named): Promise<boolean>;
}

export async function openLook(place: TablePlace): Promise<Look> {
  const table = await openPlace(place);
  const blobs = createMemoryBlobs();
  // How many shards there are matters to who writes.
  const threads = createThreads({ table, shards: 1 });
  const runs = createRuns({ table, blobs, shards: 1 });
  const holds = createHolds(table, 1);
  const holdsOf = async (ref: ThreadRef): Promise<readonly Hold[]> =>
    (await holds.ofThread(ref, 0)).map(({ value }) => value);
  const logOf = async (ref: ThreadRef): Promise<readonly string[]> => {
    const saver = new FencedSaver({ table, blobs, ...ref });
    const tuple = await saver.getTuple({ configurable: { thread_id: ref.threadId, checkpoint_ns: "" } });
    const log: unknown = tuple?.checkpoint.channel_values["log"];
    return Array.isArray(log) ? log.map(String) : [];
  };
  return {
    async at(named) {
      const ref = refOf(named);
      return {
        header: (await threads.get(ref))?.value,
        runs: await runs.list(ref, 0),
        holds: await holdsOf(ref),
        logs: byNamespace(await itemsOf(table, threadKeys.partition(ref), "C#")),
        events: await eventsOf(table, ref),
        log: await logOf(ref),
      };
    },
    async waiting(named) {
      const ref = refOf(named);
      if (!(await threads.get(ref))?.value.waiting) return [];
      return (await holdsOf(ref)).filter(({ state }) => state === "pending");
    },
    run: async (named, id) => (await runs.list(refOf(named), 0)).find((run) => run.runId === id),
    async isAtRest(named) {
      const ref = refOf(named);
      const header = (await threads.get(ref))?.value;
      const busy = !header || header.lease || header.active || header.queue.length > 0 || header.waiting;
      if (busy) return false;
      const open = await holdsOf(ref);
      return open.every(({ state, followUpDue }) => !followUpDue && state !== "pending" && state !== "decided");
    },
    [Symbol.asyncDispose]: () => table[Symbol.asyncDispose](),
  };
}

const refOf = ({ tenant, threadId: id }: Named): ThreadRef => ({ tenant: tenantId(tenant), threadId: threadId(id) });

async function eventsOf(table: Table, ref: ThreadRef): Promise<EventsSeen> {
  const events = createEvents(table, { retentionMs: DEFAULT_LIMITS.eventRetentionMs });
  const numbers: number[] = [];
  for (let more = true; more;) {
    const page = await events.read(ref, 0, numbers.length);
    numbers.push(...page.frames.map(({ number }) => number));
    more = page.more && page.frames.length > 0;
  }
  const batches = await itemsOf(table, eventKeys.partition(ref), eventKeys.prefix(0));
  return { numbers, fences: batches.map((batch) => numberOf(batch, "f")) };
}

function byNamespace(items: readonly Item[]): ReadonlyMap<string, readonly LogRecord[]> {
  const logs = new Map<string, LogRecord[]>();
  for (const item of items) {
    const ns = namespaceOf(item);
    logs.set(ns, [...(logs.get(ns) ?? []), readRecord(item)]);
  }
  return logs;
}

async function itemsOf(table: Table, pk: string, prefix: string): Promise<readonly Item[]> {
  const items: Item[] = [];
  let after: string | undefined;
  do {
    const page = await table.query(pk, { prefix, ...(after === undefined ? {} : { after }) });
    items.push(...page.items);
    after = page.next;
  } while (after !== undefined);
  return items;
}
