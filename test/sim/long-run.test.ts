/** What takes minutes and hours of virtual time: orphans of accepts that died, threads of stateless runs, an API that sleeps. */
import { describe, expect, it } from "vitest";
import { LOOKED_AT_AFTER_MS } from "../../src/core/run.ts";
import { CALM } from "./chaos.ts";
import type { Planned } from "./chaos.ts";
import { narrate } from "./narrate.ts";
import type { Plan } from "./plan.ts";
import { simulate } from "./simulate.ts";
import type { Verdict } from "./simulate.ts";

const THREAD = "00000000-0000-4000-8000-000000000001";
const MINUTE = 60_000;
const BASE: Plan = {
  apis: 1,
  workers: 1,
  local: false,
  threads: [],
  starts: [],
  reviewers: [],
  resumer: false,
  cancels: 0,
  updates: 0,
  updatesCancelPending: false,
  drains: 0,
  pauseMs: 200,
  troubleMs: 1000,
  afterwardsMs: LOOKED_AT_AFTER_MS + MINUTE,
};
const once = {
  atMs: 0,
  tag: "run-0",
  strategy: "enqueue",
  script: [[{ do: "step", ms: 10 }]],
  watched: "no",
  asksOnce: true,
} as const;

type AtWrite = Extract<Planned, { readonly write: number }>;

/** @throws Error that tells the whole history when an invariant is violated */
async function played(plan: Plan, planned: AtWrite): Promise<Verdict> {
  const verdict = await simulate({
    seed: `${planned.process} ${planned.when} ${planned.write}`,
    plan,
    profile: CALM,
    planned,
  });
  const told = verdict.violations.map(({ invariant, what }) => `${invariant}: ${what}`);
  if (told.length > 0)
    throw new Error([`at ${planned.when} write ${planned.write}`, ...told, ...narrate(verdict.facts)].join("\n"));
  expect(verdict.facts.some(({ kind }) => kind === "crashed" || kind === "frozen")).toBe(true);
  return verdict;
}

const POINTS = [1, 2, 3, 4].flatMap((write) => [
  { write, when: "before" as const },
  { write, when: "after" as const },
]);

describe("over minutes", () => {
  it.each(POINTS)(
    "an accept that dies $when write $write, and is never repeated, runs or leaves nothing behind",
    async (at) => {
      const { facts } = await played(
        { ...BASE, threads: [THREAD], starts: [{ ...once, thread: THREAD }] },
        { ...at, process: "api1" },
      );
      const pending = facts.findLast((fact) => fact.kind === "run" || fact.kind === "run-removed");
      expect([undefined, "run-removed", "success"]).toContain(
        pending?.kind === "run" ? pending.run.status : pending?.kind,
      );
    },
  );

  it.each(POINTS)(
    "an accept that sleeps for longer than its run item is kept, $when write $write, acknowledges nothing that is gone",
    async (at) => {
      const sleeping: AtWrite = { ...at, process: "api1", freezeMs: LOOKED_AT_AFTER_MS + MINUTE / 2 };
      const afterwardsMs = LOOKED_AT_AFTER_MS + 2 * MINUTE;
      const plan = { ...BASE, threads: [THREAD], starts: [{ ...once, thread: THREAD }], afterwardsMs };
      expect((await played(plan, sleeping)).violations).toEqual([]);
    },
  );

  it.each(POINTS)(
    "a stateless run takes its thread with it, also when a worker dies $when write $write",
    async (at) => {
      const { facts } = await played(
        { ...BASE, workers: 1, starts: [{ ...once, thread: undefined, asksOnce: false }], afterwardsMs: 2 * MINUTE },
        { ...at, process: "worker2" },
      );
      const header = facts.findLast((fact) => fact.kind === "header");
      expect(header?.kind === "header" && header.thread).toMatchObject({ deleted: true, generation: 1, queue: [] });
    },
  );
});
