/**
 * R12. A hundred answers at once to each review, of three kinds and through two surfaces, and the API killed right
 * after it has acknowledged one. HOLDPOINT_HOLDS chooses how many reviews, HOLDPOINT_ANSWERS how many answers.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "@langchain/langgraph-sdk";
import { describe, expect, it } from "vitest";
import { fleetEngines } from "../support/fleet.ts";
import { PEOPLE, TENANTS, openCrew } from "./crew.ts";
import type { Crew, Tenant } from "./crew.ts";
import type { Told } from "./evidence.ts";
import { judge } from "./judge.ts";
import { createPatient, patiently } from "./patient.ts";
import { restOf, threadNamed } from "./story.ts";

const NIGHTLY = process.env["HOLDPOINT_NIGHTLY"] === "1";
const engines = fleetEngines().filter(({ name }) => name !== "dynalite");
/** On all engines together. */
const HOLDS = Number(process.env["HOLDPOINT_HOLDS"] ?? (NIGHTLY ? 500 : 50));
const ANSWERS = Number(process.env["HOLDPOINT_ANSWERS"] ?? 100);
/** The API is killed at every so many of them. */
const KILL_EVERY = 5;
/** Every fourth answer comes through the SDK's `command.resume`. */
const RESUME_EVERY = 4;

interface Held {
  readonly tenant: Tenant;
  readonly threadId: string;
  readonly runId: string;
  readonly reviewId: string;
  readonly digest: string;
}

async function raise(crew: Crew, i: number): Promise<Held> {
  const tenant = TENANTS[i % TENANTS.length] ?? "acme";
  const threadId = threadNamed(`hold ${i}`);
  const client = createPatient({ url: crew.url, headers: crew.headers(tenant) });
  const { body } = await client.send(`/threads/${threadId}/runs`, {
    key: `${threadId}-run`,
    body: { assistant_id: "ask", input: {}, if_not_exists: "create" },
  });
  const hold = await patiently(`the review of ${threadId}`, async () =>
    (await crew.look.waiting({ tenant, threadId })).at(0),
  );
  const reviewId = `${threadId}.${hold.holdId}`;
  return { tenant, threadId, runId: String(body["run_id"]), reviewId, digest: hold.digest };
}

/** What one of those who answered was told. */
interface Answered {
  readonly status: number;
  readonly through: "reviews" | "resume";
  readonly type: string;
  readonly comment: string;
  readonly by: string;
  readonly continuation: string;
  /** How a refusal names who won. */
  readonly winner: { readonly by: unknown; readonly type: unknown };
}

const typed = (i: number) =>
  ([{ type: "approve" }, { type: "edit", args: { amount: 2 } }, { type: "reject" }] as const)[i % 3] ?? {
    type: "approve",
  };

async function answer(crew: Crew, held: Held, i: number): Promise<Answered> {
  const person = i % PEOPLE;
  const by = `${held.tenant}-${person}`;
  const headers = crew.headers(held.tenant, person);
  const given = typed(i);
  if (i % RESUME_EVERY === 0) return { ...(await resume(crew, held, { i, headers })), type: given.type, by };
  const { status, body } = await createPatient({ url: crew.url, headers }).send(
    `/v1/reviews/${held.reviewId}/decisions`,
    {
      key: `${held.threadId}-answer-${i}`,
      body: { ...given, digest: held.digest, comment: `answer ${i}` },
      answers: [200, 409],
    },
  );
  const decision = body["decision"] as { readonly continuation_run_id: string | null } | undefined;
  return {
    status,
    through: "reviews",
    type: given.type,
    comment: `answer ${i}`,
    by,
    continuation: decision?.continuation_run_id ?? "",
    winner: { by: body["decided_by"], type: body["decision"] },
  };
}

interface Resuming {
  readonly i: number;
  readonly headers: Readonly<Record<string, string>>;
}

