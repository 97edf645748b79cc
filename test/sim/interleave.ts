/**
 * States of a small fleet on one table, and every step that may come next: a table call of some process takes effect, a
 * worker looks at a thread that is due, and, while there is one left, the fault that is searched for.
 *
 * Time stands still. A lease is never run out by the clock: one of a dead owner may be taken over at any moment, and
 * one of an owner that lives (and stands still meanwhile) is the fault `takeover`. Two states are the same only if all
 * items are, all writes that the checker speaks of were made in the same order, and every process has been told the same.
 */
import type { Hold } from "../../src/core/hold.ts";
import type { Lease } from "../../src/core/thread.ts";
import type { Answer, Fact } from "./facts.ts";
import { isOpen } from "./history.ts";
import { eagerTask, inOrder } from "./interleave-eager.ts";
import { advancing, following } from "./interleave-activities.ts";
import type { Request } from "./interleave-activities.ts";
import { chained, changed, factsOf, headerIn, holdsIn, isToStop, runOf, threadIn } from "./interleave-facts.ts";
import type { Kept } from "./interleave-facts.ts";
import type { Input, Local, Processes } from "./interleave-process.ts";
import { applyOp, isWrite } from "./interleave-table.ts";
import type { TableOp } from "./interleave-table.ts";
import { EPOCH } from "./scheduler.ts";

/** What goes wrong, once at most and at any moment. */
export const FAULT_KINDS = ["no fault", "a crash", "a takeover", "a lost reply"] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

/** When a client makes a request: undefined while it does not yet. */
export type Client = readonly [name: string, request: (view: View) => Request | undefined];

export interface Scenario {
  readonly name: string;
  readonly clients: readonly Client[];
  /** A worker follows a decision up beside the client who made it; otherwise only when nobody else is about it. */
  readonly doubles?: true;
}

/** What clients know. */
export interface View {
  readonly answers: ReadonlyMap<string, Answer>;
  /** The reviews that wait; `raised`: also those of a run that has not ended as held yet. */
  readonly holds: (which: "open" | "raised") => readonly Hold[];
}

interface Task {
  readonly local: Local;
  readonly request?: Request;
  /** The call whose reply was lost: it will be made again. */
  readonly lost?: number;
}

/** How a state was reached. */
export interface Trail {
  readonly before: Trail | undefined;
  readonly choice: string;
  readonly facts: readonly Fact[];
}

export interface State extends Kept {
  readonly tasks: ReadonlyMap<string, Task>;
  readonly answers: ReadonlyMap<string, Answer>;
  readonly faults: number;
  readonly trail: Trail;
}

/** The next step, by the name under which a schedule is repeated. */
export interface Choice {
  readonly name: string;
  readonly take: () => Promise<State>;
}

export interface Fleet {
  readonly scenario: Scenario;
  readonly fault: FaultKind;
  readonly processes: Processes;
  /** Between what a worker reads before a claim and the claim, others come. */
  readonly raced: boolean;
  /** Calls that one process made together take effect in any order, and not only in that of `inOrder`. */
  readonly anyOrder: boolean;
}

/** So many may have the thread at hand at once, dead ones not counted. */
const WORKERS = 2;
const NOBODY: Answer = { is: "unknown", code: "crashed" };

export async function initialState(fleet: Fleet): Promise<State> {
  return settled(fleet, {
    items: new Map(),
    sum: 0,
    order: { events: "", records: "", main: "" },
    tasks: new Map(),
    answers: new Map(),
    faults: fleet.fault === "no fault" ? 0 : 1,
    trail: { before: undefined, choice: "", facts: [] },
  });
}

/** What makes two states the same. */
export function keyOf({ sum, order, tasks, answers, faults }: State): string {
  const running = [...tasks].map(([name, { local, lost = "" }]) => `${name}:${local.id}:${lost}`).toSorted();
  const told = [...answers].map(([name, answer]) => `${name}=${Object.values(answer).join(" ")}`).toSorted();
  return [sum, ...Object.values(order), faults, ...running, ...told].join("|");
}

