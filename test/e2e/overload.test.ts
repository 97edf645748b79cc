/**
 * R9. Five times as many runs as the workers can execute. What is not taken on is refused at once; what was taken on is done
 * at full pace; reads, decisions and cancels go on as if nothing were. Short, and without bars for its figures, unless it
 * is night.
 */
import { randomUUID } from "node:crypto";
import { expect, it } from "vitest";
import { TENANTS, openCrew } from "../crash/crew.ts";
import type { Crew, Tenant } from "../crash/crew.ts";
import type { Told } from "../crash/evidence.ts";
import type { Violation } from "../crash/invariants.ts";
import { judge } from "../crash/judge.ts";
import { restOf } from "../crash/story.ts";
import { toldOfWalks } from "../crash/walking.ts";
import { fleetEngines } from "../support/fleet.ts";
import { atRate, createCaller, percentile } from "../support/load.ts";
import type { Answer, Caller } from "../support/load.ts";
import { until } from "../support/process.ts";
import { carryOn } from "./vital.ts";
import type { Vital } from "./vital.ts";

const NIGHTLY = process.env["HOLDPOINT_NIGHTLY"] === "1";
const SECONDS = NIGHTLY ? 60 : 8;
const PEAK_SECONDS = NIGHTLY ? 20 : 4;
/** What the workers can do, by the time that each run takes. */
const RUN_MS = NIGHTLY ? 200 : 500;
const CONCURRENCY = NIGHTLY ? 8 : 4;
const CAPACITY = (CONCURRENCY * 1000) / RUN_MS;
const MAX_BACKLOG = 4 * CAPACITY;
const NAME = "under load";
const RUN = {
  assistant_id: "walk",
  input: { name: NAME, steps: 1, pauseMs: RUN_MS, taken: 0 },
  if_not_exists: "create",
  stream_mode: [],
};
/** No lease runs out here, however much else the machine has to do. */
const LEASE_MS = 60_000;

interface Accepted {
  readonly tenant: Tenant;
  readonly threadId: string;
  readonly runId: string;
}

interface Overloaded extends AsyncDisposable {
  readonly crew: Crew;
  readonly caller: Caller;
}

async function open(maxBacklog: number): Promise<Overloaded> {
  const [sqlite] = fleetEngines();
  if (!sqlite) throw new Error("there is no engine");
  await using opening = new AsyncDisposableStack();
  const crew = opening.use(
    await openCrew(sqlite, {
      workers: 1,
      concurrency: CONCURRENCY,
      leaseMs: LEASE_MS,
      env: { HOLDPOINT_MAX_BACKLOG: String(maxBacklog), HOLDPOINT_MAX_TENANT_BACKLOG: String(maxBacklog) },
    }),
  );
  await Promise.all(crew.workers().map(({ ready }) => ready));
  const caller = opening.use(createCaller(crew.url()));
  const opened = opening.move();
  return { crew, caller, [Symbol.asyncDispose]: () => opened.disposeAsync() };
}

interface Offered {
  readonly accepted: readonly Accepted[];
  readonly refusals: readonly Answer[];
  /** Everybody else. */
  readonly others: readonly Answer[];
}

/** Asks for runs at this pace; who was accepted, and how everybody was answered. */
async function offer({ crew, caller }: Overloaded, perSecond: number, seconds: number): Promise<Offered> {
  const [accepted, refusals, others]: [Accepted[], Answer[], Answer[]] = [[], [], []];
  await atRate(perSecond, seconds, async (n) => {
    const [threadId, tenant] = [randomUUID(), TENANTS[n % TENANTS.length] ?? "acme"];
    const answer = await caller.call("POST", `/threads/${threadId}/runs`, RUN, crew.headers(tenant));
    if (answer.status === 200) {
      const { run_id: runId } = JSON.parse(answer.text) as { readonly run_id: string };
      accepted.push({ tenant, threadId, runId });
    } else (answer.status === 429 ? refusals : others).push(answer);
  });
  return { accepted, refusals, others };
}