async function resume(crew: Crew, { threadId }: Held, { i, headers }: Resuming) {
  const { status, continuation } = await patiently(`answer ${i} on ${threadId}`, async () => {
    const client = new Client({
      apiUrl: crew.url(),
      defaultHeaders: { ...headers, "idempotency-key": `${threadId}-resume-${i}` },
      callerOptions: { maxRetries: 0 },
    });
    try {
      const run = await client.runs.create(threadId, "ask", { command: { resume: typed(i) } });
      return { status: 200, continuation: run.run_id };
    } catch (error) {
      const { status } = error as { readonly status?: number };
      // Killed before it answered, or too much to do.
      return status === undefined || status >= 500 || status === 429 ? undefined : { status, continuation: "" };
    }
  });
  const nobody = { by: undefined, type: undefined };
  return { status, through: "resume", comment: "", continuation, winner: nobody } as const;
}

/** At every second review those who resume have the start of the others that their longer way needs. */
const HEAD_START_MS = 40;

/** Everybody answers at once. Returns what was told to whom, once the thread has come to rest. */
async function contest(crew: Crew, held: Held, number: number): Promise<readonly Answered[]> {
  let killed = number % KILL_EVERY !== 0;
  const answers = Array.from({ length: ANSWERS }, async (_, i) => {
    if (number % 2 === 1 && i % RESUME_EVERY !== 0) await sleep(HEAD_START_MS);
    const told = await answer(crew, held, i);
    if (told.status === 200 && !killed) {
      killed = true;
      await crew.killApi();
    }
    return told;
  });
  const told = await Promise.all(answers);
  await restOf(crew, held);
  return told;
}

function toldOf(held: Held, winner: Answered): Told {
  const line = `${winner.type} ${winner.type === "edit" ? 2 : 1} ${winner.comment}`;
  const { type, comment, continuation } = winner;
  return {
    ...held,
    runs: [held.runId, ...(winner.through === "resume" ? [continuation] : [])],
    decisions: [
      {
        reviewId: held.reviewId,
        type,
        ...(continuation === "" ? {} : { continuation }),
        ...(comment === "" ? {} : { comment }),
      },
    ],
    effects: [line],
    log: [line, `acted on ${line}`],
  };
}

describe.each(engines)("a hundred answers at once to each review, on $name", (engine) => {
  it(
    "have one winner, who is named to the others, and whose answer is applied once",
    { timeout: NIGHTLY ? 3_600_000 : 240_000 },
    async () => {
      await using crew = await openCrew(engine, { workers: 2 });
      const count = Math.ceil(HOLDS / engines.length);
      const numbers = Array.from({ length: count }, (_, i) => i).values();
      const told: Told[] = [];
      const wrong: string[] = [];
      let resumed = 0;
      const lane = async (): Promise<void> => {
        for (const i of numbers) {
          const held = await raise(crew, i);
          const answers = await contest(crew, held, i);
          const [winner, ...others] = answers.filter(({ status }) => status === 200);
          if (!winner || others.length > 0)
            wrong.push(`${held.reviewId} has ${others.length + (winner ? 1 : 0)} winners`);
          if (!winner) continue;
          for (const { status, through, winner: named } of answers) {
            if (status !== 200 && status !== 409) wrong.push(`${held.reviewId} was answered ${status}`);
            if (status === 409 && through === "reviews" && (named.by !== winner.by || named.type !== winner.type))
              wrong.push(
                `${held.reviewId} was lost to ${JSON.stringify(named)}, and ${winner.by} won it by ${winner.type}`,
              );
          }
          resumed += winner.through === "resume" ? 1 : 0;
          told.push(toldOf(held, winner));
        }
      };
      await Promise.all(TENANTS.map(lane));
      const { violations } = await judge(crew, {
        test: "R12 decisions",
        engine: engine.name,
        seed: 0,
        size: `${HOLDS} reviews on all engines, together`,
        told,
        found: wrong.map((what) => ({ invariant: "one answer wins, and the others are told which", what })),
        faults: crew.deaths,
        counts: { reviews: count, answers: count * ANSWERS, "won by command.resume": resumed },
        command: `HOLDPOINT_HOLDS=${HOLDS} HOLDPOINT_ANSWERS=${ANSWERS} npx vitest run test/crash/decisions.test.ts`,
      });
      expect(violations).toEqual([]);
      expect(told).toHaveLength(count);
    },
  );
});
