/**
 * Calls to the search thread. It starts with the first call; while none is under way it does not keep the process
 * alive. When it dies, the calls under way fail and the next one starts another.
 */
import { Worker } from "node:worker_threads";
import { HoldpointError } from "../core/errors.ts";
import type { ErrorCode } from "../core/errors.ts";
import type { AnswerMessage, CallMessage, IndexAnswers, IndexCall, ThreadData } from "./sqlite-search-calls.ts";

export interface SearchThread extends AsyncDisposable {
  /**
   * @throws HoldpointError `unavailable` when the index cannot be read or written, or the thread is gone; `unsupported`
   * for a file of a newer version
   */
  ask<Call extends IndexCall>(request: Call): Promise<IndexAnswers[Call["verb"]]>;
}

interface Waiting {
  readonly resolve: (answer: IndexAnswers[keyof IndexAnswers]) => void;
  readonly reject: (error: Error) => void;
}

interface Running {
  readonly worker: Worker;
  readonly waiting: Map<number, Waiting>;
}

const failed = (reason: string, code: ErrorCode = "unavailable"): HoldpointError =>
  new HoldpointError(code, `the search index cannot answer: ${reason}`);

export function createSearchThread(workerData: ThreadData): SearchThread {
  let running: Running | undefined;
  let calls = 0;
  let closed = false;
  const start = (): Running => {
    const waiting = new Map<number, Waiting>();
    const worker = new Worker(workerFile(), { workerData, name: "search" });
    const mine = { worker, waiting };
    const fail = (reason: string): void => {
      if (running === mine) running = undefined;
      for (const { reject } of waiting.values()) reject(failed(reason));
      waiting.clear();
    };
    worker.on("message", (message: AnswerMessage) => settle(mine, message));
    worker.on("error", (error: unknown) => fail(error instanceof Error ? error.message : String(error)));
    worker.on("exit", () => fail("its thread has ended"));
    return mine;
  };
  return {
    ask<Call extends IndexCall>(request: Call) {
      if (closed) return Promise.reject(failed("it is closed"));
      running ??= start();
      const { worker, waiting } = running;
      const call = (calls += 1);
      worker.ref();
      return new Promise<IndexAnswers[Call["verb"]]>((resolve, reject) => {
        // The thread answers each verb with what `IndexAnswers` says of it; a message carries no types.
        waiting.set(call, { resolve: resolve as Waiting["resolve"], reject });
        worker.postMessage({ call, request } satisfies CallMessage, []);
      });
    },
    async [Symbol.asyncDispose]() {
      closed = true;
      await running?.worker.terminate();
    },
  };
}

function settle({ worker, waiting }: Running, message: AnswerMessage): void {
  const waiter = waiting.get(message.call);
  waiting.delete(message.call);
  if (waiting.size === 0) worker.unref();
  if ("error" in message) waiter?.reject(failed(message.error, message.code));
  else waiter?.resolve(message.answer);
}

/** Beside this file, and compiled if this file is. */
function workerFile(): URL {
  return new URL(
    import.meta.url.endsWith(".ts") ? "./sqlite-search-worker.ts" : "./sqlite-search-worker.js",
    import.meta.url,
  );
}
