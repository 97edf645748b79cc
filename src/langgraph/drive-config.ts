/** What LangGraph is given for one delivery: its input and its configuration. */
import { Command, Send } from "@langchain/langgraph";
import { HoldpointError } from "../core/errors.ts";
import type { Json, JsonObject } from "../core/json.ts";
import type { RunPayload } from "../core/run.ts";
import type { Drive } from "./drive.ts";
import type { CompiledGraph } from "./registry.ts";

/** Keys of `configurable` that say where and as whom a run executes: never the caller's to set. */
const OWN_KEYS = new Set([
  "thread_id",
  "run_id",
  "graph_id",
  "assistant_id",
  "user_id",
  "checkpoint_id",
  "checkpoint_ns",
  "checkpoint_map",
]);

/** The graph's input: a value, a Command, or `null` to go on from the checkpoint. */
export function inputOf({ input, payload }: Pick<Drive, "input" | "payload">): unknown {
  switch (input.kind) {
    case "resume":
      return new Command({ resume: { ...input.answers }, ...updateAndGoto(input) });
    case "continue":
      return null;
    case "input": {
      const command = updateAndGoto(input.payload.command ?? {});
      if (Object.keys(command).length > 0) return new Command(command);
      return payload.input ?? null;
    }
  }
}

/** How many messages at the end of the first state are this run's own input. */
export function inputMessages({ input }: Pick<Drive, "input">): number {
  const value = input.kind === "input" ? input.payload.input : undefined;
  const messages = isObject(value) ? value["messages"] : undefined;
  return Array.isArray(messages) ? messages.length : messages === undefined ? 0 : 1;
}

function updateAndGoto({ update, goto }: { readonly update?: Json; readonly goto?: Json }): {
  update?: Record<string, unknown>;
  goto?: Goto;
} {
  return {
    // LangGraph's type says object; it takes a list of pairs as well.
    ...(update === undefined || update === null ? {} : { update: update as Record<string, unknown> }),
    ...(goto === undefined || goto === null ? {} : { goto: gotoOf(goto) }),
  };
}

type Goto = string | Send | (string | Send)[];

function gotoOf(goto: Json): Goto {
  return Array.isArray(goto) ? goto.map(oneGoto) : oneGoto(goto);
}

/** A node's name, or a Send written as `{node, input}`. */
function oneGoto(goto: Json): string | Send {
  if (typeof goto === "string") return goto;
  const node = isObject(goto) ? goto["node"] : undefined;
  if (!isObject(goto) || typeof node !== "string")
    throw new HoldpointError("invalid", "goto names a node, or is a Send of {node, input}");
  return new Send(node, goto["input"] ?? goto["args"] ?? null);
}

/** `configurable`: the assistant's under the run's, the caller's headers, and what only the runtime may say. */
export function configurableOf(drive: Drive): Record<string, unknown> {
  const { run, payload, assistant, context } = drive;
  const assistants = assistant.config["configurable"];
  return {
    ...payload.headers,
    ...allowed(isObject(assistants) ? assistants : {}),
    ...allowed(payload.config?.configurable ?? {}),
    ...startOf(drive),
    thread_id: run.threadId,
    run_id: run.runId,
    graph_id: run.graphId,
    assistant_id: run.assistantId,
    user_id: run.startedBy,
    langgraph_auth_user_id: run.startedBy,
    __pregel_strict_resume: true,
    __holdpoint: context,
  };
}

function allowed(configurable: JsonObject): JsonObject {
  return Object.fromEntries(
    Object.entries(configurable).filter(([key]) => !key.startsWith("__") && !OWN_KEYS.has(key)),
  );
}

/** The checkpoint to start from, unless the run has begun already: from then on it is where the head is. */
function startOf({ run, payload, input, saver }: Drive): Record<string, unknown> {
  if (input.kind === "resume" || saver.head()?.runId === run.runId) return {};
  const asked = payload.config?.configurable?.["checkpoint_id"];
  const checkpointId = payload.checkpoint?.checkpointId ?? (typeof asked === "string" ? asked : undefined);
  return checkpointId === undefined ? {} : { checkpoint_id: checkpointId };
}

/** What every checkpoint of the run bears. Credentials never get in. */
export function metadataOf({ run, payload }: Pick<Drive, "run" | "payload">): Record<string, Json> {
  const own = Object.entries(payload.metadata ?? {}).filter(
    ([key]) => !key.startsWith("__") && !key.startsWith("langgraph_auth"),
  );
  return {
    ...Object.fromEntries(own),
    run_id: run.runId,
    thread_id: run.threadId,
    graph_id: run.graphId,
    assistant_id: run.assistantId,
    run_attempt: run.deliveries + 1,
  };
}

/** Tasks of one superstep that execute at once, for an assistant and a graph that do not say. */
const MAX_CONCURRENCY = 100;

/** How many tasks of a superstep execute at once: the assistant's, the graph's, or the default. */
export function maxConcurrencyOf({ assistant }: Pick<Drive, "assistant">, graph: CompiledGraph): number {
  const ofAssistant = assistant.config["max_concurrency"];
  const asked = typeof ofAssistant === "number" ? ofAssistant : graph.config?.maxConcurrency;
  return asked ?? MAX_CONCURRENCY;
}

/** The bound on supersteps: the run's own, the assistant's, the graph's, or the default. Never undefined. */
export function recursionLimitOf({ payload, assistant, limits }: Drive, graph: CompiledGraph): number {
  const ofAssistant = assistant.config["recursion_limit"];
  return (
    payload.config?.recursionLimit ??
    (typeof ofAssistant === "number" ? ofAssistant : undefined) ??
    graph.config?.recursionLimit ??
    limits.steps
  );
}

/** The context object, if anybody gave one: the assistant's under the run's. */
export function contextOf({ assistant, payload }: Pick<Drive, "assistant" | "payload">): JsonObject | undefined {
  const context = { ...assistant.context, ...payload.context };
  return Object.keys(context).length === 0 ? undefined : context;
}

/** Static breakpoints: the run's, or else what the graph was compiled with. */
export function breakpointsOf(payload: RunPayload, graph: CompiledGraph) {
  const before = payload.interruptBefore ?? graph.interruptBefore;
  const after = payload.interruptAfter ?? graph.interruptAfter;
  return { before: nodes(before), after: nodes(after) };
}

const nodes = (asked: unknown): "*" | string[] => (asked === "*" ? "*" : Array.isArray(asked) ? asked.map(String) : []);

/** Tags of the assistant and of the run. */
export function tagsOf({ assistant, payload }: Pick<Drive, "assistant" | "payload">): string[] {
  const ofAssistant = assistant.config["tags"];
  return [...(Array.isArray(ofAssistant) ? ofAssistant.map(String) : []), ...(payload.config?.tags ?? [])];
}

const isObject = (value: unknown): value is JsonObject =>
  typeof value === "object" && value !== null && !Array.isArray(value);
