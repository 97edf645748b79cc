/** `langgraph.json`: which graphs there are, and in which files. */
import { readFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { parseEnv } from "node:util";
import { z } from "zod";
import { HoldpointError } from "../core/errors.ts";
import { isUuid } from "../core/ids.ts";
import type { RunLimits } from "../core/limits.ts";
import { PLAIN_INTERRUPTS } from "./registry.ts";
import type { PlainInterrupts } from "./registry.ts";
import { storeSchema } from "./store-config.ts";
import type { StoreEntry } from "./store-config.ts";
import { MAX_TTL_MINUTES } from "../core/thread.ts";
import type { ThreadTtl } from "../core/thread.ts";

/** One graph as the configuration names it. */
export interface GraphEntry {
  readonly graphId: string;
  /** Absolute path of the file. */
  readonly file: string;
  /** Name of the export in it. */
  readonly exportName: string;
  readonly description?: string;
  readonly pool: string;
  /** 0 to 9; lower runs first. */
  readonly priority: number;
  /** A run executes in the version it was accepted with, or not at all. */
  readonly pinned: boolean;
  /** Runs of it that one worker executes at once. */
  readonly concurrency?: number;
  /** Its own bounds, in place of the settings'. */
  readonly limits: Partial<RunLimits>;
  readonly plainInterrupts?: PlainInterrupts;
}

export interface GraphConfigFile {
  readonly path: string;
  readonly graphs: readonly GraphEntry[];
  /** Variables that graphs want to find in their environment; the caller sets them before the graphs are loaded. */
  readonly env: Readonly<Record<string, string>>;
  readonly store: StoreEntry;
  /** Of threads that are given none of their own. */
  readonly threadTtl?: ThreadTtl;
  /** Keys of the file that this version does not act on. */
  readonly ignored: readonly string[];
}

/** How long threads live that nobody uses. */
const checkpointerSchema = z.strictObject({
  ttl: z
    .strictObject({
      strategy: z.enum(["delete", "keep_latest"]).optional(),
      default_ttl: z.number().positive().max(MAX_TTL_MINUTES).optional(),
      // Others sweep in intervals; here each thread stands in an index, at its time.
      sweep_interval_minutes: z.number().positive().optional(),
      sweep_limit: z.int().min(1).optional(),
    })
    .optional(),
});

const bound = z.int().min(1).optional();
const limitsSchema = z.strictObject({
  runTimeoutMs: bound,
  steps: bound,
  nodeTimeoutMs: bound,
  stateBytes: bound,
  parallelTasks: bound,
  eventBytes: bound,
});
const entrySchema = z.union([
  z.string(),
  z.strictObject({
    path: z.string(),
    description: z.string().optional(),
    pool: z.string().min(1).max(32).optional(),
    priority: z.int().min(0).max(9).optional(),
    pinned: z.boolean().optional(),
    concurrency: z.int().min(1).max(1000).optional(),
    limits: limitsSchema.optional(),
    plainInterrupts: z.enum(PLAIN_INTERRUPTS).optional(),
  }),
]);
const fileSchema = z.looseObject({
  graphs: z.record(z.string(), entrySchema),
  env: z.union([z.string(), z.array(z.string()), z.record(z.string(), z.string())]).optional(),
  store: storeSchema.optional(),
  checkpointer: checkpointerSchema.optional(),
});

const GRAPH_ID = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/;
/** About how LangChain's own tools build and start a server: nothing to act on here. */
const OTHERS_BUSINESS = new Set([
  "graphs",
  "env",
  "$schema",
  "dependencies",
  "node_version",
  "node_loader",
  "dockerfile_lines",
  "api_version",
]);

/** Of what fits none of several forms, where it came furthest in one of them: that is the form that was meant. */
function innermost(issues: readonly Issue[]): Issue {
  const all = issues.flatMap((issue) =>
    issue.code === "invalid_union"
      ? issue.errors.flat().map((inner) => ({ ...inner, path: [...issue.path, ...inner.path] }))
      : [issue],
  );
  const [first, ...others] = all;
  if (first === undefined) throw new Error("a failure without an issue");
  return others.reduce((deepest, one) => (one.path.length > deepest.path.length ? one : deepest), first);
}

type Issue = z.core.$ZodIssue;

/** @throws HoldpointError `invalid`, in one line that names the file and what is wrong with it */
export async function readGraphConfig(path: string): Promise<GraphConfigFile> {
  const file = resolve(path);
  const wrong = (what: string, cause?: unknown): HoldpointError =>
    new HoldpointError("invalid", `${file}: ${what}`, { cause });
  const text = await readFile(file, "utf8").catch((error: unknown) => {
    throw wrong("cannot be read", error);
  });
  const parsed = fileSchema.safeParse(parseJson(text, wrong));
  if (!parsed.success) {
    const { path: place, message } = innermost(parsed.error.issues);
    throw wrong(`${place.join(".") || "the file"}: ${message}`);
  }
  const { graphs, env, store = {}, checkpointer, ...rest } = parsed.data;
  const { default_ttl: minutes, strategy = "delete" } = checkpointer?.ttl ?? {};
  if (Object.keys(graphs).length === 0) throw wrong("graphs: names no graph");
  return {
    path: file,
    graphs: Object.entries(graphs).map(([graphId, entry]) => entryOf(graphId, entry, { folder: dirname(file), wrong })),
    env: await envOf(env, { folder: dirname(file), wrong }),
    store,
    ...(minutes === undefined ? {} : { threadTtl: { strategy, ms: minutes * 60_000 } }),
    ignored: Object.keys(rest).filter((key) => !OTHERS_BUSINESS.has(key)),
  };
}

type Wrong = (what: string, cause?: unknown) => HoldpointError;

interface In {
  readonly folder: string;
  readonly wrong: Wrong;
}

function parseJson(text: string, wrong: Wrong): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw wrong(error instanceof Error ? `is not JSON: ${error.message}` : "is not JSON", error);
  }
}

