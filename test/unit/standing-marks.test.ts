/** Which marks stand above a checkpoint, found upwards from it: the same as are met on the way down to it. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createBodies } from "../../src/checkpoint/bodies.ts";
import { createLog } from "../../src/checkpoint/log.ts";
import type { Log } from "../../src/checkpoint/log.ts";
import type { LogRecord } from "../../src/checkpoint/record.ts";
import { tenantId, threadId } from "../../src/core/ids.ts";
import { plainSealer } from "../../src/storage/encryption/sealer.ts";
import { createMemoryTable } from "../support/memory-table.ts";

/** A record to append; a reset goes back to the n-th of the checkpoints that there are by then. */
type Step = "checkpoint" | "barrier" | { readonly backTo: number };
const steps = fc.array(
  fc.oneof(fc.constant("checkpoint" as const), fc.constant("barrier" as const), fc.record({ backTo: fc.nat(9) })),
  { minLength: 1, maxLength: 25 },
);

const NONE = new Uint8Array();
const at = { thread: { tenant: tenantId("acme"), threadId: threadId("t") }, generation: 0, ns: "" };

function recordOf(step: Step, seq: number, checkpoints: readonly number[]): LogRecord {
  if (step === "barrier") return { kind: "barrier", seq, fence: seq, sealed: [] };
  if (step !== "checkpoint") {
    const targetSeq = checkpoints[step.backTo % checkpoints.length] ?? 0;
    return { kind: "reset", seq, fence: seq, sealed: [], targetSeq };
  }
  const placed = { seq, fence: seq, baseSeq: seq, depth: 0, deltaBytes: 0, step: seq };
  const body = { format: 2, hash: new Uint8Array(16), body: NONE } as const;
  return { kind: "checkpoint", ...placed, ...body, checkpointId: `c${seq}`, source: "loop" };
}

/** By position of each checkpoint that counts: the positions of the marks that are met before it. */
async function metOnTheWay(log: Log): Promise<ReadonlyMap<number, readonly number[]>> {
  const met = new Map<number, readonly number[]>();
  for await (const { record, marks } of log.walk())
    met.set(
      record.seq,
      marks.map(({ seq }) => seq),
    );
  return met;
}

describe("the marks that stand above a checkpoint", () => {
  it("are those on the branch as it is, or as it was when it last came by there", async () => {
    const check = fc.asyncProperty(steps, async (drawn) => {
      const log = createLog({ table: createMemoryTable(), bodies: createBodies(plainSealer) }, at);
      const checkpoints: number[] = [];
      const expected = new Map<number, readonly number[]>();
      for (const [i, step] of (["checkpoint", ...drawn] as const).entries()) {
        const record = recordOf(step, i + 1, checkpoints);
        if (record.kind === "checkpoint") checkpoints.push(record.seq);
        await log.append(record);
        for (const [seq, marks] of await metOnTheWay(log)) expected.set(seq, marks);
      }
      for (const [seq, marks] of expected)
        expect((await log.standingMarks(seq)).map((mark) => mark.seq)).toEqual(marks);
    });
    await fc.assert(check, { numRuns: 200 });
  });
});
