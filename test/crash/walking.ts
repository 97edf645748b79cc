/** Clients of the walking graph: two runs one behind the other on a thread of their own. */
import { isEnded } from "../../src/core/run.ts";
import type { Run } from "../../src/core/run.ts";
import type { Crew, Tenant } from "./crew.ts";
import type { Told } from "./evidence.ts";
import type { Named } from "./look.ts";
import { createPatient, patiently } from "./patient.ts";
import { restOf } from "./story.ts";

/** Of each run. */
export const STEPS = 10;
export const RUNS_PER_THREAD = 2;
const PAUSE_MS = 40;

/** Resolves once both have ended. */
export async function walkTwice(crew: Crew, tenant: Tenant, threadId: string): Promise<Told> {
  const names = Array.from({ length: RUNS_PER_THREAD }, (_, i) => `walk-${i + 1}`);
  const named = { tenant, threadId };
  const runs: string[] = [];
  for (const name of names) {
    const input = { name, steps: STEPS, pauseMs: PAUSE_MS, taken: 0 };
    runs.push(await start(crew, named, { graph: "walk", name, input }));
  }
  for (const runId of runs) await endOf(crew, named, runId);
  await restOf(crew, named);
  return toldOfWalks(
    named,
    runs.map((runId, i) => ({ runId, name: names[i] ?? "", steps: STEPS })),
  );
}

interface Walk {
  readonly runId: string;
  /** As it stands in its input, like the number of its steps. */
  readonly name: string;
  readonly steps: number;
}

/** What must have come of walks on one thread, in their order. */
export function toldOfWalks(named: Named, walks: readonly Walk[]): Told {
  const log = walks.flatMap(({ name, steps }) => Array.from({ length: steps }, (_, i) => `${name} ${i + 1}`));
  const effects = log.filter((line) => Number(line.split(" ")[1]) % 5 === 0);
  const runs = walks.map(({ runId }) => runId);
  return { ...named, runs, decisions: [], effects, log, ends: runs.map(() => "success") };
}

export interface Starting {
  readonly graph: string;
  /** Tells the runs of one thread apart. */
  readonly name: string;
  readonly input: object;
  /** Not before so many seconds. */
  readonly afterSeconds?: number;
}

/** The id of a run that was accepted. */
export async function start(
  crew: Crew,
  { tenant, threadId }: Named & { readonly tenant: Tenant },
  { graph, name, input, afterSeconds }: Starting,
): Promise<string> {
  const { url, patienceMs } = crew;
  const client = createPatient({ url, headers: crew.headers(tenant), patienceMs });
  const { body } = await client.send(`/threads/${threadId}/runs`, {
    key: `${threadId}-${name}`,
    body: {
      assistant_id: graph,
      input,
      if_not_exists: "create",
      ...(afterSeconds === undefined ? {} : { after_seconds: afterSeconds }),
    },
  });
  return String(body["run_id"]);
}

export function endOf(crew: Crew, named: Named, runId: string): Promise<Run> {
  const ended = async (): Promise<Run | undefined> => {
    const run = await crew.look.run(named, runId);
    return run && isEnded(run.status) ? run : undefined;
  };
  return patiently(`run ${runId} to end`, ended, () => crew.explain(named), crew.patienceMs);
}
