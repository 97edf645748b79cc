import { makeHoldId } from "../../src/core/hold.ts";
import type { Hold } from "../../src/core/hold.ts";
import { runId, tenantId, threadId } from "../../src/core/ids.ts";

const RUN = runId("00000000-0000-7000-8000-000000000001");

/** A hold as a run has just raised it: a plain interrupt, unless the fields say otherwise. */
export function holdOf(fields: Partial<Hold> = {}): Hold {
  const { runId: run = RUN, raisedAt = 1 } = fields;
  const identity = {
    tenant: fields.tenant ?? tenantId("acme"),
    threadId: fields.threadId ?? threadId("case"),
    generation: fields.generation ?? 0,
    interruptId: fields.interruptId ?? "i",
    digest: fields.digest ?? "d",
  };
  return {
    ...identity,
    holdId: makeHoldId(identity),
    fence: 1,
    runId: run,
    root: run,
    graphId: "g",
    assistantId: "g",
    pool: "default",
    startedBy: "ann",
    node: "n",
    origin: "interrupt",
    raisedBy: { id: identity.interruptId, ns: "", checkpointId: "c", taskId: "t", ordinal: 0 },
    value: null,
    state: "pending",
    followUpDue: false,
    raisedAt,
    updatedAt: raisedAt,
    ...fields,
  };
}
