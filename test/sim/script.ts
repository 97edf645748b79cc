/**
 * A graph as a script, executed through the real saver in the way LangGraph does it: an input checkpoint, then per
 * superstep the writes of its tasks and a checkpoint. It stands in for LangGraph.js where thousands of schedules run.
 *
 * The state keeps a line for everything that took place, so that the end shows what was lost or done twice.
 */
import { INTERRUPT, RESUME, uuid5 } from "@langchain/langgraph-checkpoint";
import type { Checkpoint, CheckpointTuple, PendingWrite } from "@langchain/langgraph-checkpoint";
import { stillWaits } from "../../src/checkpoint/interrupts.ts";
import type { FencedSaver } from "../../src/checkpoint/saver.ts";
import type { Clock } from "../../src/core/clock.ts";
import { isHoldpointError } from "../../src/core/errors.ts";
import type { IdSource } from "../../src/core/ids.ts";
import type { Json } from "../../src/core/json.ts";
import { carriedAnswer } from "../../src/core/review-value.ts";
import type { Drive, DriveOutcome, WaitingInterrupt } from "../../src/langgraph/drive.ts";
import type { Engine } from "../../src/runtime/engine.ts";
import type { EffectPolicy } from "../../src/core/effect.ts";
import type { EffectAt, Performed } from "./effects.ts";
import { interruptIdOf, keyOf, questionOf, tagOfAnswer } from "./script-questions.ts";
import type { Asking } from "./script-questions.ts";

/** The input on behalf of which a script is executed, by its name. */
export const inputOfLog = (log: readonly string[]): string =>
  log.findLast((line) => line.startsWith("in "))?.slice(3) ?? "nothing";

/** What one task of a superstep does. */
export type Task =
  | { readonly do: "step"; readonly ms: number }
  /** An effect upon the world, journaled. */
  | {
      readonly do: "effect";
      readonly name: string;
      readonly policy: EffectPolicy;
      readonly irreversible?: boolean;
      readonly ms: number;
    }
  /** A person must decide, or several; `shown` is what the digest covers. It may fail once it has its answer. */
  | {
      readonly do: "review";
      readonly shown: string;
      readonly fails?: boolean;
      readonly dueInMs?: number;
      readonly quorum?: number;
      /** Shows something else whenever it is executed by another run, or another delivery. */
      readonly wavers?: boolean;
    }
  /** Another system must answer within this time. */
  | { readonly do: "callback"; readonly timeoutMs: number }
  /** Waits so long, by the table's time. */
  | { readonly do: "timer"; readonly ms: number }
  | { readonly do: "ask" }
  /** It fails so often, and each time is to be tried again after so long: more than a delivery waits for. */
  | { readonly do: "flaky"; readonly failures: number; readonly delayMs: number }
  | { readonly do: "fail" };

/** Supersteps, each of one or more tasks that run side by side. */
export type Script = readonly (readonly Task[])[];

export interface ScriptHost {
  readonly clock: Clock;
  readonly ids: IdSource;
  /** Table time. */
  readonly now: () => number;
  /** Told when the code that asked gets its answer. */
  readonly heard: (tag: string) => void;
  /** Performs a journaled effect on behalf of the graph. */
  readonly effect: (drive: Drive, at: EffectAt) => Promise<Performed>;
  /** Gives another system what it needs to answer the callback of this key. */
  readonly handOut: (drive: Drive, key: string) => Promise<void>;
}

export type ScriptState = {
  readonly script: Script;
  readonly pc: number;
  readonly log: readonly string[];
};

interface Position {
  readonly tuple: CheckpointTuple;
  readonly state: ScriptState;
  /** Output of each task of the superstep that has one. */
  readonly done: ReadonlyMap<string, string>;
}

export function createScriptEngine(host: ScriptHost): Engine {
  return {
    async drive(drive) {
      try {
        return await run(host, drive);
      } catch (error) {
        if (isHoldpointError(error, "lost")) return { kind: "lost" };
        if (isHoldpointError(error, "conflict") && error.detail?.["reason"] === "head_moved") return { kind: "moved" };
        if (drive.signal.aborted) return { kind: "aborted" };
        throw error;
      }
    },
    missingNodes: () => Promise.resolve([]),
    breakpointAtHead: () => Promise.resolve(undefined),
    async hasWorkLeft(_graph, saver, threadId) {
      const position = await read(saver, threadId);
      if (!position || position.state.pc >= position.state.script.length) return false;
      const open = tasksOf(position).filter(({ id }) => !position.done.has(id));
      if (open.length === 0) return true;
      const waiting = new Set((await saver.pendingInterrupts()).flatMap(({ owner }) => owner ?? []));
      const still = new Set((await saver.interruptsThat(stillWaits, [...waiting])).map(({ taskId }) => taskId));
      return open.some(({ id }) => !still.has(id));
    },
  };
}

/** Everything that took place on a thread, with the tasks that are done in a superstep that is not. */
export async function scriptLog(saver: FencedSaver, threadId: string): Promise<readonly string[]> {
  const position = await read(saver, threadId);
  return position ? [...position.state.log, ...position.done.values()] : [];
}

