/**
 * Two versions of the service on one table, as workers and runtimes of both: today's code, and the same with a format 2 of
 * its records (`next-version-table.ts`). A change of format takes two releases: the first reads 1 and 2 and writes 1, the
 * second writes 2. Who goes straight to the second, or back from it past the first, has processes that cannot read what
 * is there: they must leave it alone, visibly, and lose nothing.
 */
import { Annotation, START, StateGraph } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { decided } from "../../src/core/hold.ts";
import type { Hold } from "../../src/core/hold.ts";
import { decisionId, runId } from "../../src/core/ids.ts";
import type { ThreadId } from "../../src/core/ids.ts";
import { isEnded } from "../../src/core/run.ts";
import type { Run } from "../../src/core/run.ts";
import type { Drive, DriveOutcome } from "../../src/langgraph/drive.ts";
import type { CompiledGraph } from "../../src/langgraph/registry.ts";
import { problemOf } from "../../src/http/errors.ts";
import { createDeps, createRuntime } from "../../src/runtime/create.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { threadKeys } from "../../src/storage/keys.ts";
import type { ThreadRef } from "../../src/storage/keys.ts";
import type { Item, Key } from "../../src/storage/table.ts";
import { createNextVersionTable } from "../support/next-version-table.ts";
import type { NextVersion } from "../support/next-version-table.ts";
import { ALICE, createKit, inputFor } from "./runtime-kit.ts";
import type { Kit } from "./runtime-kit.ts";
import { pass, until } from "./runtime-pass.ts";
import { startProcess } from "./runtime-process.ts";
import type { Process } from "./runtime-process.ts";

interface Fleet extends Process {
  readonly api: Runtime;
  /** The runs that its workers have executed. */
  readonly executed: readonly string[];
}

type Behaviour = (drive: Drive) => Promise<DriveOutcome>;

const done: Behaviour = async () => ({ kind: "done" });

/** A worker and an API of one version. Without one, today's. */
function startFleet(kit: Kit, version?: NextVersion, behaviour: Behaviour = done): Fleet {
  const executed: string[] = [];
  const table = version ? createNextVersionTable(kit.table, version) : kit.table;
  const process = startProcess(
    { ...kit, table },
    {
      drive: (drive) => {
        executed.push(drive.run.runId);
        return behaviour(drive);
      },
    },
  );
  return { ...process, api: createRuntime(process.deps), executed };
}

/** An API of today's version in a process of its own: no worker hears of what it accepts but from the table. */
const startApi = (kit: Kit): Pick<Fleet, "api"> => ({ api: createRuntime(createDeps(kit.deps)) });

const firstRelease: NextVersion = { writes: 1 };
const secondRelease: NextVersion = { writes: 2 };
const only = (prefix: string): NextVersion => ({ ...secondRelease, of: ({ sk }) => sk.startsWith(prefix) });

/** It asks once, and then is done. */
const asks: Behaviour = async ({ input }) => {
  if (input.kind !== "input") return { kind: "done" };
  const id = "0".repeat(32);
  const raisedBy = { id, ns: "", checkpointId: "c", taskId: "t", ordinal: 0 };
  return { kind: "interrupted", interrupts: [{ id, value: "age?", node: "ask", raisedBy }] };
};

const accept = (fleet: Pick<Fleet, "api">, thread?: ThreadId): Promise<Run> =>
  fleet.api.runs.accept(ALICE, inputFor(thread));
const read = (fleet: Fleet, run: Run): Promise<Run> => fleet.api.runs.get(ALICE, run.threadId, run.runId);
const headerOf = async (fleet: Fleet, ref: ThreadRef) => (await fleet.deps.threads.get(ref))?.value;

function endOf(kit: Kit, fleet: Fleet, run: Run): Promise<Run> {
  return until(kit, async () => {
    const now = await read(fleet, run);
    return isEnded(now.status) && now;
  });
}

async function openHold(kit: Kit, fleet: Fleet, run: Run): Promise<Hold> {
  await endOf(kit, fleet, run);
  const { items } = await fleet.api.reviews.list(ALICE, { state: "open", limit: 10 });
  const hold = items.find(({ runId }) => runId === run.runId);
  if (!hold) throw new Error("the run has raised no hold");
  return hold;
}

const ANSWER = { type: "value", value: 7 } as const;
const decide = (fleet: Fleet, { threadId, holdId, digest }: Hold): Promise<Hold> =>
  fleet.api.reviews.decide(ALICE, `${threadId}.${holdId}`, { answer: ANSWER, digest });

const isApplied = (kit: Kit, fleet: Fleet, hold: Hold) =>
  until(kit, async () => (await fleet.deps.holds.get(hold, hold.holdId))?.value.state === "applied");