/** Every step that may come next; none when everything has come to rest. */
export function choicesOf(fleet: Fleet, state: State): readonly Choice[] {
  const header = headerIn(state.items);
  const lease = threadIn(header)?.lease;
  const owner = lease && ownerOf(lease);
  const fence = threadIn(header)?.fence ?? 0;
  const mayTakeOver = fleet.fault === "a takeover" && state.faults > 0;
  const mayBeMet =
    mayTakeOver || isToStop(state.items) || fleet.scenario.clients.some(([name]) => mayCancel(state, name));
  const eager = eagerTask({ header, fence, owner, mayBeMet, raced: fleet.raced, tasks: state.tasks });
  if (eager !== undefined) return stepsOf(fleet, state, eager);
  return [
    ...[...state.tasks.keys()].flatMap((name) => stepsOf(fleet, state, name)),
    ...offersOf(fleet, state),
    ...followUpsOf(fleet, state),
  ];
}

const mayCancel = ({ answers }: State, client: string): boolean => client.startsWith("cancel") && !answers.has(client);

function stepsOf(fleet: Fleet, state: State, name: string): readonly Choice[] {
  const task = state.tasks.get(name);
  if (!task || task.local.ended || isTwin(state, name, task)) return [];
  const { local, request, lost } = task;
  const mayFail = state.faults > 0;
  const calls = inOrder(local.calls).slice(0, fleet.anyOrder ? undefined : 1);
  const choices = calls.flatMap(([call, op]): Choice[] => {
    const step = { name: `${name}#${call}`, take: () => called(fleet, state, { name, task, call, op }) };
    if (!mayFail || fleet.fault !== "a lost reply" || !isWrite(op)) return [step];
    return [
      step,
      { name: `${name}#${call}:lost`, take: () => called(fleet, state, { name, task, call, op, lost: true }) },
    ];
  });
  const isIdle = local.calls.size === 0;
  if (request && isIdle && local.timers === 0)
    choices.push({ name: `${name}:timer`, take: () => told(fleet, state, { name, task, input: { kind: "timer" } }) });
  if (!request && local.looks === 0 && isToStop(state.items))
    choices.push({ name: `${name}:look`, take: () => looked(fleet, state, name, task) });
  if (mayFail && fleet.fault === "a crash" && lost === undefined) choices.push(...crashesOf(fleet, state, name));
  return choices;
}

/** Two workers with the same header at hand are the same but for their names: the other one comes first. */
function isTwin({ tasks }: State, name: string, { local }: Task): boolean {
  const other = name.endsWith("b") ? tasks.get(name.slice(0, -1))?.local : undefined;
  return other?.activity.given === local.activity.given && !hasBegun(other) && !hasBegun(local);
}

/** A process dies with calls in flight, and any of its writes may still land. */
function crashesOf(fleet: Fleet, state: State, name: string): readonly Choice[] {
  const task = state.tasks.get(name);
  const writes = [...(task?.local.calls ?? [])].filter(([, op]) => isWrite(op));
  const subsets = writes.reduce<(typeof writes)[]>(
    (known, write) => [...known, ...known.map((subset) => [...subset, write])],
    [[]],
  );
  // Who has done nothing yet and dies is as one who never came.
  const deaths = task && hasBegun(task.local) ? subsets : subsets.filter((landed) => landed.length > 0);
  return deaths.map((landed) => ({
    name: [`${name}:crash`, ...landed.map(([call]) => call)].join("+"),
    take: () => crashed(fleet, state, name, landed),
  }));
}

/** The activity that holds a lease, alive or dead. */
const ownerOf = ({ owner }: Lease): string => owner.split("/")[0] ?? "";

