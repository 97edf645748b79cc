import type { EventBatch, Frame, NumberedFrame } from "../core/event.ts";
import { numbered } from "../core/event.ts";
import type { RunId } from "../core/ids.ts";
import { eventKeys, seqPart } from "./keys.ts";
import type { ThreadRef } from "./keys.ts";
import { numberOf, textOf } from "./records.ts";
import type { Item, Table } from "./table.ts";

/** A batch never holds more frames. */
export const MAX_BATCH_FRAMES = 100;

export type AppendResult = { readonly won: true } | { readonly won: false; readonly current: EventBatch | undefined };

/** The event log of a thread: batches of numbered frames, appended with `absent` at the next number. */
export interface Events {
  append(ref: ThreadRef, generation: number, batch: EventBatch): Promise<AppendResult>;
  /** The number after the last frame, and the fence that wrote it. */
  end(ref: ThreadRef, generation: number): Promise<{ readonly next: number; readonly fence: number }>;
  /** Frames with a number of at least `from`, oldest first; at most about one page. */
  read(
    ref: ThreadRef,
    generation: number,
    from: number,
  ): Promise<{ readonly frames: readonly NumberedFrame[]; readonly more: boolean }>;
}

export function createEvents(table: Table): Events {
  return {
    async append(ref, generation, batch) {
      const attributes = { r: batch.runId, f: batch.fence, n: batch.first, d: JSON.stringify(batch.frames) };
      const result = await table.put({ ...eventKeys.batch(ref, generation, batch.first), attributes }, "absent");
      return result.won ? { won: true } : { won: false, current: result.current && decode(result.current) };
    },
    async end(ref, generation) {
      const page = await table.query(eventKeys.partition(ref), {
        prefix: eventKeys.prefix(generation),
        descending: true,
        limit: 1,
      });
      const last = page.items[0] && decode(page.items[0]);
      return last ? { next: last.first + last.frames.length, fence: last.fence } : { next: 0, fence: 0 };
    },
    async read(ref, generation, from) {
      const prefix = eventKeys.prefix(generation);
      const pk = eventKeys.partition(ref);
      const page = await table.query(pk, { from: prefix + seqPart(from), to: `${prefix}~` });
      const batches = page.items.map(decode);
      // Readers come back at the start of a batch. Only where none starts here may an earlier one reach beyond it.
      const isBetween = from > 0 && batches[0]?.first !== from;
      const before = isBetween
        ? await table.query(pk, { from: prefix, to: prefix + seqPart(from), descending: true, limit: 1 })
        : undefined;
      const earlier = (before?.items ?? []).map(decode).filter(({ first }) => first < from);
      const frames = [...earlier, ...batches].flatMap(numbered).filter((frame) => frame.number >= from);
      return { frames, more: page.next !== undefined };
    },
  };
}

function decode(item: Item): EventBatch {
  return {
    first: numberOf(item, "n"),
    runId: textOf(item, "r") as RunId,
    fence: numberOf(item, "f"),
    frames: JSON.parse(textOf(item, "d")) as Frame[],
  };
}