const ofFormat2 = ({ table }: Kit): readonly Item[] => table.dump().filter(({ attributes }) => attributes["v"] === 2);

/** What an API says: the status of its answer, and its text. */
function answerOf(asked: Promise<unknown>): Promise<{ readonly status: number; readonly detail: string }> {
  return asked.then(() => ({ status: 200, detail: "" }), problemOf);
}

/** A kit whose table counts how often each item is read by itself. */
function countingKit(): { readonly kit: Kit; readonly reads: (key: Key) => number } {
  const counts = new Map<string, number>();
  const nameOf = ({ pk, sk }: Key): string => `${pk} ${sk}`;
  const kit = createKit((table) => ({
    ...table,
    get: (key) => {
      counts.set(nameOf(key), (counts.get(nameOf(key)) ?? 0) + 1);
      return table.get(key);
    },
  }));
  return { kit, reads: (key) => counts.get(nameOf(key)) ?? 0 };
}

const TEN_MINUTES = 600_000;
const REFUSED = { status: 503, detail: expect.stringContaining("written by a newer version of Holdpoint") as string };

describe("a roll-out in two releases", () => {
  it("first: who reads both formats and writes the old one shares a table with who knows but that one", async () => {
    const kit = createKit();
    const [old, next] = [startFleet(kit), startFleet(kit, firstRelease)];
    await using _old = old.worker;
    await using _next = next.worker;
    for (const fleet of [old, next, old, next]) {
      const run = await accept(fleet);
      expect((await endOf(kit, old, run)).status).toBe("success");
      expect((await endOf(kit, next, run)).status).toBe("success");
    }
    expect(ofFormat2(kit)).toEqual([]);
  });

  it.each([
    ["second: who writes the new format goes on with what the first release left", firstRelease, secondRelease],
    ["and back: the first release goes on with what the second left", secondRelease, firstRelease],
  ])("%s", async (_, before, after) => {
    const kit = createKit();
    const first = startFleet(kit, before, asks);
    const hold = await openHold(kit, first, await accept(first));
    await first.worker.drain();
    const queued = await accept(first);
    const second = startFleet(kit, after, asks);
    await using _second = second.worker;
    await decide(second, hold);
    await isApplied(kit, second, hold);
    expect((await endOf(kit, second, queued)).status).toBe("held");
    expect(await headerOf(second, hold)).toMatchObject({ queue: [], lastEnd: "success" });
    expect(ofFormat2(kit).length).toBeGreaterThan(0);
    expect([first.executed, second.executed]).toEqual([[hold.runId], [queued.runId]]);
  });
});