/** A worker that is free looks at the thread. Of two who have seen the same, the one who came first goes first. */
function offersOf(fleet: Fleet, state: State): readonly Choice[] {
  const header = headerIn(state.items);
  const thread = threadIn(header);
  const workers = [...state.tasks.keys()].filter((name) => name.startsWith("worker"));
  if (workers.length === WORKERS || !header?.index?.due || !thread) return [];
  const { lease } = thread;
  const isFault = lease !== undefined && state.tasks.has(ownerOf(lease));
  if (isFault && (fleet.fault !== "a takeover" || state.faults === 0)) return [];
  const first = `worker@${thread.fence + 1}`;
  const name = workers.includes(first) ? `${first}b` : first;
  const activity = advancing(name, { value: thread, version: header.version }, lease !== undefined);
  const faults = state.faults - (isFault ? 1 : 0);
  return [
    { name: `${name}:begin`, take: () => begun(fleet, { ...state, faults }, { activity, choice: `${name}:begin` }) },
  ];
}

function followUpsOf(fleet: Fleet, state: State): readonly Choice[] {
  const tasks = [...state.tasks];
  const isAbout = tasks.some(
    ([, { local, request }]) => (request?.wish.do === "decide" || request?.wish.do === "resume") && hasBegun(local),
  );
  const isFollowed = tasks.some(([name]) => name.startsWith("follow"));
  if (isFollowed || (isAbout && !fleet.scenario.doubles)) return [];
  return holdsIn(state.items).flatMap(({ hold, item }) => {
    if (!item.index?.due) return [];
    const name = `follow-${item.version.toString(36).slice(-5)}`;
    return [
      {
        name: `${name}:begin`,
        take: () => begun(fleet, state, { activity: following(name, hold.holdId), choice: `${name}:begin` }),
      },
    ];
  });
}

async function begun(
  fleet: Fleet,
  state: State,
  { activity, choice }: { readonly activity: Local["activity"]; readonly choice: string },
): Promise<State> {
  const local = await fleet.processes.begin(activity);
  const trail = { before: state.trail, choice, facts: [] };
  return withTask({ ...state, trail }, activity.name, { local });
}

interface Calling {
  readonly name: string;
  readonly task: Task;
  readonly call: number;
  readonly op: TableOp;
  /** The reply does not arrive, and the call is repeated. */
  readonly lost?: boolean;
}

/** A call takes effect. */
async function called(fleet: Fleet, state: State, calling: Calling): Promise<State> {
  const { name, task, call, op, lost = false } = calling;
  const isRepeat = task.lost === call;
  const choice = `${name}#${call}${lost ? ":lost" : ""}`;
  const { state: here, result } = await affected(
    { ...state, trail: { before: state.trail, choice, facts: [] } },
    name,
    op,
  );
  if (lost) return withTask({ ...here, faults: state.faults - 1 }, name, { ...task, lost: call });
  const { lost: _, ...rest } = task;
  const next = isRepeat ? rest : task;
  return told(fleet, here, { name, task: next, input: { kind: "result", call, value: result } });
}

/** What a call does to the table. */
async function affected(
  state: State,
  by: string,
  op: TableOp,
): Promise<{ readonly state: State; readonly result: unknown }> {
  const applied = applyOp(state.items, op);
  const facts = await factsOf(by, applied);
  const { trail } = state;
  const after = changed(state, applied, facts);
  return {
    state: { ...after, trail: { ...trail, facts: [...trail.facts, ...facts] } },
    result: applied.result,
  };
}

/** A worker looks, at one instant, whether what it executes was asked to stop. */
async function looked(fleet: Fleet, state: State, name: string, task: Task): Promise<State> {
  const local = await fleet.processes.after(task.local, { kind: "look" });
  const here = { ...state, trail: { before: state.trail, choice: `${name}:look`, facts: [] } };
  const call = [...local.calls.keys()].find((number) => !task.local.calls.has(number));
  const op = call === undefined ? undefined : local.calls.get(call);
  if (call === undefined || op === undefined) return withTask(here, name, { ...task, local });
  const value = applyOp(state.items, op).result;
  return told(fleet, here, { name, task: { ...task, local }, input: { kind: "result", call, value } });
}

