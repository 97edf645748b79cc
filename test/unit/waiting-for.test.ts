import { describe, expect, it } from "vitest";
import { runId, threadId } from "../../src/core/ids.ts";
import type { Run } from "../../src/core/run.ts";
import { appended, claimed, claimedForUpdate } from "../../src/core/thread-changes.ts";
import { newThread } from "../../src/core/thread.ts";
import type { Thread } from "../../src/core/thread.ts";
import { waitingFor } from "../../src/core/waiting-for.ts";
import { entryOf } from "../../src/core/queue-room.ts";
import { ALICE, createKit, looseRun } from "./runtime-kit.ts";

const NOW = 10_000;
const kit = createKit();
const pending = (fields: Partial<Run> = {}): Run => looseRun(kit, { pool: "gpu", createdAt: 5000, ...fields });
const [first, second] = [pending(), pending()];
const idle = newThread({ tenant: ALICE.tenant, threadId: threadId(first.threadId) }, { kind: "inline", value: {} }, 0);
const queued = appended(appended(idle, entryOf(first), 7000), entryOf(second), 8000);
const claim = { owner: "somebody", leaseMs: 1000, now: 9000 };

describe("what a run waits for that has not begun", () => {
  const cases: readonly [string, Run, Thread, string | undefined, number?][] = [
    ["a worker", first, queued, "no worker of pool gpu has taken it yet", 7000],
    ["the one before it in the queue", second, queued, `run ${first.runId} is before it`],
    ["the one that is executed", second, claimed(queued, claim), `run ${first.runId} is before it`],
    [
      "a review",
      first,
      { ...queued, waiting: { runId: runId("r"), reviews: 1, plain: 0 } },
      "its thread waits for a review",
    ],
    [
      "a plain interrupt, which holds nobody up",
      first,
      { ...queued, waiting: { runId: runId("r"), reviews: 0, plain: 1 } },
      "no worker of pool gpu has taken it yet",
      7000,
    ],
    [
      "an update of the state",
      first,
      appended(claimedForUpdate(idle, claim), entryOf(first), NOW),
      "the state of its thread is being updated",
    ],
    ["its time", pending({ startAt: NOW + 1 }), queued, "its time has not come"],
    ["its place", pending({ startAt: NOW - 1 }), queued, "it has no place in the queue of its thread yet"],
    ["nothing, once a worker has the thread", first, claimed(queued, claim), undefined],
    ["nothing, once it has begun", { ...first, status: "running" }, queued, undefined],
  ];
  it.each(cases)("%s", (_name, run, thread, reason, since = 5000) => {
    expect(waitingFor(run, thread, NOW)).toEqual(reason === undefined ? undefined : { reason, since });
  });
});
