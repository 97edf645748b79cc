/** The example of docs/timers-and-callbacks.md, as it stands there, executed. */
import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { threadId } from "../../src/core/ids.ts";
import { registeredGraph } from "../../src/langgraph/registry.ts";
import { langGraphEngine } from "../../src/runtime/engine.ts";
import { parcelDesk } from "./graphs/parcel-desk.ts";
import { ALICE, createKit, inputFor } from "./runtime-kit.ts";
import { until } from "./runtime-pass.ts";

describe("the example of docs/timers-and-callbacks.md", () => {
  it("is the file that is executed here", async () => {
    const [guide = "", file = ""] = await Promise.all(
      ["../../docs/timers-and-callbacks.md", "./graphs/parcel-desk.ts"].map((path) =>
        readFile(new URL(path, import.meta.url), "utf8"),
      ),
    );
    expect(guide).toContain(`\`\`\`ts\n${file}\`\`\``);
  });

  it("asks, is allowed by time, waits for its time, and is told of the parcel", async () => {
    const booked: string[] = [];
    const graph = parcelDesk({ book: async (order, token) => `${order} ${booked.push(token)}` }).compile();
    const kit = createKit(undefined, { graphs: { desk: registeredGraph("desk", graph) } });
    await using worker = kit.worker(langGraphEngine);
    worker.start();
    const thread = threadId(kit.deps.ids.uuid());
    const notBefore = kit.table.now() + 2 * 3_600_000;
    const request = { ...inputFor(thread), assistantId: "desk", payload: { input: { order: "A-1", notBefore } } };
    const run = await kit.runtime.runs.accept(ALICE, request);
    const holds = async () => (await kit.deps.holds.ofThread(run, 0)).map(({ value }) => value);
    await until(kit, async () => (await holds())[0]?.times?.escalation?.done === true, "escalated");
    expect((await holds())[0]?.request?.groups).toEqual(["desk", "leads"]);
    kit.clock.advance(3_600_000 - 900_000);
    await until(kit, async () => (await holds()).some(({ origin }) => origin === "timer"), "a timer");
    kit.clock.advance(3_600_000);
    await until(kit, async () => (await holds()).some(({ origin }) => origin === "callback"), "a callback");
    expect(kit.table.now()).toBeGreaterThanOrEqual(notBefore);
    await until(kit, async () => (await kit.deps.threads.get(run))?.value.wakeAt !== undefined, "asleep");
    const result = { parcel: "p7", grams: 12 };
    await kit.runtime.callbacks.arrive(booked[0] ?? "", { kind: "arrived", result });
    const parcel = await until(kit, async () => {
      const { values } = await kit.runtime.threads.get(ALICE, thread);
      return (values as { readonly parcel?: string } | null)?.parcel;
    });
    expect(parcel).toBe("p7");
    expect(booked).toHaveLength(1);
  });
});
