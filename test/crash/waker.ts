/** Wakes processes that have stopped themselves. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Crew } from "./crew.ts";
import { factsOf, machineMs } from "./witness.ts";
import type { FactOf } from "./witness.ts";

const LOOK_MS = 25;

/** For so long at most a zombie waits for somebody to take its thread. */
const PATIENCE_MS = 60_000;

/** SIGCONT to each process that stopped, so long after it did and once `isTime` says so; until it is disposed. */
export function wakeUp(crew: Crew, afterMs: number, isTime: (stopped: FactOf<"stopped">) => boolean): AsyncDisposable {
  const woken = new Set<string>();
  const over = new AbortController();
  const looking = (async () => {
    for (; !over.signal.aborted; await sleep(LOOK_MS)) {
      for (const stopped of factsOf(crew.facts(), "stopped")) {
        const { pid, atMs } = stopped;
        const name = `${pid} ${atMs}`;
        const forMs = machineMs() - atMs;
        if (woken.has(name) || forMs < afterMs || (forMs < PATIENCE_MS && !isTime(stopped))) continue;
        woken.add(name);
        crew
          .workers()
          .find((worker) => worker.pid === pid)
          ?.signal("SIGCONT");
      }
    }
  })();
  return {
    async [Symbol.asyncDispose]() {
      over.abort();
      await looking;
    },
  };
}

/**
 * Whether another process has taken the thread of one that was stopped, and is through with it. Between its claim and its
 * first write of an item, an older write of that item may still land: the claim is of the header alone.
 */
export const isOvertaken =
  (crew: Crew) =>
  ({ thread, pid, atMs }: FactOf<"stopped">): boolean =>
    factsOf(crew.facts(), "release").some((one) => one.thread === thread && one.pid !== pid && one.atMs > atMs);
