/**
 * The place of the running code in its graph: a list from the root graph down of [node, visit, index of the Send].
 * Every re-execution after a crash, a resume, a fork or a replay finds the same place; a loop that comes again finds
 * another. The sources are the names in the checkpoint namespace, the checkpoint of every level in the checkpoint map,
 * LangGraph's path of the running task, and what the saver saw of outer tasks.
 */
import { CALL_NUMBERS, TOOL_CALLS } from "../core/effect.ts";
import type { PathPart } from "../core/effect.ts";
import { HoldpointError } from "../core/errors.ts";
import { contextOf } from "./context.ts";
import type { NodeConfig, TaskPlace, Whereabouts } from "./context.ts";

/** One segment of the checkpoint namespace. */
interface Level {
  readonly segment: string;
  /** Namespace down to and including this segment. */
  readonly ns: string;
  /** Namespace of the level above; empty for the root. */
  readonly prefix: string;
}

/** @throws HoldpointError `unsupported` for code whose place cannot be named */
export async function where(config: NodeConfig): Promise<readonly PathPart[]> {
  const { whereabouts } = contextOf(config, "where()");
  const { checkpoint_ns: ns, checkpoint_map: map }: Readonly<Record<string, unknown>> = config.configurable ?? {};
  if (typeof ns !== "string" || ns === "")
    throw new HoldpointError("unsupported", "the config is not that of a running node");
  const checkpoints = isRecord(map) ? map : {};
  const levels = levelsOf(ns);
  const places = await placesOf(levels, { config, whereabouts, checkpoints });
  const sources = {
    whereabouts,
    checkpoints,
    calls: recordIn(config, CALL_NUMBERS),
    tools: recordIn(config, TOOL_CALLS),
  };
  const parts = await Promise.all(levels.map((level, i) => partOf(level, places[i], sources)));
  return parts.filter((part) => part !== undefined);
}

/** The levels of a checkpoint namespace, outermost first. */
export function levelsOf(ns: string): readonly Level[] {
  const segments = ns.split("|");
  return segments.map((segment, i) => ({
    segment,
    ns: segments.slice(0, i + 1).join("|"),
    prefix: segments.slice(0, i).join("|"),
  }));
}

/** True for the segment that LangGraph adds for a second and later subgraph call of one task. */
export const isCallNumber = (segment: string): boolean => /^\d+$/.test(segment);

interface Sources {
  readonly config: NodeConfig;
  readonly whereabouts: Whereabouts;
  readonly checkpoints: Readonly<Record<string, unknown>>;
}

/** Path and step of the task at each level, from the innermost outwards: an inner path may contain the outer one. */
async function placesOf(levels: readonly Level[], from: Sources): Promise<readonly (TaskPlace | undefined)[]> {
  const places: (TaskPlace | undefined)[] = [];
  for (let i = levels.length - 1; i >= 0; i--) {
    const level = levels[i];
    if (level !== undefined && !isCallNumber(level.segment))
      places[i] = await placeOf(level, levels[i + 1], { ...from, inner: places[i + 1] });
  }
  return places;
}

async function placeOf(
  level: Level,
  below: Level | undefined,
  from: Sources & { readonly inner: TaskPlace | undefined },
): Promise<TaskPlace | undefined> {
  const { config, whereabouts, checkpoints, inner } = from;
  if (below === undefined) return ownPlace(config);
  if (inner !== undefined && isHandler(inner.path))
    return { ...inner, path: inner.path.slice(0, inner.path.indexOf(HANDLER)) };
  const outer = inner?.path[1];
  if (inner !== undefined && isTaskCall(inner.path) && Array.isArray(outer)) return { path: outer, step: inner.step };
  const seen = whereabouts.pathOf(level.ns) ?? whereabouts.pathOf(`${level.ns}|${below.segment}`);
  if (seen !== undefined) return seen;
  const checkpointId = checkpoints[level.prefix];
  const isKept = level.prefix === "" || whereabouts.pathOf(level.prefix) !== undefined;
  if (typeof checkpointId !== "string" || !isKept) return undefined;
  return whereabouts.recompute({ prefix: level.prefix, checkpointId, segment: level.segment });
}

function ownPlace(config: NodeConfig): TaskPlace | undefined {
  const { langgraph_path: path, langgraph_step: step }: Readonly<Record<string, unknown>> = config.metadata ?? {};
  return Array.isArray(path) ? { path, step: typeof step === "number" ? step : 0 } : undefined;
}

async function partOf(
  level: Level,
  place: TaskPlace | undefined,
  {
    whereabouts,
    checkpoints,
    calls,
    tools,
  }: Pick<Sources, "whereabouts" | "checkpoints"> & {
    readonly calls: Readonly<Record<string, unknown>>;
    readonly tools: Readonly<Record<string, unknown>>;
  },
): Promise<PathPart | undefined> {
  const { segment, ns, prefix } = level;
  if (isCallNumber(segment)) {
    const call = Number(segment) - whereabouts.firstOf(prefix, ns);
    return call === 0 ? undefined : ["#", call];
  }
  if (place === undefined) {
    const names = ns.replaceAll(/:[^|]*/g, "");
    throw new HoldpointError(
      "unsupported",
      `an effect in ${names} cannot be named: a subgraph without a checkpointer inside another`,
    );
  }
  const { path, step } = place;
  const node = segment.includes(":") ? segment.slice(0, segment.lastIndexOf(":")) : segment;
  // Whatever else its message asks for, and has been answered meanwhile.
  if (ns in tools) return [node, "tool", Number(tools[ns])];
  if (isTaskCall(path)) return [node, "call", Number(calls[ns] ?? path[2])];
  if (isHandler(path)) return ["handler"];
  const send = path[0] === "__pregel_push" ? Number(path[1]) : null;
  const isKept = prefix === "" || whereabouts.pathOf(prefix) !== undefined;
  if (!isKept) return [node, `s${step}`, send];
  const { visits } = await whereabouts.record(prefix, String(checkpoints[prefix]));
  return [node, visits[node] ?? 0, send];
}

const HANDLER = "node_error_handler";

/** The path of a functional `task()`: it ends in true and holds the path of the task that called it. */
const isTaskCall = (path: readonly unknown[]): boolean => path.at(-1) === true && Array.isArray(path[1]);

const isHandler = (path: readonly unknown[]): boolean => path.includes(HANDLER);

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null;

function recordIn({ configurable }: NodeConfig, key: string): Readonly<Record<string, unknown>> {
  const value: unknown = configurable?.[key];
  return isRecord(value) ? value : {};
}