describe("a version that cannot read what a later one wrote", () => {
  it("leaves its threads alone, says so now and then, and goes on with its own", async () => {
    const { kit, reads } = countingKit();
    const next = startFleet(kit, secondRelease);
    await next.worker.drain();
    const run = await accept(next);
    const header = threadKeys.header(run);
    const before = ofFormat2(kit);
    const old = startFleet(kit);
    await using _ = old.worker;
    await pass(kit, TEN_MINUTES);
    expect(ofFormat2(kit)).toEqual(before);
    expect(old.executed).toEqual([]);
    expect(reads(header)).toBeLessThanOrEqual(TEN_MINUTES / 30_000 + 1);
    const said = kit.lines.filter(({ message }) => message.includes("left to workers of a later version"));
    expect(said.length).toBeGreaterThan(0);
    expect(said.length).toBeLessThanOrEqual(reads(header));
    expect((await endOf(kit, old, await accept(old))).status).toBe("success");
    const again = startFleet(kit, secondRelease);
    await using _again = again.worker;
    expect((await endOf(kit, again, run)).status).toBe("success");
  });

  it("finds its own behind however many of them, of the same tenant", async () => {
    const kit = createKit();
    const next = startFleet(kit, secondRelease);
    await next.worker.drain();
    for (let n = 0; n < 150; n++) await accept(next);
    kit.clock.advance(1000);
    const old = startFleet(kit);
    await using _ = old.worker;
    const own = await accept(startApi(kit));
    expect((await endOf(kit, old, own)).status).toBe("success");
    expect(old.executed).toEqual([own.runId]);
  });

  it("answers 503 for them, and shows lists without them", async () => {
    const compiled = new StateGraph(Annotation.Root({}))
      .addNode("x", () => ({}))
      .addEdge(START, "x")
      .compile();
    const graphs = { g: { compiled: async () => compiled as unknown as CompiledGraph } }; // its state is read, and empty
    const kit = createKit(undefined, { graphs });
    const next = startFleet(kit, secondRelease, asks);
    const theirs = await accept(next);
    const hold = await openHold(kit, next, theirs);
    await next.worker.drain();
    const old = startFleet(kit, undefined, asks);
    await using _ = old.worker;
    const ours = await accept(old);
    await openHold(kit, old, ours);
    const { runs, threads, reviews } = old.api;
    const { signal } = new AbortController();
    for (const asked of [
      () => threads.get(ALICE, theirs.threadId),
      () => read(old, theirs),
      () => runs.list(ALICE, theirs.threadId),
      () => accept(old, theirs.threadId),
      () => runs.cancel(ALICE, { threadId: theirs.threadId, runId: theirs.runId, wait: false, signal }),
      () => threads.remove(ALICE, theirs.threadId),
      () => decide(old, hold),
    ]) {
      expect(await answerOf(asked())).toMatchObject(REFUSED);
    }
    const search = { limit: 10, offset: 0, sortBy: "created_at", sortOrder: "asc" } as const;
    // Of this one the header can be read, and nothing that it names.
    const half = startFleet(kit, { ...secondRelease, of: ({ sk }) => sk !== "H" }, asks);
    await openHold(kit, half, await accept(half));
    await half.worker.drain();
    const idsOf = async (found: ReturnType<Runtime["threads"]["search"]>) =>
      (await found).items.map(({ thread }) => thread.threadId);
    expect(await idsOf(threads.search(ALICE, search))).toEqual([ours.threadId]);
    expect(await idsOf(threads.search(ALICE, { ...search, ids: [theirs.threadId, ours.threadId] }))).toEqual([
      ours.threadId,
    ]);
    const open = await reviews.list(ALICE, { state: "open", limit: 10 });
    expect(open.items.map(({ runId }) => runId)).toEqual([ours.runId]);
  });

  it("commits the end of a run that it holds, once, although a later version has joined its thread", async () => {
    const kit = createKit();
    const blocked = Promise.withResolvers<undefined>();
    const old = startFleet(kit, undefined, async () => {
      await blocked.promise;
      return { kind: "done" };
    });
    const run = await accept(old);
    await until(kit, () => old.executed.length > 0);
    const next = startFleet(kit, secondRelease);
    await using _ = next.worker;
    const joined = await accept(next, run.threadId);
    blocked.resolve(undefined);
    expect((await endOf(kit, next, run)).status).toBe("success");
    expect((await endOf(kit, next, joined)).status).toBe("success");
    expect([...old.executed, ...next.executed]).toEqual([run.runId, joined.runId]);
    expect(await headerOf(next, run)).toMatchObject({ queue: [], lastEnd: "success" });
    await old.worker[Symbol.asyncDispose]();
  });
});

describe("a later version that is withdrawn", () => {
  it("leaves what it wrote as it was, and goes on with all of it when it returns", async () => {
    const kit = createKit();
    let outcome: Behaviour = asks;
    const next = startFleet(kit, secondRelease, (drive) => outcome(drive));
    const hold = await openHold(kit, next, await accept(next));
    outcome = async () => ({ kind: "backoff", delayMs: 300_000, retries: {}, error: new Error("busy") });
    const asleep = await accept(next);
    await until(kit, async () => (await headerOf(next, asleep))?.wakeAt !== undefined);
    const behind = await accept(next, asleep.threadId);
    await next.worker.drain();
    const ready = await accept(next);
    const later = await next.api.runs.accept(ALICE, { ...inputFor(undefined), afterMs: 180_000 });
    await decide(next, hold);
    const before = ofFormat2(kit);
    const old = startFleet(kit);
    await pass(kit, TEN_MINUTES);
    await old.worker.drain();
    expect(old.executed).toEqual([]);
    expect(ofFormat2(kit)).toEqual(before);
    const again = startFleet(kit, secondRelease);
    await using _ = again.worker;
    for (const run of [asleep, behind, ready, later]) expect((await endOf(kit, again, run)).status).toBe("success");
    await isApplied(kit, again, hold);
  });
});