async function run(host: ScriptHost, drive: Drive): Promise<DriveOutcome> {
  const { saver, input, signal } = drive;
  let position = await read(saver, drive.run.threadId);
  if (input.kind === "input") position = await begin(host, drive, position);
  const answers = input.kind === "resume" ? input.answers : {};
  while (position && position.state.pc < position.state.script.length) {
    if (signal.aborted) return { kind: "aborted" };
    if (drive.drain.aborted) return { kind: "drained" };
    const outcome = await superstep({ host, drive, position, answers });
    if (outcome !== "done") return outcome;
    position = await advance(host, drive, (await read(saver, drive.run.threadId)) ?? position);
  }
  return { kind: "done" };
}

const FAILURE: DriveOutcome = { kind: "failed", error: { name: "Error", message: "as scripted" }, parks: false };
const CONFIG = { checkpoint_ns: "" };

async function read(saver: FencedSaver, threadId: string): Promise<Position | undefined> {
  const tuple = await saver.getTuple({ configurable: { ...CONFIG, thread_id: threadId } });
  if (!tuple) return undefined;
  const state = tuple.checkpoint.channel_values["state"] as ScriptState;
  const done = new Map(
    (tuple.pendingWrites ?? []).flatMap(([task, channel, value]) =>
      channel === "state" ? [[task, String(value)] as const] : [],
    ),
  );
  return { tuple, state, done };
}

function tasksOf({ tuple, state }: Position): readonly { readonly id: string; readonly task: Task }[] {
  const tasks = state.script[state.pc] ?? [];
  return tasks.map((task, index) => ({ id: uuid5(`${state.pc}.${index}`, tuple.checkpoint.id), task }));
}

/** New input: what waits at the head is dropped, as LangGraph does. */
async function begin(host: ScriptHost, drive: Drive, before: Position | undefined): Promise<Position | undefined> {
  const { script, ballast, tag } = inputOf(drive);
  const state: ScriptState = { script, pc: 0, log: [...(before?.state.log ?? []), `in ${tag}`] };
  await putCheckpoint(host, drive, { before, state, source: "input", ballast: ballastOf(tag, ballast) });
  return read(drive.saver, drive.run.threadId);
}

function inputOf({ payload }: Drive): { readonly script: Script; readonly ballast: number; readonly tag: string } {
  const { script, ballast } = (payload.input ?? { script: [], ballast: 0 }) as {
    readonly script: Script;
    readonly ballast: number;
  };
  const tag = payload.metadata?.["tag"];
  return { script, ballast, tag: typeof tag === "string" ? tag : "untagged" };
}

const ballastOf = (tag: string, bytes: number): string | undefined =>
  bytes === 0 ? undefined : `${tag} `.repeat(Math.ceil(bytes / (tag.length + 1)));

interface Step {
  readonly host: ScriptHost;
  readonly drive: Drive;
  readonly position: Position;
  readonly answers: Readonly<Record<string, Json>>;
}

async function superstep(step: Step): Promise<"done" | DriveOutcome> {
  const open = tasksOf(step.position).filter(({ id }) => !step.position.done.has(id));
  const results = await Promise.all(open.map(({ id, task }) => perform(step, id, task)));
  const failed = results.find((result) => typeof result === "object");
  if (step.drive.signal.aborted) return { kind: "aborted" };
  if (failed) return failed;
  if (results.every((result) => result === "done")) return "done";
  const pending = await step.drive.saver.pendingInterrupts();
  const interrupts = pending.map(({ id, value, owner }): WaitingInterrupt => ({
    id,
    value: value as Json,
    raisedBy: owner,
    node: "script",
  }));
  return { kind: "interrupted", interrupts };
}

async function perform(step: Step, taskId: string, task: Task): Promise<"done" | "interrupted" | DriveOutcome> {
  const { host, drive, position } = step;
  switch (task.do) {
    case "step":
      await host.clock.sleep(task.ms, drive.signal);
      return output(step, taskId, `step ${position.state.pc}`);
    case "effect":
      return effect(step, taskId, task);
    case "review":
    case "timer":
    case "callback":
    case "ask":
      return ask(step, taskId, task);
    case "flaky":
      return attempt(step, taskId, task);
    case "fail":
      return FAILURE;
  }
}

/** How often it has failed is known from the run item, and from nowhere else. */
async function attempt(
  step: Step,
  taskId: string,
  { failures, delayMs }: Extract<Task, { do: "flaky" }>,
): Promise<"done" | DriveOutcome> {
  const { drive, position } = step;
  const made = drive.retries[taskId] ?? 0;
  if (made >= failures) return output(step, taskId, `step ${position.state.pc}`);
  const retries = { ...drive.retries, [taskId]: made + 1 };
  return { kind: "backoff", delayMs, retries, error: { name: "Error", message: "flaky, as scripted" } };
}

