/** Savers as the hard suite takes them. */
import { MemorySaver } from "@langchain/langgraph-checkpoint";
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import { FencedSaver } from "../../src/checkpoint/saver.ts";
import { tenantId } from "../../src/core/ids.ts";
import type { Blobs } from "../../src/storage/blobs.ts";
import { createItemBlobs } from "../../src/storage/item-blobs.ts";
import type { Draft, Table } from "../../src/storage/table.ts";
import type { Subject } from "./hard-suite/suite.ts";
import { createWriteGate } from "./write-gate.ts";
import type { WriteGate } from "./write-gate.ts";

const bytesOf = ({ attributes }: Draft): number =>
  Object.entries(attributes)
    .map(([name, value]) => name.length + (value instanceof Uint8Array ? value.length : JSON.stringify(value).length))
    .reduce((a, b) => a + b, 0);

/** Lets a write pass the gate, counts its bytes, and applies it. */
type Write = <T>(bytes: number, apply: () => Promise<T>) => Promise<T>;

const watchedTable = (table: Table, write: Write): Table => ({
  get: (key) => table.get(key),
  query: (pk, range) => table.query(pk, range),
  queryIndex: (index, pk, range) => table.queryIndex(index, pk, range),
  batchGet: (keys) => table.batchGet(keys),
  put: (draft, when, options) => write(bytesOf(draft), () => table.put(draft, when, options)),
  remove: (key, when) => write(0, () => table.remove(key, when)),
  // One after the other, since a batch may land in part.
  batchPut: async (drafts) => {
    for (const draft of drafts) await write(bytesOf(draft), () => table.batchPut([draft]));
  },
  add: (key, field, delta, ceiling) => write(8, () => table.add(key, field, delta, ceiling)),
  now: () => table.now(),
  [Symbol.asyncDispose]: async () => {},
});

const watchedBlobs = (blobs: Blobs, write: Write): Blobs => ({
  get: (owner, name) => blobs.get(owner, name),
  removeOld: (thread, which) => blobs.removeOld(thread, which),
  put: (owner, bytes) => write(bytes.length, () => blobs.put(owner, bytes)),
});

export interface FencedSubjectOptions {
  readonly name: string;
  readonly tenant: string;
  /** `items`: in the table itself. */
  readonly blobs: Blobs | "items";
  /** A handle on one and the same table, which the subject does not close. */
  readonly handle: () => Promise<Table>;
}

/** Our saver without a lease, as the published checkpointers open it. */
export function fencedSubject({ name, tenant, blobs, handle }: FencedSubjectOptions): Subject {
  let bytes = 0;
  const open = async ({ pass }: WriteGate): Promise<BaseCheckpointSaver> => {
    const write: Write = async (more, apply) => {
      await pass();
      bytes += more;
      return apply();
    };
    const table = watchedTable(await handle(), write);
    const bodies = blobs === "items" ? createItemBlobs({ table }) : watchedBlobs(blobs, write);
    return new FencedSaver({ table, blobs: bodies, tenant: tenantId(tenant) });
  };
  return {
    name,
    open: () => open(createWriteGate()),
    failing: (nth) => open(createWriteGate({ failsFrom: nth })),
    holding: async (nth) => {
      const gate = createWriteGate({ holds: nth });
      return { saver: await open(gate), reached: gate.reached, release: gate.release };
    },
    written: () => bytes,
  };
}

/** LangGraph's saver in memory; a second process is another one on the same two objects. `wrap` may spoil it. */
export function memorySubject(wrap: (saver: MemorySaver) => BaseCheckpointSaver = (saver) => saver): Subject {
  const { storage, writes } = new MemorySaver();
  return { name: "MemorySaver", open: async () => wrap(Object.assign(new MemorySaver(), { storage, writes })) };
}
