/** Tells running graphs that somebody asked them to stop: one batch read a second of what this worker runs. */
import { runId } from "../../core/ids.ts";
import type { ThreadRef } from "../../storage/keys.ts";
import type { Holding } from "../delivery/advance.ts";
import type { Deps } from "../deps.ts";

const POLL_MS = 1000;

export class Cancels {
  readonly #deps: Deps;
  readonly #holdings: () => readonly Holding[];
  readonly #stop = new AbortController();

  constructor(deps: Deps, holdings: () => readonly Holding[]) {
    this.#deps = deps;
    this.#holdings = holdings;
  }

  /** Looks once a second, also while a worker drains, until `stop`. */
  async poll(): Promise<void> {
    while (!this.#stop.signal.aborted) {
      await this.#deps.clock.sleep(POLL_MS, this.#stop.signal);
      await this.check();
    }
  }

  stop(): void {
    this.#stop.abort();
  }

  /** It never rejects: the next look is a second away. */
  async check(only?: ThreadRef): Promise<void> {
    const { runs, log } = this.#deps;
    const watched = this.#holdings()
      .filter(({ ref }) => !only || ref.threadId === only.threadId)
      .flatMap(({ ref, cancel }) => [...cancel].map(([run, controller]) => ({ ref, run: runId(run), controller })));
    if (watched.length === 0) return;
    try {
      const found = await runs.getMany(watched.map(({ ref, run }) => ({ ...ref, runId: run })));
      const asked = new Set(found.filter(({ value }) => value.cancelAsked).map(({ value }) => value.runId));
      for (const { run, controller } of watched)
        if (asked.has(run)) controller.abort(new Error("the run was cancelled"));
    } catch (error) {
      log.warn({ err: error }, "cancels could not be read");
    }
  }
}
