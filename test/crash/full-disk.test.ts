/**
 * R4. The disk under SQLite is full for a while, for an API process and two workers in the middle of runs: writes are refused
 * and say why, reading goes on, the process stays ready; with space again everything goes on where it was.
 */
import { expect, it } from "vitest";
import { fleetEngines } from "../support/fleet.ts";
import { createCaller } from "../support/load.ts";
import type { Answer } from "../support/load.ts";
import { TENANTS, openCrew } from "./crew.ts";
import type { Crew } from "./crew.ts";
import { fillDisk, makeRoom } from "./disk.ts";
import type { Told } from "./evidence.ts";
import type { Violation } from "./invariants.ts";
import { judge } from "./judge.ts";
import { createPatient, patiently } from "./patient.ts";
import { restOf, threadNamed } from "./story.ts";
import { walkTwice } from "./walking.ts";
import { factsOf, machineMs } from "./witness.ts";

/** More than two leases: whoever holds a thread loses it meanwhile, and nobody else can take it. */
const FULL_MS = 6_000;
const LOOK_MS = 100;
const TENANT = "acme";
const COMMENT = "while the disk was full";

/** A review that waits, and how it is decided. */
interface Asked {
  readonly threadId: string;
  readonly runId: string;
  readonly reviewId: string;
  readonly decision: { readonly key: string; readonly body: object };
}

async function ask(crew: Crew): Promise<Asked> {
  const threadId = threadNamed("asks before the disk is full");
  const body = { assistant_id: "ask", input: {}, if_not_exists: "create" };
  const client = createPatient({ url: crew.url, headers: crew.headers(TENANT) });
  const reply = await client.send(`/threads/${threadId}/runs`, { key: `${threadId}-run`, body });
  const { holdId, digest } = await patiently("the review", async () =>
    (await crew.look.waiting({ tenant: TENANT, threadId })).at(0),
  );
  return {
    threadId,
    runId: String(reply.body["run_id"]),
    reviewId: `${threadId}.${holdId}`,
    decision: { key: `${threadId}-decision`, body: { type: "approve", digest, comment: COMMENT } },
  };
}

/** Decides until it is acknowledged: under the same key as whoever tried while the disk was full. */
async function decide(crew: Crew, { threadId, runId, reviewId, decision }: Asked): Promise<Told> {
  const client = createPatient({ url: crew.url, headers: crew.headers(TENANT) });
  await client.send(`/v1/reviews/${reviewId}/decisions`, decision);
  await restOf(crew, { tenant: TENANT, threadId });
  const line = `approve 1 ${COMMENT}`;
  return {
    tenant: TENANT,
    threadId,
    runs: [runId],
    decisions: [{ reviewId, type: "approve", comment: COMMENT }],
    effects: [line],
    log: [line, `acted on ${line}`],
    ends: ["held"],
  };
}

interface Seen {
  readonly writes: readonly Answer[];
  /** Every path that was read, and how it was answered, each once. */
  readonly reads: ReadonlySet<string>;
  readonly fullMs: number;
}

/** Fills the disk for a while, and asks meanwhile. */
async function fill(crew: Crew, asked: Asked): Promise<Seen> {
  using caller = createCaller(crew.url());
  const headers = crew.headers(TENANT);
  const [writes, reads]: [Answer[], Set<string>] = [[], new Set()];
  const run = { assistant_id: "walk", input: {}, if_not_exists: "create" };
  const thread = `/threads/${asked.threadId}`;
  const review = `/v1/reviews/${asked.reviewId}`;
  const deciding = { ...headers, "idempotency-key": asked.decision.key };
  const from = machineMs();
  fillDisk(crew.folder);
  for (let n = 0; machineMs() - from < FULL_MS; n++) {
    writes.push(
      await caller.call("POST", `/threads/${threadNamed(`refused ${n}`)}/runs`, run, headers),
      await caller.call("POST", `${review}/decisions`, asked.decision.body, deciding),
    );
    for (const path of ["/ok", "/ready", thread, `${thread}/state`, `${thread}/runs`, review, "/v1/reviews"])
      reads.add(`${path} ${(await caller.call("GET", path, undefined, headers)).status}`);
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
  }
  makeRoom(crew.folder);
  return { writes, reads, fullMs: machineMs() - from };
}

/** Answers that should have been others. */
function answersOf({ writes, reads }: Seen): readonly Violation[] {
  const isClear = ({ status, text }: Answer): boolean => status === 503 && text.includes("is full");
  return [
    ...writes
      .filter((answer) => !isClear(answer))
      .map(({ status, text }) => ({ invariant: "writes are refused, and say why", what: `${status} ${text}` })),
    ...[...reads]
      .filter((read) => !read.endsWith(" 200"))
      .map((what) => ({ invariant: "reading goes on, and the process stays ready", what })),
  ];
}

it("a disk that is full keeps nobody from reading, and loses nothing", { timeout: 240_000 }, async () => {
  const [sqlite] = fleetEngines();
  if (!sqlite) throw new Error("there is no engine");
  await using crew = await openCrew(sqlite, { workers: 2 });
  await Promise.all(crew.workers().map(({ ready }) => ready));
  const asked = await ask(crew);
  const walks = Promise.all(
    [...TENANTS, ...TENANTS].map((tenant, n) => walkTwice(crew, tenant, threadNamed(`full ${n}`))),
  );
  walks.catch(() => undefined);
  await patiently("steps to be taken", () => factsOf(crew.facts(), "step").length > 4 || undefined);

  const seen = await fill(crew, asked);
  const told = [await decide(crew, asked), ...(await walks)];
  const { violations, facts } = await judge(crew, {
    test: "R4 full disk",
    engine: sqlite.name,
    seed: 0,
    told,
    found: answersOf(seen),
    faults: 1,
    unwritableMs: seen.fullMs,
    counts: { "writes refused": seen.writes.length, "ms full": Math.round(seen.fullMs) },
    command: "npx vitest run test/crash/full-disk.test.ts",
  });
  expect(violations).toEqual([]);
  expect(crew.deaths).toBe(0);
  expect(crew.lines().filter((line) => line.includes("nobody handled"))).toEqual([]);
  // They were in the middle of it: each was taken again, once there was space.
  const claims = factsOf(facts, "claim").map(({ thread }) => thread);
  const heldOnce = told.filter(({ threadId }) => claims.filter((thread) => thread === threadId).length < 2);
  expect(heldOnce).toEqual([]);
});
