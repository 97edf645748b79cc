/** Deleting a thread removes its bodies, and never those of one that is created again under the same id meanwhile. */
import { describe, expect, it } from "vitest";
import { threadId } from "../../src/core/ids.ts";
import type { ThreadId } from "../../src/core/ids.ts";
import { createDeps, createRuntime } from "../../src/runtime/create.ts";
import { removeRemnants } from "../../src/runtime/threads/remove-thread.ts";
import type { Blobs } from "../../src/storage/blobs.ts";
import { createMemoryBlobs } from "../support/memory-blobs.ts";
import { ALICE, createKit, inputFor } from "./runtime-kit.ts";

const THREAD = threadId("t");
const LONG = "x".repeat(500_000);
const requestFor = (thread: ThreadId, text: string) => ({ ...inputFor(thread), payload: { input: { text } } });

/** Deletes a thread with a long request, and creates it again just before its bodies are removed. */
async function deletedWhileCreatedAgain(adapt: (blobs: Blobs) => Blobs) {
  const kit = createKit();
  const memory = createMemoryBlobs();
  const bodies = adapt(memory);
  let meanwhile = async (): Promise<void> => {};
  const blobs: Blobs = {
    ...bodies,
    async removeOld(thread, which) {
      await meanwhile();
      await bodies.removeOld(thread, which);
    },
  };
  const runtime = createRuntime(createDeps({ ...kit.deps, blobs }));
  const first = await runtime.runs.accept(ALICE, requestFor(THREAD, LONG));
  expect(memory.size).toBe(1);
  const again: (typeof first)[] = [];
  meanwhile = async () => {
    meanwhile = async () => {};
    again.push(await runtime.runs.accept(ALICE, requestFor(THREAD, `${LONG} again`)));
  };
  await runtime.runs.cancel(ALICE, {
    threadId: THREAD,
    runId: first.runId,
    wait: false,
    signal: new AbortController().signal,
  });
  await runtime.threads.remove(ALICE, THREAD);
  const [run] = again;
  if (run === undefined) throw new Error("the thread was not created again");
  const payload = async () => runtime.runs.payload(await runtime.runs.get(ALICE, THREAD, run.runId));
  return { kit, memory, blobs, run, payload };
}

describe("a thread that is deleted and created again at the same moment", () => {
  it("keeps its bodies, and those of the deleted one are gone", async () => {
    const { memory, run, payload } = await deletedWhileCreatedAgain((blobs) => blobs);
    expect(run.generation).toBe(1);
    expect(await payload()).toEqual({ input: { text: `${LONG} again` } });
    expect(memory.size).toBe(1);
  });

  it("loses them when bodies bear no generation (negative control)", async () => {
    const { payload } = await deletedWhileCreatedAgain((blobs) => ({
      ...blobs,
      put: ({ tenant, threadId }, bytes) => blobs.put({ tenant, threadId }, bytes),
    }));
    await expect(payload()).rejects.toMatchObject({ code: "corrupt" });
  });

  it("keeps those that an older worker wrote for it, when it was there before the removal looked", async () => {
    const { kit, memory, blobs, run } = await deletedWhileCreatedAgain((bodies) => bodies);
    const { tenant, generation } = run;
    const ref = { tenant, threadId: THREAD };
    const name = await blobs.put(ref, Buffer.from("written by an older worker"));
    const header = await kit.deps.threads.get(ref);
    if (header === undefined) throw new Error("there is no header");
    await removeRemnants({ ...kit.deps, blobs }, header.value);
    expect(Buffer.from(await blobs.get({ ...ref, generation }, name)).toString()).toContain("older worker");
    expect(memory.size).toBe(2);
  });
});
