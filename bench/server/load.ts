/** Load on a server: runs of the graph of three nodes, each on a thread of its own. */
import type { Client } from "./client.ts";

/** One run; answers how many milliseconds it took. */
export type OneRun = () => Promise<number>;

export const runBody = { assistant_id: "three-nodes", input: { question: "how fast?" } };

export async function newThread(client: Client): Promise<string> {
  const thread = (await client.post("/threads", {})) as { readonly thread_id: string };
  return thread.thread_id;
}

/** One run on a new thread; answers how long `wait` took, and insists on the right answer. */
export async function timedWait(client: Client): Promise<number> {
  const thread = await newThread(client);
  const began = performance.now();
  const values = (await client.post(`/threads/${thread}/runs/wait`, runBody)) as { readonly steps?: readonly string[] };
  const took = performance.now() - began;
  if (values.steps?.length !== 3) throw new Error(`not the graph's answer: ${JSON.stringify(values).slice(0, 200)}`);
  return took;
}

export interface Parallel {
  readonly tooks: readonly number[];
  /** Runs per second, the making of their threads included. */
  readonly throughput: number;
}

/** So many runs by so many clients, each of which asks again as soon as it is answered. */
export async function inParallel(one: OneRun, runs: number, clients: number): Promise<Parallel> {
  const tooks: number[] = [];
  let left = runs;
  const lane = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      tooks.push(await one());
    }
  };
  const began = performance.now();
  await Promise.all(Array.from({ length: clients }, lane));
  return { tooks, throughput: runs / ((performance.now() - began) / 1000) };
}
