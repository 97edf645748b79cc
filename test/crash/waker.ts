/** Wakes processes that have stopped themselves. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Crew } from "./crew.ts";
import { factsOf, machineMs } from "./witness.ts";

const LOOK_MS = 25;

/** SIGCONT to each process that stopped, so long after it did; until it is disposed. */
export function wakeUp(crew: Crew, afterMs: number): AsyncDisposable {
  const woken = new Set<string>();
  const over = new AbortController();
  const looking = (async () => {
    for (; !over.signal.aborted; await sleep(LOOK_MS)) {
      for (const { pid, atMs } of factsOf(crew.facts(), "stopped")) {
        const name = `${pid} ${atMs}`;
        if (woken.has(name) || machineMs() - atMs < afterMs) continue;
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