/** When each of the runs ended, in milliseconds since the epoch; waits for those that have not. */
async function ends({ crew, caller }: Overloaded, runs: readonly Accepted[]): Promise<readonly number[]> {
  const times: number[] = [];
  for (const { tenant, threadId, runId } of runs) {
    const path = `/threads/${threadId}/runs/${runId}`;
    const run = await until(
      "the run ends",
      async () => {
        const { status, text } = await caller.call("GET", path, undefined, crew.headers(tenant));
        const shown = JSON.parse(text) as { readonly status: string; readonly updated_at: string };
        return status === 200 && shown.status !== "pending" && shown.status !== "running" && shown;
      },
      60_000,
    );
    times.push(Date.parse(run.updated_at));
  }
  return times;
}

/** On a machine that has much else to do, the process itself may be what cannot keep up. */
const isOfBacklog = ({ text }: Answer): boolean => text.includes("limit: backlog");

/** Runs a second between two moments. */
const pace = (times: readonly number[], from: number, to: number): number =>
  times.filter((time) => time >= from && time < to).length / ((to - from) / 1000);

/** Answers that should have been others. */
function answersOf({ refusals, others }: Offered, vital: Vital): readonly Violation[] {
  const invariant = "who is refused is told why, and when to ask again";
  const isClear = ({ retryAfter, text }: Answer): boolean =>
    Number(retryAfter) >= 1 && /limit: /.test(String((JSON.parse(text) as { readonly detail?: unknown }).detail));
  return [
    ...refusals.filter((answer) => !isClear(answer)).map(({ text }) => ({ invariant, what: text })),
    ...(refusals.some(isOfBacklog) ? [] : [{ invariant, what: "nobody was refused because of the backlog" }]),
    ...others.map(({ status, text }) => ({ invariant, what: `somebody was answered ${status} ${text}` })),
    ...vital.answers
      .filter(({ status }) => status !== 200 && status !== 202)
      .map(({ status, text }) => ({
        invariant: "reads, decisions and cancels go on",
        what: `one was answered ${status} ${text}`,
      })),
  ];
}

const toldOf = ({ tenant, threadId, runId }: Accepted): Told =>
  toldOfWalks({ tenant, threadId }, [{ runId, name: NAME, steps: 1 }]);

it(`five times as many runs as can be executed, for ${SECONDS} s`, { timeout: 600_000 }, async () => {
  await using service = await open(MAX_BACKLOG);
  const { crew } = service;

  const peakFrom = Date.now();
  const first = await offer(service, CAPACITY * 1.5, PEAK_SECONDS);
  const peakTo = Date.now();
  const peak = pace(await ends(service, first.accepted), peakFrom + 1000, peakTo);

  const goOn = await carryOn(service, SECONDS);
  const from = Date.now();
  const [load, vital] = await Promise.all([offer(service, CAPACITY * 5, SECONDS), goOn()]);
  const to = Date.now();
  const under = pace(await ends(service, load.accepted), from + 1000, to);

  const told = [...[...first.accepted, ...load.accepted].map(toldOf), ...vital.told];
  for (const named of told) await restOf(crew, named);
  const refusedIn = (share: number): number =>
    percentile(
      load.refusals.map(({ ms }) => ms),
      share,
    );
  const counts = {
    "ms to refuse (p50)": refusedIn(0.5),
    "ms to refuse (p99)": refusedIn(0.99),
    "runs a second at the peak before": peak,
    "runs a second under five times the load": under,
    "% of that peak": (100 * under) / peak,
  };
  const { violations } = await judge(crew, {
    test: "R9 overload",
    engine: "one SQLite file",
    seed: 0,
    size: `${CAPACITY * 5} runs a second asked for, ${CAPACITY} possible, for ${SECONDS} s`,
    told,
    found: answersOf(load, vital),
    faults: load.refusals.length,
    counts: Object.fromEntries(Object.entries(counts).map(([what, count]) => [what, Number(count.toFixed(1))])),
    command: `${NIGHTLY ? "HOLDPOINT_NIGHTLY=1 " : ""}npx vitest run test/e2e/overload.test.ts`,
  });
  expect(violations).toEqual([]);
});

it("without a bound everything is taken on, and waits", { timeout: 120_000 }, async () => {
  await using service = await open(1_000_000);
  const { refusals, others } = await offer(service, CAPACITY * 5, 3);
  expect([refusals.filter(isOfBacklog), others]).toEqual([[], []]);
});
