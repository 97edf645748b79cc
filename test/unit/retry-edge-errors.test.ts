/** What a retry edge makes of the error: one that is far too long, and one that it cannot place because the table is away. */
import { Annotation, START, StateGraph } from "@langchain/langgraph";
import { describe, expect, it } from "vitest";
import { HoldpointError } from "../../src/core/errors.ts";
import { reviewRequestOf } from "../../src/core/review-value.ts";
import { waitOf } from "../../src/core/wait-value.ts";
import { addRetry } from "../../src/graph/retry.ts";
import type { RetryOptions } from "../../src/graph/retry.ts";
import { DrivenThread, interruptsOf } from "../support/drive-kit.ts";

const State = Annotation.Root({ log: Annotation<string[]>({ reducer: (a, b) => a.concat(b), default: () => [] }) });

function failing(message: string, options: Partial<RetryOptions> = {}) {
  const executions: string[] = [];
  const charge = async (): Promise<Partial<typeof State.State>> => {
    executions.push("charge");
    throw new Error(message);
  };
  const graph = addRetry(new StateGraph(State).addNode("charge", charge), "charge", {
    attempts: 4,
    backoffMs: 1000,
    exhausted: "ask-a-person",
    ...options,
  }).addEdge(START, "charge");
  return { executions, thread: new DrivenThread(graph) };
}
const away = async (): Promise<never> => {
  throw new HoldpointError("unavailable", "the table is away");
};

describe("an error with a message that is far too long", () => {
  it.each([16_385, 64_001, 160_000])("is shown to a person by its beginning, of %i characters", async (length) => {
    const { thread } = failing("x".repeat(length), { attempts: 1 });
    const [asked] = interruptsOf((await thread.invoke({ log: [] })).outcome);
    const { description, args } = reviewRequestOf(asked?.value)?.request ?? {};
    expect(description).toBe(`${"x".repeat(16_384)}…`);
    expect(args).toMatchObject({ error: { name: "Error", message: description } });
  });

  it("is so too where its node cannot be named", async () => {
    const { thread } = failing("x".repeat(160_000));
    const nameless = await thread.invoke(
      { log: [] },
      {
        whereabouts: (real) => ({
          ...real,
          record: async () => {
            throw new HoldpointError("unsupported", "it has no name");
          },
        }),
      },
    );
    const [asked] = interruptsOf(nameless.outcome);
    expect(reviewRequestOf(asked?.value)?.request.description).toMatch(/^x{16384}… \(it has no name\)$/);
  });
});

describe("a table that is away while the failure is looked at", () => {
  it("stops the delivery, and the next one counts the failure without executing the node again", async () => {
    const { thread, executions } = failing("503 from the bank");
    const run = thread.newRun();
    const whereabouts = <W extends object>(real: W) => ({ ...real, record: away });
    await expect(thread.invoke({ log: [] }, { run, whereabouts })).rejects.toThrow("the table is away");
    const again = await thread.deliver({ payload: { input: { log: [] } }, run });
    expect(interruptsOf(again.outcome).map(({ value }) => waitOf(value)?.kind)).toEqual(["timer"]);
    expect(executions).toHaveLength(1);
  });
});
