/**
 * The writing end of a thread's event log under one fence (I2). A batch's key is the number after the last frame, put
 * with `absent`. The first append of a delivery is its `metadata` frame: the barrier of the event log. Only that one,
 * on colliding with a lower fence, reads the end again and takes the next number; every other collision that is not
 * one's own batch means that somebody else has the thread.
 */
import { HoldpointError } from "../core/errors.ts";
import type { EventBatch, Frame } from "../core/event.ts";
import type { Run } from "../core/run.ts";
import { MAX_BATCH_FRAMES } from "../storage/events.ts";
import type { Deps } from "./deps.ts";

const BATCH_DELAY_MS = 150;
const BATCH_BYTES = 8 * 1024;
const BLOB_FRAME_BYTES = 32 * 1024;

interface Position {
  readonly run: Run;
  readonly fence: number;
  /** Where the log ended when the delivery began. */
  readonly next: number;
}

/** Appends frames in their order: the first at once, the others in batches. */
export class EventWriter {
  readonly #deps: Deps;
  readonly #run: Run;
  readonly #fence: number;
  #next: number;
  #waiting: { frame: Frame; bytes: number }[] = [];
  #bytes = 0;
  #tail: Promise<void>;
  #timer: AbortController | undefined;
  #failed: Error | undefined;

  constructor(deps: Deps, { run, fence, next }: Position, first: Frame) {
    this.#deps = deps;
    this.#run = run;
    this.#fence = fence;
    this.#next = next;
    this.#tail = this.#appendFirst(first);
    this.#remember();
  }

  /** Resolves when the first frame has landed. @throws HoldpointError `lost` */
  begun(): Promise<void> {
    return this.#tail;
  }

  /** Takes a frame; it lands within 150 ms, or at the next flush. */
  emit(frame: Frame): void {
    const bytes = frame.kind === "data" ? Buffer.byteLength(JSON.stringify(frame.data)) : 100;
    this.#waiting.push({ frame, bytes });
    this.#bytes += bytes;
    if (this.#bytes >= BATCH_BYTES || this.#waiting.length >= MAX_BATCH_FRAMES) return this.#enqueue();
    if (this.#timer) return;
    const timer = new AbortController();
    this.#timer = timer;
    void this.#deps.clock.sleep(BATCH_DELAY_MS, timer.signal).then(() => {
      if (!timer.signal.aborted) this.#enqueue();
    });
  }

  /** Resolves when everything that was emitted has landed. @throws HoldpointError `lost`, `unavailable` */
  async flush(): Promise<void> {
    this.#enqueue();
    await this.#tail;
    if (this.#failed) throw this.#failed;
  }

  #enqueue(): void {
    this.#timer?.abort();
    this.#timer = undefined;
    if (this.#waiting.length === 0) return;
    const frames = this.#waiting;
    this.#waiting = [];
    this.#bytes = 0;
    this.#tail = this.#tail.then(() => this.#append(frames));
    this.#remember();
  }

  #remember(): void {
    this.#tail.catch((error: unknown) => {
      this.#failed ??= error instanceof Error ? error : new Error(String(error));
    });
  }

  async #append(waiting: readonly { readonly frame: Frame; readonly bytes: number }[]): Promise<void> {
    const frames = await Promise.all(waiting.map(({ frame, bytes }) => this.#placed(frame, bytes)));
    const batch: EventBatch = { first: this.#next, runId: this.#run.runId, fence: this.#fence, frames };
    const result = await this.#deps.events.append(this.#run, this.#run.generation, batch);
    if (!result.won && !isOwn(result.current, batch)) {
      throw new HoldpointError("lost", "another holder writes this thread's events");
    }
    this.#next += frames.length;
    this.#deps.hints.changed(this.#run, "frames");
  }

  async #placed(frame: Frame, bytes: number): Promise<Frame> {
    if (frame.kind !== "data" || bytes <= BLOB_FRAME_BYTES) return frame;
    const name = await this.#deps.blobs.put(this.#run, Buffer.from(JSON.stringify(frame.data)));
    return { kind: "blob", event: frame.event, name };
  }

  async #appendFirst(frame: Frame): Promise<void> {
    for (;;) {
      const batch: EventBatch = { first: this.#next, runId: this.#run.runId, fence: this.#fence, frames: [frame] };
      const result = await this.#deps.events.append(this.#run, this.#run.generation, batch);
      if (result.won || isOwn(result.current, batch)) break;
      const end = await this.#deps.events.end(this.#run, this.#run.generation);
      if (end.fence > this.#fence) throw new HoldpointError("lost", "another holder writes this thread's events");
      this.#next = end.next;
    }
    this.#next += 1;
    this.#deps.hints.changed(this.#run, "frames");
  }
}

function isOwn(found: EventBatch | undefined, batch: EventBatch): boolean {
  return found?.fence === batch.fence && found.runId === batch.runId && found.frames.length === batch.frames.length;
}
