/** A breakpoint that somebody has claimed, and runs without input that come to it. */
import { Annotation, END, START, StateGraph } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { registeredGraph } from "../../src/langgraph/registry.ts";
import { eventually } from "../support/eventually.ts";
import { bodyOf, sharedDesk } from "../support/review-desk.ts";
import type { Person, Review } from "../support/review-desk.ts";

const State = Annotation.Root({
  log: Annotation<string[]>({ reducer: (a, b) => [...a, ...b], default: () => [] }),
});
const stops = new StateGraph(State)
  .addNode("a", () => ({ log: ["a"] }))
  .addNode("b", () => ({ log: ["b"] }))
  .addEdge(START, "a")
  .addEdge("a", "b")
  .addEdge("b", END)
  .compile({ interruptBefore: ["b"] });

const desk = sharedDesk({ graphs: [registeredGraph("stops", stops)] });

const send = (as: Person, { thread_id: thread }: Review, json: object) =>
  desk.call(as, "POST", `/threads/${thread}/runs`, { json: { assistant_id: "stops", input: null, ...json } });
const claim = async (as: Person, { id }: Review): Promise<void> => {
  await bodyOf(await desk.call(as, "POST", `/v1/reviews/${id}/claim`, { json: {} }));
};
const logOf = async ({ thread_id: thread }: Review): Promise<unknown> =>
  ((await desk.client().threads.getState(thread)).values as { readonly log: unknown }).log;

/** Dora's run without input, accepted before anybody looks at the breakpoint, comes to it a second later. */
async function onItsWay(): Promise<{ readonly review: Review; readonly comes: () => Promise<unknown> }> {
  const review = await desk.raise({}, "stops");
  const { run_id: run } = await bodyOf<{ readonly run_id: string }>(await send("dora", review, { after_seconds: 1 }));
  return { review, comes: () => desk.client("dora").runs.join(review.thread_id, run) };
}

describe("a run without input that was accepted before it came to a breakpoint", () => {
  it("stops there where somebody else has claimed it, and leaves it to them", async () => {
    const { review, comes } = await onItsWay();
    await claim("ann", review);
    await comes();
    expect(await logOf(review)).toEqual(["a"]);
    const [open] = await desk.openOf(review.thread_id);
    expect(open).toMatchObject({ id: review.id, claim: { by: "ann" } });
    expect((await desk.decide("ann", review, { type: "approve" })).status).toBe(200);
    await eventually(async () => JSON.stringify(await logOf(review)) === '["a","b"]', "the end of the graph");
  });

  it("passes it where nobody has, on the audit log in the name of who sent it", async () => {
    const { review, comes } = await onItsWay();
    await comes();
    expect(await logOf(review)).toEqual(["a", "b"]);
    const { items } = await bodyOf<{ readonly items: readonly object[] }>(
      await desk.call("sam", "GET", `/v1/audit?review_id=${review.id}`),
    );
    expect(items).toMatchObject([{ action: "approve", actor: "dora" }]);
  });
});

it("a run without input is refused while somebody else has claimed the breakpoint", async () => {
  const review = await desk.raise({}, "stops");
  await claim("ann", review);
  const refused = await send("dora", review, {});
  expect([refused.status, await refused.text()]).toEqual([409, expect.stringContaining("ann has claimed")]);
});
