/** A run that has acted upon the world is not undone, unless somebody insists. */
import { describe, expect, it } from "vitest";
import { argsDigest } from "../../src/core/effect.ts";
import { threadId } from "../../src/core/ids.ts";
import type { MultitaskStrategy, Run, StopAction } from "../../src/core/run.ts";
import type { GraphContext } from "../../src/graph/context.ts";
import type { Drive, DriveOutcome } from "../../src/langgraph/drive.ts";
import { ALICE, createKit, inputFor } from "./runtime-kit.ts";
import type { Kit } from "./runtime-kit.ts";
import { until } from "./runtime-pass.ts";

const aThread = (kit: Kit) => threadId(kit.deps.ids.uuid());
const runOf = async (kit: Kit, run: Run) => (await kit.deps.runs.get(run, run.runId))?.value;
const journalOf = (kit: Kit, run: Run) => kit.deps.effects.ofRoot(run.tenant, run.root);
const cancel = (kit: Kit, run: Run, how: { readonly action: StopAction; readonly force?: boolean }) =>
  kit.runtime.runs.cancel(ALICE, { ...run, ...how, wait: false, signal: new AbortController().signal });
const accept = (
  kit: Kit,
  thread: Run["threadId"],
  { force = false, strategy = "enqueue" }: { readonly force?: boolean; readonly strategy?: MultitaskStrategy } = {},
) => {
  const request = inputFor(thread);
  const settings = { ...request.settings, multitaskStrategy: strategy };
  return kit.runtime.runs.accept(ALICE, { ...request, settings, force });
};

type Acts = "not at all" | "without an answer so far" | "and has its answer";

/** The first run acts upon the world, then goes on until it is stopped. */
function acting(acts: Acts) {
  let hasBegun = false;
  return async ({ run, context, signal }: Drive): Promise<DriveOutcome> => {
    if (hasBegun) return { kind: "done" };
    hasBegun = true;
    const graph = context as GraphContext; // the runtime makes it, of this type
    const { journal } = graph;
    const what = { name: "pay", policy: "idempotent", path: [["pay"]], argsDigest: argsDigest(null) } as const;
    const { tenant, runId, threadId, root } = run;
    const ask = { ...what, tenant, runId, threadId, root, token: "t".repeat(64), deadline: graph.now() + 10_000 };
    const begun = acts === "not at all" ? undefined : await journal.begin(ask);
    if (begun?.do === "call" && acts === "and has its answer")
      await journal.settle(begun.intent, { kind: "result", value: "receipt" });
    return new Promise((resolve) => {
      signal.addEventListener("abort", () => resolve({ kind: "aborted" }), { once: true });
    });
  };
}

/** A run that is executed, and has done what it does to the world. */
async function begun(acts: Acts) {
  const kit = createKit();
  const run = await accept(kit, aThread(kit));
  const worker = kit.worker({ drive: acting(acts) });
  worker.start();
  const entries = { "not at all": 0, "without an answer so far": 1, "and has its answer": 1 }[acts];
  await until(kit, async () => (await runOf(kit, run))?.status === "running");
  await until(kit, async () => {
    const journal = await journalOf(kit, run);
    return journal.length === entries && (acts !== "and has its answer" || journal.every(({ outcome }) => outcome));
  });
  return { kit, run, [Symbol.asyncDispose]: () => worker[Symbol.asyncDispose]() };
}

describe("rolling back a run that has acted upon the world", () => {
  it.each(["without an answer so far", "and has its answer"] as const)("is refused when it did so %s", async (acts) => {
    await using story = await begun(acts);
    const { kit, run } = story;
    const refusal = { code: "conflict", detail: { effects: ["pay"] } };
    await expect(cancel(kit, run, { action: "rollback" })).rejects.toMatchObject(refusal);
    await expect(accept(kit, run.threadId, { strategy: "rollback" })).rejects.toMatchObject(refusal);
    expect(await runOf(kit, run)).toMatchObject({ status: "running" });
    expect((await runOf(kit, run))?.cancelAsked).toBeUndefined();
  });

  it("goes through when somebody insists; the run and what it did stay on the record", async () => {
    await using story = await begun("and has its answer");
    const { kit, run } = story;
    await cancel(kit, run, { action: "rollback", force: true });
    await until(kit, async () => (await runOf(kit, run))?.status === "cancelled");
    expect(await runOf(kit, run)).toMatchObject({ rolledBack: true });
    expect(await journalOf(kit, run)).toHaveLength(1);
  });

  it("goes through for a later run that insists", async () => {
    await using story = await begun("and has its answer");
    const { kit, run } = story;
    const next = await accept(kit, run.threadId, { strategy: "rollback", force: true });
    await until(kit, async () => (await runOf(kit, next))?.status === "success");
    expect(await runOf(kit, run)).toMatchObject({ status: "cancelled", rolledBack: true });
    expect(await journalOf(kit, run)).toHaveLength(1);
  });

  it("needs nobody to insist when it has not (negative control)", async () => {
    await using story = await begun("not at all");
    const { kit, run } = story;
    await cancel(kit, run, { action: "rollback" });
    await until(kit, async () => (await runOf(kit, run))?.status === "cancelled");
    expect(await runOf(kit, run)).toMatchObject({ rolledBack: true });
  });
});
