/** From changed items to facts: whatever the processes write is read here with the product's own codecs. */
import { readRecord } from "../../src/checkpoint/record.ts";
import { holdId, runId, tenantId, threadId } from "../../src/core/ids.ts";
import type { EffectEntry } from "../../src/core/effect.ts";
import type { Frame } from "../../src/core/event.ts";
import { parseThreadPartition } from "../../src/storage/keys.ts";
import type { ThreadRef } from "../../src/storage/keys.ts";
import { createHolds } from "../../src/storage/holds.ts";
import { numberOf, textOf } from "../../src/storage/records.ts";
import { createRuns } from "../../src/storage/runs.ts";
import type { Item } from "../../src/storage/table.ts";
import { createThreads } from "../../src/storage/threads.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { createMemoryTable } from "../support/memory-table.ts";
import type { Fact } from "./facts.ts";
import type { Change } from "./sim-table.ts";

export interface Recorder {
  note(fact: Fact): void;
  onChange(change: Change): void;
  /** Everything so far, in its order. */
  facts(): Promise<readonly Fact[]>;
}

const SHARDS = 1;

export function createRecorder(): Recorder {
  const entries: (Fact | Change)[] = [];
  return {
    note: (fact) => void entries.push(fact),
    onChange: (change) => void entries.push(change),
    async facts() {
      const facts: Fact[] = [];
      for (const entry of entries) {
        const fact = "kind" in entry ? entry : await factOf(entry);
        if (fact) facts.push(fact);
      }
      return facts;
    },
  };
}

/** What a change says; undefined for items that no invariant speaks of. */
async function factOf({ at, by, key, before, after }: Change): Promise<Fact | undefined> {
  const item = after ?? before;
  const thread = parseThreadPartition(key.pk);
  if (!item) return undefined;
  if (!thread) return after && (eventsFact(after, { at, by }) ?? entryFact(after, { at, by }));
  const ref = { tenant: tenantId(thread.tenant), threadId: threadId(thread.threadId) };
  const fact = await nounFact(item, ref, before !== undefined);
  if (!fact) return undefined;
  if (after) return { at, by, ...fact };
  return fact.kind === "run" ? { at, by, kind: "run-removed", run: fact.run } : undefined;
}

type Bare<T> = T extends unknown ? Omit<T, "at" | "by"> : never;

async function nounFact(item: Item, ref: ThreadRef, overwritten: boolean): Promise<Bare<Fact> | undefined> {
  const table = createMemoryTable();
  await table.put(item, "any");
  const [noun, name] = [item.sk.slice(0, 2), item.sk.slice(2)];
  switch (noun) {
    case "H": {
      const stored = await createThreads({ table, shards: SHARDS }).get(ref);
      return stored && { kind: "header", thread: stored.value };
    }
    case "R#": {
      const stored = await createRuns({ table, blobs: createMemoryBlobs(), shards: SHARDS }).get(ref, runId(name));
      return stored && { kind: "run", run: stored.value };
    }
    case "A#": {
      const stored = await createHolds(table, SHARDS).get(ref, holdId(name));
      return stored && { kind: "hold", hold: stored.value };
    }
    case "C#":
      return recordFact(item, ref, overwritten);
    default:
      return undefined;
  }
}

function recordFact(item: Item, ref: ThreadRef, overwritten: boolean): Bare<Fact> {
  const record = readRecord(item);
  const [, generation = "", ns = ""] = item.sk.split("#");
  return {
    kind: "record",
    record: {
      thread: ref.threadId,
      generation: Number(generation),
      ns,
      seq: record.seq,
      fence: record.fence,
      kind: record.kind,
      overwritten,
      ...(record.kind === "removed" || record.checkpointId === undefined ? {} : { checkpointId: record.checkpointId }),
      ...(record.kind === "checkpoint" ? { source: record.source } : {}),
      ...(record.kind === "reset" ? { targetSeq: record.targetSeq } : {}),
      ...(record.kind === "checkpoint" && record.parentId !== undefined ? { parentId: record.parentId } : {}),
    },
  };
}

interface Seen {
  readonly at: number;
  readonly by: string;
}

function entryFact(item: Item, seen: Seen): Fact | undefined {
  const [, kind] = item.pk.split("#");
  if (kind !== "x") return undefined;
  return { ...seen, kind: "entry", entry: JSON.parse(textOf(item, "d")) as EffectEntry }; // as the journal puts it
}

function eventsFact(item: Item, what: Seen): Fact | undefined {
  const [, kind, thread = ""] = item.pk.split("#");
  const [, generation] = item.sk.split("#");
  if (kind !== "e") return undefined;
  const count = (JSON.parse(textOf(item, "d")) as Frame[]).length;
  return {
    ...what,
    kind: "events",
    thread,
    generation: Number(generation),
    run: textOf(item, "r"),
    first: numberOf(item, "n"),
    count,
    fence: numberOf(item, "f"),
  };
}