async function effect(
  step: Step,
  taskId: string,
  asked: Extract<Task, { do: "effect" }>,
): Promise<"done" | DriveOutcome> {
  const { host, drive, position } = step;
  const index = tasksOf(position).findIndex(({ id }) => id === taskId);
  const path = `${position.state.pc}.${index}`;
  const performed = await host.effect(drive, { ...asked, path, of: inputOfLog(position.state.log) });
  if (performed === "lost") return { kind: "lost" };
  if (performed === "done") return output(step, taskId, `effect ${asked.name}`);
  return {
    kind: "failed",
    error: { name: "effect_ambiguous", message: `whether ${asked.name} happened is unknown` },
    parks: true,
  };
}

/** An interrupt: answered by the map that was handed in, or by answers that are stored already. */
async function ask(step: Step, taskId: string, task: Asking): Promise<"done" | "interrupted" | DriveOutcome> {
  const { host, drive, position, answers } = step;
  const stored = answersOf(position, taskId);
  const handed = answers[interruptIdOf(taskId, stored)];
  const had = handed === undefined ? stored : [...stored, handed];
  const id = interruptIdOf(taskId, had.slice(0, -1));
  const { kind, deliveries } = drive.run;
  const at = { taskId, pc: position.state.pc, now: host.now(), mood: `${kind} ${deliveries}`, had };
  const question = questionOf(task, at);
  const answer = had.at(-1);
  const config = configAt(drive, position.tuple);
  const isTaken = answer !== undefined && question.takes(answer);
  if (answer !== undefined) host.heard(`${isTaken ? "" : "refused "}${tagOfAnswer(answer, id)}`);
  const resumed: PendingWrite[] = answer === undefined ? [] : [[RESUME, had]];
  if (!isTaken) {
    if (task.do === "callback") await host.handOut(drive, keyOf(taskId, had));
    const raised = { id: interruptIdOf(taskId, had), value: question.value };
    await drive.saver.putWrites(config, [[INTERRUPT, [raised]], ...resumed], taskId);
    return "interrupted";
  }
  await drive.saver.putWrites(config, resumed, taskId);
  if (task.do === "review" && task.fails === true) return FAILURE;
  return output(
    step,
    taskId,
    `answer ${id} ${carriedAnswer(answer)?.answer.type ?? "value"} ${tagOfAnswer(answer, id)}`,
  );
}

function answersOf({ tuple }: Position, taskId: string): readonly Json[] {
  const found: unknown = (tuple.pendingWrites ?? []).find(([task, on]) => task === taskId && on === RESUME)?.[2];
  return Array.isArray(found) ? (found as readonly Json[]) : []; // as they were put
}

async function output({ drive, position }: Step, taskId: string, line: string): Promise<"done"> {
  await drive.saver.putWrites(configAt(drive, position.tuple), [["state", line]], taskId);
  return "done";
}

/** The checkpoint of a superstep, from the writes of its tasks. */
async function advance(host: ScriptHost, drive: Drive, position: Position): Promise<Position | undefined> {
  const { state, done } = position;
  const lines = tasksOf(position).map(({ id }) => done.get(id) ?? "missing");
  await putCheckpoint(host, drive, {
    before: position,
    state: { ...state, pc: state.pc + 1, log: [...state.log, ...lines] },
    source: "loop",
  });
  await drive.emit({ kind: "data", event: "updates", data: { pc: state.pc + 1 } });
  return read(drive.saver, drive.run.threadId);
}

interface NewCheckpoint {
  readonly before: Position | undefined;
  readonly state: ScriptState;
  readonly source: "input" | "loop";
  readonly ballast?: string | undefined;
}

async function putCheckpoint(
  host: ScriptHost,
  drive: Drive,
  { before, state, source, ballast }: NewCheckpoint,
): Promise<void> {
  const versions = before?.tuple.checkpoint.channel_versions ?? {};
  const values = before?.tuple.checkpoint.channel_values ?? {};
  const changed = {
    state: nextOf(versions["state"]),
    ...(ballast === undefined ? {} : { ballast: nextOf(versions["ballast"]) }),
  };
  const checkpoint: Checkpoint = {
    v: 4,
    id: host.ids.uuid(),
    ts: new Date(host.clock.wall()).toISOString(),
    channel_values: { ...values, state, ...(ballast === undefined ? {} : { ballast }) },
    channel_versions: { ...versions, ...changed },
    versions_seen: {},
  };
  const { runId } = drive.run;
  const metadata = { source, step: (before?.tuple.metadata?.step ?? -2) + 1, parents: {}, run_id: runId };
  const config = before
    ? configAt(drive, before.tuple)
    : { configurable: { ...CONFIG, thread_id: drive.run.threadId } };
  await drive.saver.put(config, checkpoint, metadata, changed);
}

const nextOf = (version: number | string | undefined): number => Number(version ?? 0) + 1;

const configAt = (drive: Drive, tuple: CheckpointTuple) => ({
  configurable: { ...CONFIG, thread_id: drive.run.threadId, checkpoint_id: tuple.checkpoint.id },
});
