/** A worker that dies between a stop and its record: who takes over stops again, and passes nothing. */
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { HoldpointError } from "../../src/core/errors.ts";
import { threadId } from "../../src/core/ids.ts";
import { registeredGraph } from "../../src/langgraph/registry.ts";
import { langGraphEngine } from "../../src/runtime/engine.ts";
import type { Engine } from "../../src/runtime/engine.ts";
import { ALICE, createKit, inputFor } from "./runtime-kit.ts";
import { until } from "./runtime-pass.ts";

const State = Annotation.Root({
  log: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
});
const graph = new StateGraph(State)
  .addNode("a", () => ({ log: ["a"] }))
  .addNode("b", () => ({ log: ["b"] }))
  .addEdge(START, "a")
  .addEdge("a", "b")
  .addEdge("b", END);

async function story(compiled: object, engine: Partial<Engine>): Promise<readonly unknown[]> {
  const kit = createKit(undefined, { graphs: { steps: registeredGraph("steps", compiled) } });
  let dies = true;
  const drive: Engine["drive"] = async (given) => {
    const outcome = await langGraphEngine.drive(given);
    if (!dies) return outcome;
    dies = false;
    throw new HoldpointError("unavailable", "the table went away after the graph had stopped");
  };
  await using worker = kit.worker({ ...langGraphEngine, drive, ...engine });
  worker.start();
  const run = await kit.runtime.runs.accept(ALICE, {
    ...inputFor(threadId(kit.deps.ids.uuid())),
    assistantId: "steps",
  });
  const statusOf = async () => (await kit.deps.runs.get(run, run.runId))?.value.status;
  await until(kit, async () => ["held", "success"].includes((await statusOf()) ?? ""), "the run has ended");
  const holds = await kit.deps.holds.ofThread(run, run.generation);
  const { values } = await kit.runtime.threads.state(ALICE, run.threadId, { subgraphs: false });
  return [await statusOf(), holds.map(({ value }) => value.origin), (values as { readonly log: unknown }).log];
}

describe.each([
  ["before", graph.compile({ interruptBefore: ["b"] })],
  ["after", graph.compile({ interruptAfter: ["a"] })],
])("a breakpoint %s a node", (_, compiled) => {
  it("is not passed by who takes the run over", async () => {
    expect(await story(compiled, {})).toEqual(["held", ["breakpoint"], ["a"]]);
  });

  it("would be, if the head were not looked at", async () => {
    expect(await story(compiled, { breakpointAtHead: async () => undefined })).toEqual(["success", [], ["a", "b"]]);
  });
});
