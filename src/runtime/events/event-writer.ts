/**
 * The writing end of a thread's event log under one fence (I2). A batch's key is the number after the last frame, put
 * with `absent`. The first append of a delivery is its `metadata` frame: the barrier of the event log. Only that one,
 * on colliding with a lower fence, reads the end again and takes the next number; every other collision that is not
 * one's own batch means that somebody else has the thread.
 *
 * One append is under way at a time; what comes meanwhile goes with the next. A frame after a pause goes at once, and
 * frames in a stream at a steady pace.
 */
import { HoldpointError } from "../../core/errors.ts";
import type { EventBatch, Frame } from "../../core/event.ts";
import { limitReached } from "../../core/limits.ts";
import type { SetBy } from "../../core/limits.ts";
import type { Run } from "../../core/run.ts";
import { MAX_BATCH_FRAMES } from "../../storage/events.ts";
import type { EventsEnd } from "../../storage/events.ts";
import type { Deps } from "../deps.ts";

/** From one append to the next, unless there is more than a batch: a write costs money on one table, and little on the other. */
const INTERVAL_MS = { remote: 150, local: 20 } as const;
/** Where writes cost money, who streams for long is read in larger strides: from then on, by so much, and to this at most. */
const STRIDE = { fromMs: 8000, growth: 1 / 40, mostMs: 320 } as const;
/** A stream that pauses for so long begins anew. */
const PAUSE_MS = 1000;
const BATCH_BYTES = 24 * 1024;
const BLOB_FRAME_BYTES = 32 * 1024;
/** Frames that wait for a slow table; beyond it the graph waits as well. */
const MOST_WAITING_BYTES = 1024 * 1024;
/** About what a frame without data takes. */
const BARE_BYTES = 100;

interface Position {
  readonly run: Run;
  readonly fence: number;
  /** Where the log ended when the delivery began. */
  readonly end: EventsEnd;
  /** Bytes of frames that the log takes from one run. */
  readonly maxBytes: number;
  readonly setBy?: SetBy;
  /** Called once, as soon as it is known that another holder writes this log. */
  readonly onLost: () => void;
}

interface Waiting {
  readonly frame: Frame;
  readonly bytes: number;
  /** What the run has said up to here. */
  readonly used: number;
}

/** Appends frames in their order: the first at once, the others in batches. */
export class EventWriter {
  readonly #deps: Deps;
  readonly #at: Position;
  readonly #begun: Promise<void>;
  #next: number;
  /** Bytes that the log holds, or is to hold, of this run. */
  #used: number;
  #waiting: Waiting[] = [];
  #waitingBytes = 0;
  #lastSentAt: number;
  #streamingSince: number;
  #pumping: Promise<void> | undefined;
  /** Ends the pause before the next append. */
  #hurry = new AbortController();
  #flushing = false;
  #taken = Promise.withResolvers<void>();
  #failed: Error | undefined;

  constructor(deps: Deps, at: Position, first: Frame) {
    this.#deps = deps;
    this.#at = at;
    this.#next = at.end.next;
    this.#used = at.end.runId === at.run.runId ? at.end.usedBytes : 0;
    this.#lastSentAt = deps.clock.monotonic();
    this.#streamingSince = this.#lastSentAt;
    this.#begun = this.#appendFirst(first);
    this.#pumping = this.#begun.catch((error: unknown) => this.#fail(error)).then(() => this.#pumped());
  }

  /** Resolves when the first frame has landed. @throws HoldpointError `lost` */
  begun(): Promise<void> {
    return this.#begun;
  }

