import type { Json } from "../core/json.ts";
import type { Run } from "../core/run.ts";

/** Which values: a checkpoint never changes, so neither does what is shown of it. */
export interface ValuesAt {
  readonly ns: string;
  readonly checkpointId: string;
}

/** What was shown of checkpoints lately, so that many readers cost one reading (and the run's own process none). */
export interface ValueCache {
  get(run: Run, at: ValuesAt): Json | undefined;
  set(run: Run, at: ValuesAt, values: Json): void;
}

const MAX_BYTES = 16 * 1024 * 1024;

/** Bounded by the size of its values as JSON; the least recently used go first. */
export function createValueCache(maxBytes = MAX_BYTES): ValueCache {
  const texts = new Map<string, string>();
  let bytes = 0;
  return {
    get(run, at) {
      const key = keyOf(run, at);
      const text = texts.get(key);
      if (text === undefined) return undefined;
      texts.delete(key);
      texts.set(key, text);
      return JSON.parse(text) as Json;
    },
    set(run, at, values) {
      const key = keyOf(run, at);
      const text = JSON.stringify(values);
      if (text.length > maxBytes / 4 || texts.has(key)) return;
      texts.set(key, text);
      bytes += text.length;
      for (const [oldest, { length }] of texts) {
        if (bytes <= maxBytes) break;
        texts.delete(oldest);
        bytes -= length;
      }
    },
  };
}

const keyOf = (run: Run, { ns, checkpointId }: ValuesAt): string =>
  JSON.stringify([run.tenant, run.threadId, run.generation, ns, checkpointId]);
