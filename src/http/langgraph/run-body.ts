/** What the body of a request for a run means. */
import { z } from "zod";
import { HoldpointError } from "../../core/errors.ts";
import type { Json } from "../../core/json.ts";
import { MULTITASK_STRATEGIES, STREAM_MODES } from "../../core/run.ts";
import type { CheckpointSelector, RunConfig, RunPayload, RunSettings, StreamMode } from "../../core/run.ts";
import { json, jsonObject, name, optional, parse, present, uuid } from "../parse.ts";
import { isObject } from "./objects.ts";

/** The selector of a checkpoint, as bodies of runs and of states carry it. */
export const checkpointSchema = z.object({
  thread_id: optional(uuid),
  checkpoint_id: optional(name),
  checkpoint_ns: optional(z.string().max(4096)),
});

const config = z.object({
  tags: optional(z.array(z.string().max(512)).max(100)),
  recursion_limit: optional(z.int().min(1).max(100_000)),
  configurable: optional(jsonObject),
  metadata: optional(jsonObject),
});

const sendTo = z.object({ node: name, input: json });
const goto = z.union([z.string(), sendTo, z.array(z.union([z.string(), sendTo]))]);
const command = z.object({
  resume: json.optional(),
  update: optional(z.union([jsonObject, z.array(z.tuple([z.string(), json]))])),
  goto: optional(goto),
});

const nodes = z.union([z.literal("*"), z.array(name).max(1000)]);
const text = z.string().max(64);

const MAX_DELAY_SECONDS = 30 * 24 * 3600;

const runBody = z.object({
  assistant_id: name,
  input: json.optional(),
  command: optional(command),
  config: optional(config),
  context: optional(jsonObject),
  checkpoint: optional(checkpointSchema),
  checkpoint_id: optional(name),
  metadata: optional(jsonObject),
  interrupt_before: optional(nodes),
  interrupt_after: optional(nodes),
  stream_mode: optional(z.union([text, z.array(text).max(32)])),
  stream_subgraphs: optional(z.boolean()),
  stream_resumable: optional(z.boolean()),
  multitask_strategy: optional(z.enum(MULTITASK_STRATEGIES)),
  if_not_exists: optional(z.enum(["reject", "create"])),
  on_disconnect: optional(z.enum(["continue", "cancel"])),
  on_completion: optional(z.enum(["delete", "keep"])),
  durability: optional(z.enum(["sync", "async", "exit"])),
  after_seconds: optional(z.number().min(0).max(MAX_DELAY_SECONDS)),
  on_pending: optional(z.literal("cancel")),
  webhook: optional(z.url().max(2048)),
  feedback_keys: optional(z.array(z.string())),
});
type RunBody = z.infer<typeof runBody>;

/** Fields that the request of a run may have, those included that are accepted and have no effect. */
export const RUN_FIELDS: ReadonlySet<string> = new Set([
  ...Object.keys(runBody.shape),
  "checkpoint_during",
  "checkpoint_map",
  "include",
  "langsmith_tracer",
  "namespace",
  "strict_resume",
]);

/** A request for a run, understood. */
export interface RunRequest {
  readonly assistantId: string;
  readonly payload: RunPayload;
  readonly settings: RunSettings;
  readonly ifNotExists: "reject" | "create";
  readonly onDisconnect: "continue" | "cancel";
  /** See `AcceptRequest`. */
  readonly afterMs?: number;
  readonly onPending?: "cancel";
}

export interface RunBodyContext {
  /** Undefined for a stateless run. */
  readonly threadId: string | undefined;
  /** Modes of a request that names none. */
  readonly defaultModes: readonly StreamMode[];
  /** Request headers that the graph may see. */
  readonly headers: Readonly<Record<string, string>>;
}

/** @throws HoldpointError `invalid` naming the path, `unsupported` naming what is not served yet */
export function parseRunBody(value: unknown, context: RunBodyContext): RunRequest {
  const body = parse(runBody, value, "body");
  refuseUnsupported(body);
  const stateless = context.threadId === undefined;
  return {
    assistantId: body.assistant_id,
    payload: payloadOf(body, context),
    settings: {
      streamModes: streamModesOf(body.stream_mode) ?? context.defaultModes,
      streamSubgraphs: body.stream_subgraphs ?? false,
      streamResumable: body.stream_resumable ?? false,
      multitaskStrategy: body.multitask_strategy ?? "enqueue",
      ...(stateless ? { onCompletion: body.on_completion ?? "delete" } : {}),
      ...present({ webhook: body.webhook }),
    },
    ifNotExists: body.if_not_exists ?? "reject",
    onDisconnect: body.on_disconnect ?? "continue",
    ...present({ afterMs: delayOf(body), onPending: body.on_pending }),
  };
}

