/** Two versions of the service on one table: what the later one wrote is not the earlier one's to judge. */
import { describe, expect, it } from "vitest";
import { threadId } from "../../src/core/ids.ts";
import { threadKeys } from "../../src/storage/keys.ts";
import { eventually } from "../support/eventually.ts";
import { ALICE, createKit, inputFor } from "./runtime-kit.ts";

describe("a thread whose log was written by a later version", () => {
  it("sleeps with that reason instead of failing, without a strike, until somebody can read it", async () => {
    const kit = createKit();
    const thread = threadId(kit.deps.ids.uuid());
    const key = threadKeys.log({ tenant: ALICE.tenant, threadId: thread }, 0, "", 1);
    await kit.table.put({ ...key, attributes: { v: 99, k: "z", f: 0 } }, "any");
    const run = await kit.runtime.runs.accept(ALICE, inputFor(thread));
    const now = async () => (await kit.deps.runs.get(run, run.runId))?.value;
    await using worker = kit.worker();
    worker.start();
    const reaches = (status: string) =>
      eventually(async () => {
        kit.clock.advance(500);
        return (await now())?.status === status;
      });
    await reaches("waiting");
    expect((await now())?.sleep?.reason).toContain("written by a newer version");
    kit.clock.advance(3_600_000 * 3);
    await reaches("waiting");
    const header = (await kit.deps.threads.get(run))?.value;
    expect(header).toMatchObject({ active: { entry: { runId: run.runId } } });
    expect(header?.strikes).toBeUndefined();
    await kit.table.remove(key, "any");
    await reaches("success");
  });
});
