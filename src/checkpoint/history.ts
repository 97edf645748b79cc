/** `list`: checkpoints newest first, page by page, for one namespace, a whole thread, or every thread of a tenant. */
import { isDeepStrictEqual } from "node:util";
import type { CheckpointListOptions, CheckpointTuple } from "@langchain/langgraph-checkpoint";
import type { TenantId } from "../core/ids.ts";
import { generationPart, listPartition, threadKeys } from "../storage/keys.ts";
import type { ThreadRef } from "../storage/keys.ts";
import type { IndexEntries, Table } from "../storage/table.ts";
import type { Branch } from "./branch.ts";
import type { Standing } from "./log.ts";
import type { Loaded } from "./view.ts";
import { namespaceOf, threadOf } from "./record.ts";
import type { CheckpointRecord } from "./record.ts";
import { foldChain } from "./fold.ts";
import { wasCut } from "./steady.ts";
import { addressOf, toMetadata, toTuple } from "./tuple.ts";
import type { Address, TupleDeps } from "./tuple.ts";

/** Namespaces of a thread that have a log, in the order of their keys. */
export async function* namespacesOf(table: Table, thread: ThreadRef, generation: number): AsyncGenerator<string> {
  const pk = threadKeys.partition(thread);
  const prefix = `C#${generationPart(generation)}#`;
  for (let from = prefix; ;) {
    const { items } = await table.query(pk, { from, to: `${prefix}\u{10FFFF}`, limit: 1 });
    const [item] = items;
    if (item === undefined) return;
    const ns = namespaceOf(item);
    yield ns;
    // Past every position of this namespace: ":" follows the digits.
    from = `${threadKeys.logPrefix(generation, ns)}:`;
  }
}

/** Index entries that make the first record of a log findable without its thread. */
export const firstRecordIndex = (thread: ThreadRef): IndexEntries => ({
  list: { pk: listPartition(thread.tenant, "checkpoints"), sk: threadKeys.partition(thread) },
});

/** Threads of a tenant that a saver without a lease has written to, by their index rows. */
export async function* threadsOf(table: Table, tenant: TenantId): AsyncGenerator<string> {
  const seen = new Set<string>();
  for (let after: string | undefined; ;) {
    const page = await table.queryIndex(
      "list",
      listPartition(tenant, "checkpoints"),
      after === undefined ? {} : { after },
    );
    for (const { key } of page.items) {
      const item = seen.has(key.pk) ? undefined : await table.get(key);
      seen.add(key.pk);
      if (item !== undefined) yield threadOf(item);
    }
    if (page.next === undefined) return;
    after = page.next;
  }
}

export interface HistoryInput {
  readonly branch: Branch;
  readonly tuples: TupleDeps;
  readonly only: string | undefined;
  readonly options: CheckpointListOptions;
}

/** Checkpoints of one namespace that match, newest first. */
export async function* historyOf({
  branch,
  tuples,
  only,
  options,
}: HistoryInput): AsyncGenerator<readonly [CheckpointTuple, Loaded]> {
  const before = await cursorOf(branch, addressOf(options.before));
  const window = createWindow(branch);
  const read = async ({ record, marks }: Standing): Promise<readonly [CheckpointTuple, Loaded] | undefined> => {
    if ((only !== undefined && record.checkpointId !== only) || !before(record)) return undefined;
    const chain = await window.chain(record);
    if (options.filter !== undefined && !(await matches(tuples, chain, options.filter))) return undefined;
    const loaded = await branch.loadRecord(record, chain, marks);
    return [await toTuple(tuples, loaded), loaded];
  };
  let below: number | undefined;
  for (let isDone = false; !isDone;) {
    // What a cut hides while it is being read may be gone: the walk then goes on below it.
    const { lastCut } = branch.log;
    try {
      for await (const standing of branch.walk(below)) {
        const found = await read(standing);
        below = standing.record.seq;
        if (found !== undefined) yield found;
      }
      isDone = true;
    } catch (error) {
      if (!(await wasCut(branch.log, lastCut, error))) throw error;
    }
  }
}

/**
 * Which records come before a given checkpoint: those below it where it stands in this log, and elsewhere (a subgraph
 * asked for what preceded a checkpoint of its parent) those with a smaller id.
 */
async function cursorOf(branch: Branch, before: Address): Promise<(record: CheckpointRecord) => boolean> {
  const id = before.checkpointId;
  if (id === undefined) return () => true;
  const { thread, ns } = branch.log.at;
  const here = before.threadId === thread.threadId && (before.ns ?? "") === ns;
  const found = here ? await branch.log.find(id) : undefined;
  return found === undefined ? (record) => record.checkpointId < id : (record) => record.seq < found.seq;
}

async function matches(
  tuples: TupleDeps,
  chain: readonly CheckpointRecord[],
  filter: Record<string, unknown>,
): Promise<boolean> {
  const metadata: object = await toMetadata(tuples, foldChain(tuples.at, chain));
  const values = new Map(Object.entries(metadata));
  return Object.entries(filter).every(([name, value]) => isDeepStrictEqual(values.get(name), value));
}

/** Keeps the chain that was read last: the records before it, one after the other, are its prefixes. */
function createWindow(branch: Branch) {
  let last: readonly CheckpointRecord[] = [];
  return {
    chain: async (record: CheckpointRecord): Promise<readonly CheckpointRecord[]> => {
      const index = last.findIndex(({ seq }) => seq === record.seq);
      last = index < 0 ? await branch.log.chain(record) : last.slice(0, index + 1);
      return last;
    },
  };
}