  /** Takes a frame, which lands soon, or at the next flush. Resolves at once, unless too much waits for a slow table. */
  async emit(frame: Frame): Promise<void> {
    if (this.#failed) return;
    const bytes = frame.kind === "data" ? Buffer.byteLength(JSON.stringify(frame.data)) : BARE_BYTES;
    if (!this.#fits(frame, bytes)) return;
    this.#push(frame, bytes);
    while (this.#waitingBytes > MOST_WAITING_BYTES && !this.#failed) await this.#taken.promise;
  }

  /** Resolves when everything that was emitted has landed. @throws HoldpointError `lost`, `unavailable` */
  async flush(): Promise<void> {
    this.#flushing = true;
    this.#hurry.abort();
    while (this.#pumping) await this.#pumping;
    this.#flushing = false;
    if (this.#failed) throw this.#failed;
  }

  /** What comes after the limit is dropped, and marked so once; how the run goes is always told. */
  #fits(frame: Frame, bytes: number): boolean {
    if (frame.kind === "state" || frame.event === "error") return true;
    const before = this.#used;
    const { maxBytes, setBy } = this.#at;
    if (before > maxBytes) return false;
    this.#used += BARE_BYTES + bytes;
    if (this.#used <= maxBytes) return true;
    const data = limitReached("eventBytes", "what the run said after this is not kept", maxBytes, setBy);
    this.#push({ kind: "data", event: "truncated", data }, BARE_BYTES);
    return false;
  }

  #push(frame: Frame, bytes: number): void {
    this.#waiting.push({ frame, bytes, used: this.#used });
    this.#waitingBytes += bytes;
    if (this.#isBatch()) this.#hurry.abort();
    this.#pumping ??= this.#pump();
  }

  #isBatch(): boolean {
    return this.#waitingBytes >= BATCH_BYTES || this.#waiting.length >= MAX_BATCH_FRAMES;
  }

  async #pump(): Promise<void> {
    const { clock } = this.#deps;
    try {
      const pauseMs = this.#flushing || this.#isBatch() ? 0 : this.#lastSentAt + this.#intervalMs() - clock.monotonic();
      // At least a turn of the event loop, so that what is emitted together lands together.
      await clock.sleep(Math.max(0, pauseMs), this.#hurry.signal);
      this.#hurry = new AbortController();
      this.#lastSentAt = clock.monotonic();
      await this.#append(this.#take());
    } catch (error) {
      this.#fail(error);
    }
    this.#pumped();
  }

  #intervalMs(): number {
    const { clock, table } = this.#deps;
    if (table.changes) return INTERVAL_MS.local;
    const now = clock.monotonic();
    if (now - this.#lastSentAt >= PAUSE_MS) this.#streamingSince = now;
    const longer = Math.max(0, now - this.#streamingSince - STRIDE.fromMs) * STRIDE.growth;
    return Math.min(STRIDE.mostMs, INTERVAL_MS.remote + longer);
  }

  #pumped(): void {
    this.#pumping = this.#waiting.length > 0 ? this.#pump() : undefined;
  }

  #take(): readonly Waiting[] {
    let bytes = 0;
    const end = this.#waiting.findIndex((one, i) => {
      bytes += one.bytes;
      return i >= MAX_BATCH_FRAMES || (i > 0 && bytes > BLOB_FRAME_BYTES);
    });
    const batch = this.#waiting.splice(0, end < 0 ? this.#waiting.length : end);
    for (const one of batch) this.#waitingBytes -= one.bytes;
    this.#taken.resolve();
    this.#taken = Promise.withResolvers();
    return batch;
  }

  #fail(error: unknown): void {
    this.#failed ??= error instanceof Error ? error : new Error(String(error));
    this.#waiting = [];
    this.#waitingBytes = 0;
    this.#taken.resolve();
    if (error instanceof HoldpointError && error.code === "lost") this.#at.onLost();
  }

  async #append(waiting: readonly Waiting[]): Promise<void> {
    const last = waiting.at(-1);
    if (!last) return;
    const { run } = this.#at;
    const frames = await Promise.all(waiting.map(({ frame, bytes }) => this.#placed(frame, bytes)));
    // Only what lands with it or before: who comes after a crash must not take it that the limit was told.
    const batch = this.#batch(frames, last.used);
    const result = await this.#deps.events.append(run, run.generation, batch);
    if (!result.won && !isOwn(result.current, batch)) throw lost();
    this.#next += frames.length;
    this.#deps.hints.changed(run, "frames");
  }

  #batch(frames: readonly Frame[], usedBytes: number): EventBatch {
    const { run, fence } = this.#at;
    return { first: this.#next, runId: run.runId, fence, frames, usedBytes };
  }

  async #placed(frame: Frame, bytes: number): Promise<Frame> {
    if (frame.kind !== "data" || bytes <= BLOB_FRAME_BYTES) return frame;
    const name = await this.#deps.blobs.put(this.#at.run, Buffer.from(JSON.stringify(frame.data)));
    return { kind: "blob", event: frame.event, name };
  }

  async #appendFirst(frame: Frame): Promise<void> {
    const { run, fence } = this.#at;
    const usedBytes = this.#used;
    for (;;) {
      const batch = this.#batch([frame], usedBytes);
      const result = await this.#deps.events.append(run, run.generation, batch);
      if (result.won || isOwn(result.current, batch)) break;
      const end = await this.#deps.events.end(run, run.generation);
      if (end.fence > fence) throw lost();
      this.#next = end.next;
    }
    this.#next += 1;
    this.#deps.hints.changed(run, "frames");
  }
}

const lost = (): HoldpointError => new HoldpointError("lost", "another holder writes this thread's events");

function isOwn(found: EventBatch | undefined, batch: EventBatch): boolean {
  return found?.fence === batch.fence && found.runId === batch.runId && found.frames.length === batch.frames.length;
}