interface Telling {
  readonly name: string;
  readonly task: Task;
  readonly input: Input;
}

async function told(fleet: Fleet, state: State, { name, task, input }: Telling): Promise<State> {
  const local = await fleet.processes.after(task.local, input);
  const { trail } = state;
  const isOwnChoice = input.kind !== "result";
  const base = isOwnChoice ? { before: trail, choice: `${name}:${input.kind}`, facts: [] } : trail;
  const noted = local.notes.length === 0 ? base : { ...base, facts: [...base.facts, ...local.notes] };
  const order = local.notes.length === 0 ? state.order : chained(state.order, "main", JSON.stringify(local.notes));
  const here = { ...state, order, trail: noted };
  if (!local.ended) return settled(fleet, withTask(here, name, { ...task, local }));
  return settled(fleet, ended(here, name, { ...task, local }));
}

/** A worker is forgotten; a client has its answer, unless it is waiting for that of a repeat. */
function ended(state: State, name: string, { local, request }: Task): State {
  const rest = withTask(state, name, undefined);
  if (!request || !local.answer) return rest;
  const repeat = state.tasks.get(repeatOf(name));
  const isOvertaken = state.answers.has(repeatOf(name)) || (repeat !== undefined && hasBegun(repeat.local));
  return answered(rest, request, isOvertaken ? { is: "unknown", code: "repeated" } : local.answer);
}

/** The client that asks the same again. */
const repeatOf = (name: string): string => `${name}-again`;

const hasBegun = ({ calls }: Local): boolean => !calls.has(1);

function answered(state: State, { name, wish }: Request, answer: Answer): State {
  const fact: Fact = { kind: "answer", at: EPOCH, by: "client", wish, answer };
  const { trail } = state;
  return {
    ...state,
    answers: new Map(state.answers).set(name, answer),
    trail: { ...trail, facts: [...trail.facts, fact] },
  };
}

async function crashed(
  fleet: Fleet,
  state: State,
  name: string,
  landed: readonly (readonly [number, TableOp])[],
): Promise<State> {
  const task = state.tasks.get(name);
  const choice = [`${name}:crash`, ...landed.map(([call]) => call)].join("+");
  let here: State = { ...state, faults: state.faults - 1, trail: { before: state.trail, choice, facts: [] } };
  for (const [, op] of landed) ({ state: here } = await affected(here, name, op));
  const fact: Fact = { kind: "crashed", at: EPOCH, by: name };
  const rest = withTask({ ...here, trail: { ...here.trail, facts: [...here.trail.facts, fact] } }, name, undefined);
  return settled(fleet, task?.request ? answered(rest, task.request, NOBODY) : rest);
}

function withTask(state: State, name: string, task: Task | undefined): State {
  const tasks = new Map(state.tasks);
  if (task) tasks.set(name, task);
  else tasks.delete(name);
  return { ...state, tasks };
}

/** Clients who may make their request have made it: when it takes effect is up to the schedule. */
async function settled(fleet: Fleet, state: State): Promise<State> {
  let after = state;
  const view: View = {
    answers: state.answers,
    holds: (which) =>
      holdsIn(state.items).flatMap(({ hold }) =>
        hold.state === "pending" && (which === "raised" || isOpen(hold, runOf(state.items, hold.runId))) ? [hold] : [],
      ),
  };
  for (const [name, ask] of fleet.scenario.clients) {
    if (state.tasks.has(name) || state.answers.has(name)) continue;
    const request = ask(view);
    if (!request) continue;
    const local = await fleet.processes.begin(request.activity);
    after = withTask(after, name, { local, request });
  }
  return after;
}
