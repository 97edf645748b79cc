/**
 * Where a delivery starts: with new input, with decisions, or from the checkpoint. LangGraph is only ever resumed with
 * an id map made from our own decision records, on every attempt: a bare value would go to every waiting node and be
 * delivered again to the next interrupt.
 */
import type { FencedSaver } from "../../checkpoint/saver.ts";
import { handedTo, resumeValue } from "../../core/hold.ts";
import type { Hold } from "../../core/hold.ts";
import type { Json } from "../../core/json.ts";
import type { Run, RunPayload } from "../../core/run.ts";
import type { DriveInput, DriveOutcome } from "../../langgraph/drive.ts";
import type { RegisteredGraph } from "../../langgraph/registry.ts";
import { breakpointInTheWay, dropStale } from "../decisions/breakpoints.ts";
import { auditHold } from "../audit/audit-hold.ts";
import { tellOfDecision } from "../webhooks/announce.ts";
import type { Deps } from "../deps.ts";
import type { Engine } from "../engine.ts";
import { waitingAtHead } from "./raise.ts";

/** What to hand to LangGraph, or, when there is nothing to execute, what the delivery comes to without it. */
export type Start = {
  readonly payload: RunPayload;
  /** The decisions that are settled once this delivery is over. */
  readonly handed: readonly Hold[];
} & ({ readonly input: DriveInput } | { readonly input?: undefined; readonly outcome: DriveOutcome });

export interface StartFrom {
  readonly run: Run;
  readonly payload: RunPayload;
  readonly saver: FencedSaver;
  readonly graph: RegisteredGraph;
  /** Decisions of the thread that are still to be applied; empty for anything but a continuation. */
  readonly handed: readonly Hold[];
  readonly first: boolean;
}

export async function startingPoint(
  host: { readonly deps: Deps; readonly engine: Engine },
  from: StartFrom,
): Promise<Start> {
  if (from.run.kind === "continuation" || from.handed.length > 0) return continuation(host, from);
  if (from.first) return begin(from.payload);
  const begun = from.saver.head()?.runId === from.run.runId;
  return begun ? takenOver(host, from) : begin(from.payload);
}

function begin(payload: RunPayload): Start {
  const hasInput = payload.input !== undefined && payload.input !== null;
  return {
    payload,
    input: hasInput || payload.command ? { kind: "input", payload } : { kind: "continue" },
    handed: [],
  };
}

/** A later delivery goes on from the head; where every unfinished task waits for an answer it only finishes the pause. */
async function takenOver(
  { deps, engine }: { readonly deps: Deps; readonly engine: Engine },
  { run, payload, saver, graph }: StartFrom,
): Promise<Start> {
  const { checkpoint: _, ...rest } = payload;
  const waiting = await waitingAtHead(saver);
  if (waiting.length === 0 || (await engine.hasWorkLeft(graph, saver, run.threadId))) {
    const stop = await stopAtHead({ deps, engine }, { run, payload, saver, graph, handed: [] });
    if (stop) return { payload: rest, outcome: stop, handed: [] };
    return { payload: rest, input: { kind: "continue" }, handed: [] };
  }
  return { payload: rest, outcome: { kind: "interrupted", interrupts: waiting }, handed: [] };
}

/** A continuation reads *all* decided, unapplied holds of the thread and resumes with those that still wait. */
async function continuation(host: { readonly deps: Deps; readonly engine: Engine }, from: StartFrom): Promise<Start> {
  const { run, saver, graph } = from;
  const payload = stillToDo(from);
  const handed = await dropStale(host.deps, run, from);
  const waiting = await waitingAtHead(saver);
  const answered = handed.filter((hold) => waiting.some(({ id }) => id === hold.interruptId));
  if (answered.length > 0) {
    const answers: Record<string, Json> = Object.fromEntries(
      answered.map((hold) => [hold.interruptId, resumeValue(hold)]),
    );
    const { update, goto } = payload.command ?? {};
    return {
      payload,
      input: {
        kind: "resume",
        answers,
        ...(update === undefined ? {} : { update }),
        ...(goto === undefined ? {} : { goto }),
      },
      handed,
    };
  }
  if (await host.engine.hasWorkLeft(graph, saver, run.threadId)) {
    const stop = await stopAtHead(host, { ...from, handed });
    return stop ? { payload, outcome: stop, handed } : { payload, input: { kind: "continue" }, handed };
  }
  return {
    payload,
    outcome: waiting.length > 0 ? { kind: "interrupted", interrupts: waiting } : { kind: "done" },
    handed,
  };
}

/** A breakpoint that nobody has approved: who goes on must not pass it. */
async function stopAtHead(
  { deps, engine }: { readonly deps: Deps; readonly engine: Engine },
  from: Omit<StartFrom, "first">,
): Promise<Extract<DriveOutcome, { readonly kind: "interrupted" }> | undefined> {
  const stop = (await breakpointInTheWay(deps, from.run, from)) ?? (await engine.breakpointAtHead(from));
  return stop && { kind: "interrupted", interrupts: [stop] };
}

/** Of a run that has waited for timers and callbacks: what it was asked to begin with has been done. */
function stillToDo({ run, payload }: StartFrom): RunPayload {
  if (run.kind === "continuation" && run.sleep?.kind !== "hold") return payload;
  const { command: _command, checkpoint: _checkpoint, ...rest } = payload;
  return rest;
}

/**
 * Takes *all* decided, unapplied holds of a thread over for a continuation, and those of its own for a run that has waited
 * for timers and callbacks. From then on an earlier holder's word on
 * them fails, because it was not given to its fence (I2).
 */
export async function handOver(deps: Deps, run: Run, fence: number): Promise<readonly Hold[]> {
  if (run.kind !== "continuation" && run.deliveries === 0) return [];
  const isOurs = ({ runId, carriedBy }: Hold): boolean =>
    run.kind === "continuation" || runId === run.runId || carriedBy === run.runId;
  const holds = await deps.holds.ofThread(run, run.generation);
  const taken = await Promise.all(
    holds
      .filter(({ value }) => value.state === "decided" && isOurs(value))
      .map(({ value }) => deps.holds.update(run, value.holdId, (hold) => handedTo(hold, fence, run.runId))),
  );
  const handed = taken.flatMap((stored) => (stored?.value.state === "decided" ? [stored.value] : []));
  // Before they are settled, which ends their being due: their own follow-up may not have come to it.
  const due = handed.filter((hold) => hold.followUpDue);
  await Promise.all(due.flatMap((hold) => [auditHold(deps, hold), tellOfDecision(deps, hold)]));
  return handed;
}