function delayOf({ after_seconds: seconds, command }: RunBody): number | undefined {
  if (seconds === undefined || seconds === 0) return undefined;
  if (command?.resume !== undefined)
    throw new HoldpointError("invalid", "body.after_seconds: an answer is not delayed");
  return Math.ceil(seconds * 1000);
}

function payloadOf(body: RunBody, { threadId, headers }: RunBodyContext): RunPayload {
  const { config: own, checkpoint } = configOf(body, threadId);
  const metadata = body.config?.metadata || body.metadata ? { ...body.config?.metadata, ...body.metadata } : undefined;
  const givenCommand = commandOf(body);
  return present({
    input: givenCommand ? undefined : (body.input ?? undefined),
    command: givenCommand,
    config: own,
    context: body.context,
    checkpoint,
    metadata,
    interruptBefore: body.interrupt_before,
    interruptAfter: body.interrupt_after,
    headers: Object.keys(headers).length === 0 ? undefined : headers,
  });
}

/** A command wins over an empty input, which some clients always send; beside a real one it is a contradiction. */
function commandOf(body: RunBody): RunPayload["command"] {
  if (!body.command || Object.values(body.command).every((value) => value === undefined)) return undefined;
  if (!isEmpty(body.input)) throw new HoldpointError("invalid", "body.input: input and command cannot both be given");
  const sends = [body.command.goto].flat().some((target) => typeof target === "object");
  if (sends && body.command.resume !== undefined) {
    throw new HoldpointError(
      "invalid",
      "body.command.goto: resume cannot be combined with a Send, which would be dropped",
    );
  }
  return present(body.command);
}

function isEmpty(input: Json | undefined): boolean {
  if (input === undefined || input === null || input === "") return true;
  return Array.isArray(input) ? input.length === 0 : isObject(input) && Object.keys(input).length === 0;
}

/** Keys of `configurable` that say where the run stands; what the path and `checkpoint` say comes first. */
const PLACE = new Set(["thread_id", "checkpoint_id", "checkpoint_ns", "checkpoint_map", "run_id"]);

interface Configured {
  readonly config: RunConfig | undefined;
  readonly checkpoint: CheckpointSelector | undefined;
}

function configOf(body: RunBody, threadId: string | undefined): Configured {
  const configurable = body.config?.configurable ?? {};
  const reserved = Object.keys(configurable).find((key) => key.startsWith("__") || key.startsWith("langgraph_auth_"));
  if (reserved !== undefined) {
    throw new HoldpointError("invalid", `body.config.configurable.${reserved}: this key is reserved`);
  }
  const place = parse(
    checkpointSchema,
    { checkpoint_id: configurable["checkpoint_id"], checkpoint_ns: configurable["checkpoint_ns"] },
    "body",
  );
  const named = body.checkpoint ?? { ...place, checkpoint_id: body.checkpoint_id ?? place.checkpoint_id };
  if (body.checkpoint?.thread_id !== undefined && body.checkpoint.thread_id !== threadId) {
    throw new HoldpointError("invalid", "body.checkpoint.thread_id: a checkpoint of another thread");
  }
  const own = Object.entries(configurable).filter(([key]) => !PLACE.has(key));
  const given = present({
    tags: body.config?.tags,
    recursionLimit: body.config?.recursion_limit,
    configurable: own.length === 0 ? undefined : Object.fromEntries(own),
  });
  return { config: Object.keys(given).length === 0 ? undefined : given, checkpoint: selectorOf(named) };
}

/** Undefined when the selector names no checkpoint: then the newest is meant. */
export function selectorOf(checkpoint: z.infer<typeof checkpointSchema> | undefined): CheckpointSelector | undefined {
  if (!checkpoint?.checkpoint_id && !checkpoint?.checkpoint_ns) return undefined;
  return present({ checkpointId: checkpoint.checkpoint_id, checkpointNs: checkpoint.checkpoint_ns });
}

/** @throws HoldpointError `unsupported` for a mode that is not served */
export function streamModesOf(asked: string | readonly string[] | undefined): readonly StreamMode[] | undefined {
  if (asked === undefined) return undefined;
  const modes = [...new Set([asked].flat())].map((mode) => {
    const known = STREAM_MODES.find((one) => one === mode);
    if (!known)
      throw new HoldpointError(
        "unsupported",
        `stream_mode ${mode} is not supported; supported are ${STREAM_MODES.join(", ")}`,
      );
    return known;
  });
  return modes;
}

function refuseUnsupported(body: RunBody): void {
  if (body.feedback_keys && body.feedback_keys.length > 0) throw notYet("feedback_keys", "send none");
}

function notYet(what: string, instead: string): HoldpointError {
  return new HoldpointError("unsupported", `${what} is not supported yet; ${instead}`);
}
