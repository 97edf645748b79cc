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
  const waits = (run: Run, thread: Thread) => waitingFor(run, thread, NOW);
  const because = (reason: string, since = 5000) => ({ reason, since });
  const waiting = { runId: runId("r"), reviews: 0, plain: 0 };
  const cases: readonly [string, ReturnType<typeof waitingFor>, ReturnType<typeof waitingFor>][] = [
    ["a worker", waits(first, queued), because("no worker of pool gpu has taken it yet", 7000)],
    ["the one before it in the queue", waits(second, queued), because(`run ${first.runId} is before it`)],
    ["the one that is executed", waits(second, claimed(queued, claim)), because(`run ${first.runId} is before it`)],
    [
      "a review",
      waits(first, { ...queued, waiting: { ...waiting, reviews: 1 } }),
      because("its thread waits for a review"),
    ],
    [
      "no plain interrupt, which holds nobody up",
      waits(first, { ...queued, waiting: { ...waiting, plain: 1 } }),
      because("no worker of pool gpu has taken it yet", 7000),
    ],
    [
      "an update of the state",
      waits(first, appended(claimedForUpdate(idle, claim), entryOf(first), NOW)),
      because("the state of its thread is being updated"),
    ],
    ["its time", waits(pending({ startAt: NOW + 1 }), queued), because("its time has not come")],
    [
      "its place",
      waits(pending({ startAt: NOW - 1 }), queued),
      because("it has no place in the queue of its thread yet"),
    ],
    ["nothing, once a worker has the thread", waits(first, claimed(queued, claim)), undefined],
    ["nothing, once it has begun", waits({ ...first, status: "running" }, queued), undefined],
  ];
  it.each(cases)("%s", (_name, said, expected) => {
    expect(said).toEqual(expected);
  });
});
