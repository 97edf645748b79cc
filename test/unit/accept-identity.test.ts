/** A client that repeats its request after a lost reply is told what became of the first, never of itself as of another. */
import { describe, expect, it } from "vitest";
import { HoldpointError } from "../../src/core/errors.ts";
import { runId, threadId } from "../../src/core/ids.ts";
import { takenOver } from "../../src/core/run.ts";
import type { Thread } from "../../src/core/thread.ts";
import { createRuntime } from "../../src/runtime/create.ts";
import type { Deps } from "../../src/runtime/deps.ts";
import type { AcceptRequest } from "../../src/runtime/runtime.ts";
import type { Stored } from "../../src/storage/records.ts";
import { eventually } from "../support/eventually.ts";
import { ALICE, createKit, inputFor } from "./runtime-kit.ts";
import type { Kit } from "./runtime-kit.ts";

const THREAD = threadId("00000000-0000-4000-8000-000000000001");
const ANOTHER = runId("00000000-0000-4000-8000-00000000000f");
const REQUEST: AcceptRequest = {
  ...inputFor(THREAD),
  settings: { ...inputFor(THREAD).settings, multitaskStrategy: "reject" },
  idempotency: { key: "k", bodyHash: "h" },
};

/** The header with the run in its queue was written, and the reply to that is lost. */
async function afterLostReply(): Promise<Kit> {
  let isLost = false;
  const kit = createKit((table) => ({
    ...table,
    put: async (draft, when, options) => {
      const result = await table.put(draft, when, options);
      if (draft.sk !== "H" || isLost) return result;
      isLost = true;
      throw new HoldpointError("unavailable", "the reply was lost");
    },
  }));
  await expect(kit.runtime.runs.accept(ALICE, REQUEST)).rejects.toMatchObject({ code: "unavailable" });
  return kit;
}

/** Every run that the header names is somebody else's, and what is refused is not marked as such. */
function withoutIdentity(deps: Deps): Deps {
  const disguised = (stored: Stored<Thread> | undefined): Stored<Thread> | undefined =>
    stored && {
      ...stored,
      value: { ...stored.value, queue: stored.value.queue.map((entry) => ({ ...entry, runId: ANOTHER })) },
    };
  return {
    ...deps,
    threads: { ...deps.threads, get: async (ref) => disguised(await deps.threads.get(ref)) },
    runs: {
      ...deps.runs,
      put: async (run, version) =>
        run.status === "refused" ? { won: true, stored: { value: run, version } } : deps.runs.put(run, version),
    },
  };
}

/** How the runs of the thread end. */
async function endsIn(kit: Kit): Promise<readonly string[]> {
  await using worker = kit.worker();
  worker.start();
  const ends = await eventually(async () => {
    kit.clock.advance(500);
    const runs = await kit.deps.runs.list({ tenant: ALICE.tenant, threadId: THREAD }, 0);
    const statuses = runs.map(({ status }) => status);
    return statuses.every((status) => status === "success") && statuses;
  });
  return ends;
}

describe("an attempt that is overtaken by its own repeat", () => {
  /** The first request stands still where `isThere` says so, until its repeat has been answered. */
  async function overtaken(isThere: (sk: string) => boolean, before = async (_kit: Kit): Promise<void> => {}) {
    let isArmed = false;
    let repeat: string | undefined;
    const kit: Kit = createKit((table) => ({
      ...table,
      async put(draft, ...args) {
        if (isArmed && isThere(draft.sk)) {
          isArmed = false;
          await before(kit);
          repeat = await answerOf(kit);
        }
        return table.put(draft, ...args);
      },
    }));
    await kit.runtime.runs.accept(ALICE, inputFor(THREAD));
    isArmed = true;
    return { kit, first: await answerOf(kit), repeat };
  }

  const answerOf = (kit: Kit): Promise<string> =>
    kit.runtime.runs.accept(ALICE, REQUEST).then(
      ({ runId: id }) => id,
      (error: unknown) => (error instanceof HoldpointError ? error.code : "unknown"),
    );

  it("does not refuse the run for what its thread was before the repeat was acknowledged", async () => {
    const idle = async (kit: Kit): Promise<void> => void (await endsIn(kit));
    const { kit, first, repeat } = await overtaken((sk) => sk.startsWith("R#"), idle);
    expect(first).toBe(repeat);
    expect(await endsIn(kit)).toEqual(["success", "success"]);
  });
});

describe("an attempt under a key", () => {
  it("acknowledges nothing that another one has taken over when its own place in the queue has landed", async () => {
    const kit = createKit((table) => ({
      ...table,
      async put(draft, ...args) {
        const result = await table.put(draft, ...args);
        if (draft.sk !== "H") return result;
        const [own] = await kit.deps.runs.list({ tenant: ALICE.tenant, threadId: THREAD }, 0);
        if (own) await kit.deps.runs.update(own, own.runId, (run) => takenOver(run, run.updatedAt));
        return result;
      },
    }));
    await expect(kit.runtime.runs.accept(ALICE, REQUEST)).rejects.toMatchObject({ code: "unavailable" });
    const { idempotency: _, ...unkeyed } = REQUEST;
    const other = { ...unkeyed, threadId: threadId("00000000-0000-4000-8000-000000000002") };
    // Nobody else can take over what has no key: it is not read again.
    expect((await kit.runtime.runs.accept(ALICE, other)).status).toBe("pending");
  });
});

describe("a repeated request whose first attempt is in the queue", () => {
  it("is answered with the run that executes, although the thread is busy", async () => {
    const kit = await afterLostReply();
    const run = await kit.runtime.runs.accept(ALICE, REQUEST);
    expect(run.threadId).toBe(THREAD);
    expect(await endsIn(kit)).toEqual(["success"]);
  });

  it("is answered with 409 for a run that executes if it does not know itself (negative control)", async () => {
    const kit = await afterLostReply();
    const runtime = createRuntime(withoutIdentity(kit.deps));
    await expect(runtime.runs.accept(ALICE, REQUEST)).rejects.toMatchObject({ code: "conflict" });
    expect(await endsIn(kit)).toEqual(["success"]);
  });
});
