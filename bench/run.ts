/** `npm run bench -- <name> [arguments]`: runs one benchmark; without a name, lists them. */

/** What the module of a benchmark exports. */
interface Bench {
  /** Answers the exit code, or nothing when it has set it, if need be, by itself. */
  main(argv: readonly string[]): Promise<number | void>;
}

const benches: Readonly<Record<string, { readonly summary: string; load(): Promise<Bench> }>> = {
  server: {
    summary:
      "This service, LangChain's dev server and LangGraph alone, side by side: latency, throughput, memory, start-up.",
    load: () => import("./server/main.ts"),
  },
  "round-trips": {
    summary: "Sequential table round trips of one run from parsed request to answer, and its write units.",
    load: () => import("./table/round-trips.ts"),
  },
  long: {
    summary: "One process after thousands of runs, beside a fresh one: throughput, and memory on the way.",
    load: () => import("./server/long.ts"),
  },
  serializer: {
    summary: "LangGraph's serializer and ours on states of 2 MB, side by side, and JSON alone.",
    load: () => import("./checkpoint/serializer.ts"),
  },
  checkpointer: {
    summary: "Checkpoint savers side by side on what agents keep: units, requests, bytes and time of a turn.",
    load: () => import("./checkpoint/checkpointer.ts"),
  },
  "hard-suite": {
    summary: "What checkpoint savers must not do, case by case: ours and those of others, who passes what.",
    load: () => import("./checkpoint/hard-suite.ts"),
  },
  reviews: {
    summary: "A queue of 100,000 open reviews: a page of it by filter, a decision, and what that writes.",
    load: () => import("./table/reviews.ts"),
  },
  turns: {
    summary: "Event and run write units of turn 2,000 of a thread beside those of turn 10.",
    load: () => import("./table/turns.ts"),
  },
  tokens: {
    summary: "One minute of streamed tokens: write units, and how late a reader in another process sees them.",
    load: () => import("./table/tokens.ts"),
  },
  "idle-worker": {
    summary: "What 100,000 pending timers cost while they wait: reads and processor time of an idle worker.",
    load: () => import("./table/idle-worker.ts"),
  },
  "idle-thread": {
    summary: "What following a thread on which nothing happens asks of the table: reads a minute.",
    load: () => import("./table/idle-thread.ts"),
  },
  frames: {
    summary: "API and worker apart: from a frame being written by the graph to a client having it.",
    load: () => import("./fleet/frames.ts"),
  },
  readers: {
    summary: "Thousands of readers of one run, half of whom read nothing: memory of the API process, frames missed.",
    load: () => import("./fleet/readers.ts"),
  },
  workers: {
    summary: "Two workers beside one on DynamoDB Local; claims that come too late; what an idle worker reads.",
    load: () => import("./fleet/workers.ts"),
  },
  recovery: {
    summary: "kill -9 of a worker: how long its runs stand still, on another host and on the same machine.",
    load: () => import("./fleet/recovery.ts"),
  },
  drain: {
    summary: "SIGTERM of a worker with runs in flight, and all workers replaced under load: exit, lost, failed.",
    load: () => import("./fleet/drain.ts"),
  },
  fairness: {
    summary: "One tenant floods, eight others ask now and then: how long the others' runs wait.",
    load: () => import("./fleet/fairness.ts"),
  },
  retrieval: {
    summary: "Ranking quality (nDCG@10) of the product's own ingestion and search on a folder in the BEIR layout.",
    load: () => import("./retrieval.ts"),
  },
};

function list(): void {
  const width = Math.max(...Object.keys(benches).map((name) => name.length));
  console.log("Usage: npm run bench -- <name> [arguments]   (--help after a name shows its arguments)\n");
  for (const [name, { summary }] of Object.entries(benches)) console.log(`  ${name.padEnd(width)}  ${summary}`);
}

async function main([name, ...argv]: readonly string[]): Promise<number | void> {
  if (name === undefined || name === "--help" || name === "-h") {
    list();
    return 0;
  }
  const bench = Object.hasOwn(benches, name) ? benches[name] : undefined;
  if (bench === undefined) {
    console.error(`There is no benchmark called ${name}.\n`);
    list();
    return 1;
  }
  return (await bench.load()).main(argv);
}

const code = await main(process.argv.slice(2));
if (typeof code === "number") process.exitCode = code;
