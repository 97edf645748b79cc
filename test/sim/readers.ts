/** Those who read along, or wait for the end of a run, and come back wherever their connection breaks. */
import { isHoldpointError } from "../../src/core/errors.ts";
import { runId, threadId } from "../../src/core/ids.ts";
import type { RunStatus } from "../../src/core/run.ts";
import { principalOf } from "./clients.ts";
import type { ClientHost } from "./clients.ts";
import type { Api } from "./world.ts";

export interface Readers {
  /** Reads a run from its first frame to its end. */
  follow(thread: string, run: string): void;
  /** Waits for a run, and writes down what it was told. */
  wait(thread: string, run: string): void;
  /** Readers who have not been told of an end. */
  readonly waiting: number;
  /** Writes down what every reader got. */
  close(): void;
}

interface Reading {
  readonly thread: string;
  readonly run: string;
  readonly numbers: number[];
  end: RunStatus | undefined;
}

/** A connection to one API process: it breaks when that dies, or when the reader feels like it. */
interface Connection {
  readonly api: Api;
  readonly signal: AbortSignal;
  readonly broken: () => boolean;
}

export function createReaders(host: ClientHost): Readers {
  const { scheduler, recorder } = host;
  const readings: Reading[] = [];
  const over = new AbortController();
  const insist = async (ask: (connection: Connection) => Promise<boolean>): Promise<void> => {
    while (!over.signal.aborted && !(await connect(host, ask))) await scheduler.sleep(host.random.exponential(100));
  };
  return {
    follow(thread, run) {
      const reading: Reading = { thread, run, numbers: [], end: undefined };
      readings.push(reading);
      void insist((connection) => follow(connection, reading));
    },
    wait(thread, run) {
      void insist(async ({ api, signal, broken }) => {
        const result = await api.runtime.runs.wait(principalOf("ann"), threadId(thread), runId(run), signal);
        if (!broken())
          recorder.note({ kind: "waited", at: scheduler.now(), by: api.process.name, run, end: result.run.status });
        return true;
      });
    },
    get waiting() {
      return readings.filter((reading) => reading.end === undefined).length;
    },
    close() {
      over.abort();
      for (const { run, numbers, end } of readings)
        recorder.note({ kind: "read", at: scheduler.now(), by: "client", run, numbers, end });
    },
  };
}

/** True once the question was answered to its end. */
async function connect(
  { world, scheduler, random }: ClientHost,
  ask: (connection: Connection) => Promise<boolean>,
): Promise<boolean> {
  const api = world.api();
  if (!api) return false;
  const stop = new AbortController();
  let broken = false;
  const hangUp = (): boolean => {
    broken = true;
    void api.process.enter(async () => stop.abort(new Error("the client hung up")));
    return false;
  };
  const asked = api.process
    .enter(() => ask({ api, signal: stop.signal, broken: () => broken }))
    .catch((error: unknown) => {
      if (broken || isHoldpointError(error, "unavailable")) return false;
      throw error;
    });
  const patience = random.chance(0.3) ? 200 + random.exponential(500) : 3_600_000;
  return Promise.race([asked, api.process.death.then(hangUp), scheduler.sleep(patience).then(hangUp)]);
}

async function follow({ api, signal, broken }: Connection, reading: Reading): Promise<boolean> {
  const request = {
    threadId: threadId(reading.thread),
    runId: runId(reading.run),
    after: reading.numbers.at(-1) ?? -1,
    signal,
  };
  for await (const followed of api.runtime.runs.follow(principalOf("ann"), request)) {
    if (broken()) return false;
    if (followed.kind === "frame") reading.numbers.push(followed.frame.number);
    else reading.end = followed.run.status;
  }
  return reading.end !== undefined;
}