describe("where the format of one kind alone has changed", () => {
  it("a run that cannot be read sleeps by its header, without a strike, until somebody can", async () => {
    const kit = createKit();
    const next = startFleet(kit, only("R#"));
    await next.worker.drain();
    const run = await accept(next);
    const before = ofFormat2(kit);
    const old = startFleet(kit);
    await pass(kit, TEN_MINUTES);
    expect(await headerOf(old, run)).toMatchObject({
      active: { entry: { runId: run.runId } },
      wakeAt: expect.any(Number) as number,
    });
    expect(await headerOf(old, run)).not.toHaveProperty("lease");
    expect(await headerOf(old, run)).not.toHaveProperty("strikes");
    expect((await headerOf(old, run))?.fence).toBeLessThanOrEqual(TEN_MINUTES / 60_000 + 1);
    expect(ofFormat2(kit)).toEqual(before);
    expect(old.executed).toEqual([]);
    expect(kit.lines).toContainEqual(
      expect.objectContaining({
        message: "run sleeps",
        fields: expect.objectContaining({ run: run.runId, reason: REFUSED.detail }) as unknown,
      }),
    );
    await old.worker.drain();
    const again = startFleet(kit, only("R#"));
    await using _ = again.worker;
    expect((await endOf(kit, again, run)).status).toBe("success");
    expect(again.executed).toEqual([run.runId]);
  });

  it("a run that was cancelled meanwhile, as nobody here can read, is never executed", async () => {
    const kit = createKit();
    const next = startFleet(kit, only("R#"));
    await next.worker.drain();
    const run = await accept(next);
    const behind = await accept(next, run.threadId);
    const old = startFleet(kit);
    await using _old = old.worker;
    await until(kit, async () => (await headerOf(old, run))?.wakeAt !== undefined);
    const { signal } = new AbortController();
    await next.api.runs.cancel(ALICE, { threadId: run.threadId, runId: run.runId, wait: false, signal });
    const again = startFleet(kit, only("R#"));
    await using _again = again.worker;
    expect((await endOf(kit, again, run)).status).toBe("cancelled");
    expect((await endOf(kit, again, behind)).status).toBe("success");
    expect([...old.executed, ...again.executed]).toEqual([behind.runId]);
  });

  it.each([
    ["a review", "A#"],
    ["a batch of events", "E#"],
  ])("a run that meets %s which it cannot read is left to who can, with the reason", async (_, prefix) => {
    const kit = createKit();
    const next = startFleet(kit, only(prefix), asks);
    const hold = await openHold(kit, next, await accept(next));
    await next.worker.drain();
    await decide(next, hold);
    const carriedBy = (await headerOf(next, hold))?.queue[0]?.runId;
    if (!carriedBy) throw new Error("no continuation is queued");
    const old = startFleet(kit, undefined, asks);
    const waiting = await until(kit, async () => {
      const run = (await old.deps.runs.get(hold, carriedBy))?.value;
      return run?.status === "waiting" && run;
    });
    expect(waiting.sleep).toMatchObject({ kind: "format", reason: REFUSED.detail });
    await pass(kit, TEN_MINUTES);
    await old.worker.drain();
    expect(old.executed).toEqual([]);
    expect(await headerOf(old, hold)).not.toHaveProperty("strikes");
    const again = startFleet(kit, only(prefix), asks);
    await using _again = again.worker;
    expect((await endOf(kit, again, waiting)).status).toBe("success");
    await isApplied(kit, again, hold);
  });

  it("a decision whose follow-up was cut off, on a review that nobody here can read, is followed up by who can", async () => {
    const { kit, reads } = countingKit();
    const next = startFleet(kit, only("A#"), asks);
    const hold = await openHold(kit, next, await accept(next));
    await next.worker.drain();
    const decision = {
      id: decisionId("d"),
      by: "bob",
      at: 1,
      answer: ANSWER,
      continuation: runId(kit.deps.ids.uuid()),
    };
    await next.deps.holds.update(hold, hold.holdId, (now) => decided(now, decision));
    const before = reads(threadKeys.hold(hold, hold.holdId));
    const old = startFleet(kit);
    await pass(kit, TEN_MINUTES);
    await old.worker.drain();
    expect(reads(threadKeys.hold(hold, hold.holdId)) - before).toBeLessThanOrEqual(TEN_MINUTES / 30_000 + 1);
    expect(await headerOf(old, hold)).toMatchObject({ queue: [] });
    const again = startFleet(kit, only("A#"), asks);
    await using _ = again.worker;
    await isApplied(kit, again, hold);
  });

  it("a thread is deleted at once, and what cannot be read of it by who can", async () => {
    const kit = createKit();
    const next = startFleet(kit, only("R#"));
    const run = await accept(next);
    await endOf(kit, next, run);
    await next.worker.drain();
    const old = startFleet(kit);
    expect(await answerOf(old.api.threads.remove(ALICE, run.threadId))).toMatchObject(REFUSED);
    expect(await answerOf(old.api.threads.get(ALICE, run.threadId))).toMatchObject({ status: 404 });
    await pass(kit, TEN_MINUTES);
    await old.worker.drain();
    expect(ofFormat2(kit)).toHaveLength(1);
    const again = startFleet(kit, only("R#"));
    await using _ = again.worker;
    await until(kit, () => ofFormat2(kit).length === 0);
    await until(kit, async () => (await headerOf(again, run))?.remnants === undefined);
  });
});
