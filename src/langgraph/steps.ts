/** What a run did, read from its checkpoints alone: supersteps with their nodes, and the tools that messages name. */
import type { BaseCheckpointSaver, CheckpointTuple } from "@langchain/langgraph-checkpoint";
import type { RunId, ThreadId } from "../core/ids.ts";
import { sentNodes, triggeredNodes } from "./pending-work.ts";
import { isHidden } from "./visible.ts";

export interface Step {
  readonly checkpointId: string;
  readonly step: number;
  /** `input`, `loop`, `update` or `fork`. */
  readonly source: string;
  /** ISO 8601, by the clock of its worker. */
  readonly at: string;
  /** Channels that have another value than in the checkpoint before, as far as that is known. */
  readonly changed: readonly string[];
  /** Nodes that the superstep after it consists of. */
  readonly next: readonly string[];
}

export interface ToolCall {
  readonly id: string;
  readonly name: string;
  /** What came of it, as its message says; undefined while there is none. */
  readonly status?: string;
}

export interface Steps {
  /** Oldest first. */
  readonly steps: readonly Step[];
  /** Older checkpoints of the run were not looked at. */
  readonly truncated: boolean;
  /** Nodes of the superstep in which it found the thread, of a run that goes on with that. */
  readonly wentOnWith: readonly string[];
  readonly toolCalls: readonly ToolCall[];
}

export interface StepsOf {
  readonly saver: BaseCheckpointSaver;
  readonly threadId: ThreadId;
  readonly runId: RunId;
  /** Where it ended; the head, while it has not. */
  readonly checkpointId: string | undefined;
}

/** Checkpoints of one run that are read. */
const MAX_STEPS = 200;
const NOTHING: Steps = { steps: [], truncated: false, wentOnWith: [], toolCalls: [] };

export async function stepsOf(of: StepsOf): Promise<Steps> {
  const { found, before, truncated } = await checkpointsOf(of);
  const [newest] = found;
  const oldest = found.at(-1);
  if (!newest || !oldest) return NOTHING;
  const steps = found.map((tuple, i) => stepOf(tuple, found[i + 1] ?? before)).toReversed();
  const wentOn = !truncated && before !== undefined && oldest.metadata?.source === "loop";
  const wentOnWith = wentOn ? nextOf(before) : [];
  return { steps, truncated, wentOnWith, toolCalls: toolCallsOf(messagesOf(newest), messagesOf(before ?? oldest)) };
}

/** Those that the run wrote, newest first, and the one before them. On a thread they stand together. */
async function checkpointsOf({ saver, threadId, runId, checkpointId }: StepsOf) {
  const config = { configurable: { thread_id: threadId, checkpoint_ns: "" } };
  const found: CheckpointTuple[] = [];
  const isOwn = ({ metadata }: CheckpointTuple): boolean => runOf(metadata) === runId;
  if (checkpointId !== undefined) {
    const last = await saver.getTuple({ configurable: { ...config.configurable, checkpoint_id: checkpointId } });
    if (!last || !isOwn(last)) return { found, before: undefined, truncated: false };
    found.push(last);
  }
  const [last] = found;
  for await (const tuple of saver.list(config, last ? { before: last.config } : {})) {
    if (!isOwn(tuple)) return { found, before: tuple, truncated: false };
    if (found.length === MAX_STEPS) return { found, before: tuple, truncated: true };
    found.push(tuple);
  }
  return { found, before: undefined, truncated: false };
}

const runOf = (metadata: unknown): unknown =>
  typeof metadata === "object" && metadata !== null && "run_id" in metadata ? metadata.run_id : undefined;

function stepOf({ checkpoint, metadata }: CheckpointTuple, before: CheckpointTuple | undefined): Step {
  const versions = before?.checkpoint.channel_versions ?? {};
  const changed = Object.entries(checkpoint.channel_versions).flatMap(([channel, version]) =>
    isHidden(channel) || versions[channel] === version ? [] : [channel],
  );
  return {
    checkpointId: checkpoint.id,
    step: metadata?.step ?? 0,
    source: metadata?.source ?? "loop",
    at: checkpoint.ts,
    changed,
    next: nextOf({ checkpoint }),
  };
}

const nextOf = ({ checkpoint }: Pick<CheckpointTuple, "checkpoint">): readonly string[] => [
  ...triggeredNodes(checkpoint),
  ...sentNodes(checkpoint),
];

type Message = Readonly<Record<string, unknown>>;

const messagesOf = ({ checkpoint }: CheckpointTuple): readonly Message[] =>
  Object.values(checkpoint.channel_values).flatMap((value) => (Array.isArray(value) ? value.filter(isObject) : []));

const isObject = (value: unknown): value is Message => typeof value === "object" && value !== null;

function toolCallsOf(messages: readonly Message[], before: readonly Message[]): readonly ToolCall[] {
  const known = new Set(before.flatMap(callsIn).map(({ id }) => id));
  const answers = new Map(
    messages.map((message) => [message["tool_call_id"], message["status"] === "error" ? "error" : "success"]),
  );
  return messages
    .flatMap(callsIn)
    .filter(({ id }) => !known.has(id))
    .map(({ id, name }) => ({ id, name, ...statusIn(answers.get(id)) }));
}

const statusIn = (status: string | undefined) => (status === undefined ? {} : { status });

function callsIn({ tool_calls: calls }: Message): readonly { readonly id: string; readonly name: string }[] {
  if (!Array.isArray(calls)) return [];
  return calls.filter(isObject).map((call) => ({ id: textIn(call, "id"), name: textIn(call, "name") }));
}

function textIn(of: Message, name: string): string {
  const value = of[name];
  return typeof value === "string" ? value : "";
}
