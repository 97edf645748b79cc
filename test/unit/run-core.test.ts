import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cancelled, ended, isEnded, marked, pendingRun, refused, takenOver, untouchedEnd } from "../../src/core/run.ts";
import type { Outcome, Run, RunStatus } from "../../src/core/run.ts";
import { STATUSES, anyRun, plainRun } from "./thread-core-arbitraries.ts";
import { runId } from "../../src/core/ids.ts";

const NOW = 1_800_000_000_000;
const id = runId("00000000-0000-7000-8000-000000000001");
const delivery = (fence: number) => ({ fence, firstEvent: 7, graphVersion: "v1" });
const OUTCOMES = ["success", "held", "error", "timeout", "cancelled", "parked"] as const;
const outcome = (status: Outcome["status"]): Outcome => ({ status, end: untouchedEnd(NOW) });

describe("a run's status", () => {
  it("has ended in every status but pending, running and waiting", () => {
    expect(STATUSES.filter((status) => !isEnded(status))).toEqual(["pending", "running", "waiting"]);
  });

  it("begins as pending, owned by the first attempt at accepting it", () => {
    const {
      status: _,
      fence: __,
      deliveries: ___,
      acceptNumber: ____,
      updatedAt: _____,
      ...fields
    } = plainRun(id, "pending");
    expect(pendingRun(fields)).toMatchObject({
      status: "pending",
      fence: 0,
      deliveries: 0,
      acceptNumber: 1,
      updatedAt: fields.createdAt,
    });
  });

  it("is taken over by a repeat under the next accept number and nothing else", () => {
    fc.assert(
      fc.property(anyRun, (run) => {
        expect(takenOver(run, NOW)).toEqual({ ...run, acceptNumber: run.acceptNumber + 1, updatedAt: NOW });
      }),
    );
  });
});

describe("a cancel in its sleep", () => {
  const request = { by: "ann", at: NOW };
  const asleepAs = (kind: Run["kind"]): Run => ({ ...plainRun(id, "waiting"), kind });

  it("ends a run with input at once, and leaves its row until the header knows", () => {
    const result = cancelled(asleepAs("input"), request);
    expect(result).toMatchObject({ kind: "written", run: { status: "cancelled", followUpAt: NOW } });
  });

  it("only asks a continuation to stop: what came of its decisions is for a worker to say", () => {
    const result = cancelled(asleepAs("continuation"), request);
    expect(result).toMatchObject({
      kind: "written",
      run: { status: "waiting", cancelAsked: request, followUpAt: NOW },
    });
    if (result.kind !== "written") throw new Error("it was asked to stop");
    expect(cancelled(result.run, request)).toEqual({ kind: "already", status: "waiting" });
  });
});

describe("the mark", () => {
  it("gives the run to the fence, counts the delivery and ends the search for orphans", () => {
    fc.assert(
      fc.property(anyRun, fc.integer({ min: 1, max: 99 }), (run, fence) => {
        const mark = marked(run, delivery(fence), NOW);
        expect(mark).toMatchObject({ status: "running", fence, deliveries: run.deliveries + 1, graphVersion: "v1" });
        expect(mark.followUpAt).toBeUndefined();
        expect(mark.cancelAsked).toEqual(run.cancelAsked);
      }),
    );
  });

  it("keeps the first event and the first start of an earlier delivery", () => {
    const first = marked(plainRun(id, "pending"), delivery(1), NOW);
    const second = marked(first, { fence: 2, firstEvent: 90, graphVersion: undefined }, NOW + 5);
    expect(second).toMatchObject({ firstEvent: 7, startedAt: NOW, graphVersion: "v1", deliveries: 2, fence: 2 });
  });
});

describe("the end", () => {
  it("carries outcome and fence, and leaves no follow-up but the deletion of a stateless thread", () => {
    fc.assert(
      fc.property(anyRun, fc.constantFrom(...OUTCOMES), (run, status) => {
        const done = ended(run, run.fence, outcome(status));
        expect(done).toMatchObject({ status, fence: run.fence, end: untouchedEnd(NOW) });
        const deletes = run.stateless && run.settings.onCompletion !== "keep" && status === "success";
        expect(done.followUpAt).toBe(deletes ? NOW + 60_000 : undefined);
      }),
    );
  });

  it("does not keep the error of an earlier attempt", () => {
    const failed = { ...plainRun(id, "running"), error: { name: "Error", message: "of before" } };
    expect(ended(failed, 1, outcome("success")).error).toBeUndefined();
  });

  it("of a refused run says why and names no holds", () => {
    const done = refused(
      plainRun(id, "pending", { followUpAt: NOW }),
      { name: "conflict", message: "Thread is busy" },
      NOW,
    );
    expect(done).toMatchObject({
      status: "refused",
      error: { name: "conflict" },
      end: { holds: [], waiting: "unchanged" },
    });
    expect(done.followUpAt).toBeUndefined();
  });
});

describe("cancelling", () => {
  const request = { by: "bob", at: NOW };

  it("never changes the status of a run that has ended", () => {
    fc.assert(
      fc.property(anyRun, (run) => {
        fc.pre(isEnded(run.status));
        expect(cancelled(run, request)).toEqual({ kind: "already", status: run.status });
      }),
    );
  });

  it("ends a pending run at once", () => {
    const result = cancelled(plainRun(id, "pending", { followUpAt: NOW }), request);
    expect(result).toMatchObject({ kind: "written", run: { status: "cancelled", cancelAsked: request } });
    expect(result.kind === "written" && result.run.followUpAt).toBeFalsy();
  });

  it("is not possible for a continuation that has not begun, since it carries decisions", () => {
    expect(cancelled(plainRun(id, "pending", { kind: "continuation" }), request).kind).toBe("not_yet");
    expect(cancelled(plainRun(id, "running", { kind: "continuation" }), request).kind).toBe("written");
  });

  it("asks the worker of a running run, once, and keeps its status", () => {
    const asked = cancelled(plainRun(id, "running"), request);
    expect(asked).toMatchObject({ kind: "written", run: { status: "running", cancelAsked: request } });
    if (asked.kind === "written")
      expect(cancelled(asked.run, { by: "eve", at: NOW + 1 })).toEqual({ kind: "already", status: "running" });
  });

  it("changes nothing but the cancellation itself", () => {
    fc.assert(
      fc.property(anyRun, (run) => {
        const result = cancelled(run, request);
        if (result.kind !== "written") return;
        const { status, cancelAsked: _, updatedAt: __, followUpAt: ___, end: ____, ...rest } = result.run;
        expect(["cancelled", run.status] satisfies RunStatus[]).toContain(status);
        expect(run).toMatchObject(rest);
      }),
    );
  });
});
