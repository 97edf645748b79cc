/** A checkpoint written once more, as a base: it needs no other record, and its state stays what it was. */
import { seqPart } from "../storage/keys.ts";
import { compress } from "./body.ts";
import type { CellStore } from "./cell-store.ts";
import { isSlice } from "./pieces.ts";
import type { CheckpointRecord } from "./record.ts";
import type { NamespaceRef } from "./segments.ts";
import { segmentsBehind } from "./fold.ts";
import { bodyOf, stateHash } from "./state.ts";
import type { StoredCheckpoint } from "./state.ts";

export interface RebaseDeps {
  readonly at: NamespaceRef;
  readonly cells: CellStore;
}

/** What differs from the record that is repeated. */
export type Placed = Pick<CheckpointRecord, "seq" | "fence"> &
  Partial<Pick<CheckpointRecord, "cut" | "cutSeq" | "sealed">>;

/**
 * The base at its place; what is too large for it is written before. It names every segment that the checkpoint was made
 * of until now, also those it no longer needs: its task writes are made of them as well, and somebody may hold it in
 * memory as it was, and is about to go on from it.
 */
export async function rebased(
  { at, cells }: RebaseDeps,
  stored: StoredCheckpoint,
  placed: Placed,
): Promise<StoredCheckpoint> {
  const names = [...stored.channels.keys()];
  const before = [stored.metadata, ...stored.channels.values()];
  const [metadata, ...others] = await cells.ofBase(at, seqPart(placed.seq), before);
  const entries = names.flatMap((name, n) => {
    const entry = others[n];
    return entry === undefined ? [] : [[name, entry] as const];
  });
  if (metadata === undefined || entries.length < names.length) throw new TypeError("a base without some of its cells");
  const inUse = before.flatMap(({ pieces }) => pieces.filter(isSlice).map(({ segment }) => segment));
  const besides = [...inUse, ...segmentsBehind(stored)];
  const { encoded, plain } = bodyOf(stored, { metadata, entries, gone: [], besides });
  const channels = new Map(entries.map(([name, { cell }]) => [name, cell]));
  const record: CheckpointRecord = {
    ...stored.record,
    ...placed,
    format: placed.cut === undefined ? 2 : 3,
    baseSeq: placed.seq,
    depth: 0,
    deltaBytes: 0,
    hash: stateHash(encoded, metadata.cell, channels),
    body: compress(plain),
  };
  return { ...stored, record, channels, metadata: metadata.cell, plain };
}