function entryOf(graphId: string, entry: z.infer<typeof entrySchema>, { folder, wrong }: In): GraphEntry {
  const { path, description, pool, priority, pinned, concurrency, limits, plainInterrupts } =
    typeof entry === "string" ? { path: entry } : entry;
  if (!GRAPH_ID.test(graphId) || isUuid(graphId)) {
    throw wrong(`graphs.${graphId}: a graph id is 1 to 64 letters, digits, ".", "_" or "-", and no UUID`);
  }
  const colon = path.lastIndexOf(":");
  if (colon < 1 || colon === path.length - 1) throw wrong(`graphs.${graphId}: "${path}" is not "./file.ts:export"`);
  return {
    graphId,
    file: resolve(folder, path.slice(0, colon)),
    exportName: path.slice(colon + 1),
    ...(description === undefined ? {} : { description }),
    pool: pool ?? "default",
    priority: priority ?? 5,
    pinned: pinned ?? false,
    ...(concurrency === undefined ? {} : { concurrency }),
    limits: set(limits ?? {}),
    ...(plainInterrupts === undefined ? {} : { plainInterrupts }),
  };
}

/** What is set, without what is undefined. */
function set(limits: z.infer<typeof limitsSchema>): Partial<RunLimits> {
  return Object.fromEntries(Object.entries(limits).filter(([, value]) => value !== undefined));
}

/** A map is taken as it is, a text names a file of `KEY=value` lines; a list only says what must be set from outside. */
async function envOf(env: z.infer<typeof fileSchema>["env"], { folder, wrong }: In): Promise<Record<string, string>> {
  if (env === undefined || Array.isArray(env)) return {};
  if (typeof env !== "string") return { ...env };
  const text = await readFile(resolve(folder, env), "utf8").catch((error: unknown) => {
    throw wrong(`env: ${env} cannot be read`, error);
  });
  return Object.fromEntries(Object.entries(parseEnv(text)).map(([key, value]) => [key, value ?? ""]));
}
