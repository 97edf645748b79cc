/**
 * Threads. Creating one is conditional and scoped by tenant, since clients choose ids; deleting one raises its
 * generation first, so that whoever still writes for the old one writes where nobody reads.
 */
import { FencedSaver } from "../../checkpoint/saver.ts";
import { saverParts } from "../saver-parts.ts";
import { HoldpointError } from "../../core/errors.ts";
import { threadId as asThreadId } from "../../core/ids.ts";
import type { ThreadId } from "../../core/ids.ts";
import type { Json, JsonObject } from "../../core/json.ts";
import type { Principal } from "../../core/principal.ts";
import { isEnded } from "../../core/run.ts";
import { movedOn, recreated, withTtl } from "../../core/thread-changes.ts";
import { activeRunId, newThread } from "../../core/thread.ts";
import type { Thread } from "../../core/thread.ts";
import type { RegisteredGraph } from "../../langgraph/registry.ts";
import { historyViews, stateView, valuesAt } from "../../langgraph/views.ts";
import type { ThreadRef } from "../../storage/keys.ts";
import type { Stored } from "../../storage/records.ts";
import { threadNotFound } from "../accept/accept-answer.ts";
import type { Deps } from "../deps.ts";
import { threadKeys } from "../../storage/keys.ts";
import { pruneThread } from "./prune-thread.ts";
import { removeThread } from "./remove-thread.ts";
import { repairHeader } from "./repair.ts";
import type { NewThread, ThreadUseCases, ThreadView } from "../runtime.ts";
import { searchThreads } from "./thread-search.ts";
import { updateState } from "./update.ts";
import { assertCheckpoint } from "../state-reader.ts";

/** Who was just told that a run is over must not be shown a thread that is busy with it: the header follows the run. */
async function asOfNow(deps: Deps, thread: Thread): Promise<Thread> {
  const active = activeRunId(thread);
  const run = active && (await deps.runs.get(thread, active));
  return run && isEnded(run.value.status) ? movedOn(thread, run.value, deps.table.now()) : thread;
}

/** A reader that still holds the header of before finds the metadata it names for this long. */
const OLD_METADATA_KEPT_MS = 3_600_000;

export function createThreadUseCases(deps: Deps): ThreadUseCases {
  const find = async (principal: Principal, threadId: ThreadId): Promise<Stored<Thread>> => {
    const found = await deps.threads.get({ tenant: principal.tenant, threadId });
    if (!found || found.value.deleted) throw threadNotFound({ threadId });
    return found;
  };
  const viewed = async (principal: Principal, threadId: ThreadId) => {
    const { value: thread } = await find(principal, threadId);
    const reading = createReading(deps, principal);
    return { ...reading, threadId, graph: reading.graphOf(await deps.threads.metadata(thread)) };
  };
  return {
    async create(principal, { threadId, ifExists, ...rest }) {
      const ref = { tenant: principal.tenant, threadId: threadId ?? asThreadId(deps.ids.uuid()) };
      const created = await create(deps, ref, rest);
      if (!created.won && ifExists === "raise") {
        throw new HoldpointError("conflict", `Thread with ID ${ref.threadId} already exists`);
      }
      return viewOf(deps, createReading(deps, principal), created.thread);
    },
    async get(principal, threadId) {
      const thread = await asOfNow(deps, (await find(principal, threadId)).value);
      return viewOf(deps, createReading(deps, principal), thread);
    },
    async patch(principal, threadId, change) {
      const thread = await patchThread(deps, await find(principal, threadId), change);
      return viewOf(deps, createReading(deps, principal), thread);
    },
    async remove(principal, threadId) {
      await find(principal, threadId);
      await removeThread(deps, { tenant: principal.tenant, threadId });
    },
    async prune(principal, threadIds, strategy) {
      let count = 0;
      for (const threadId of new Set(threadIds)) {
        const ref = { tenant: principal.tenant, threadId };
        const found = await deps.threads.get(ref);
        if (!found || found.value.deleted) continue;
        if (strategy === "delete") await removeThread(deps, ref);
        else if (!(await pruneThread(deps, (await repairHeader(deps, found)) ?? found))) continue;
        count += 1;
      }
      return count;
    },
    search: (principal, search) => {
      const reading = createReading(deps, principal);
      return searchThreads(deps, principal, search, {
        view: (thread) => viewOf(deps, reading, thread),
        values: async (thread) => valuesOf(reading, thread, await deps.threads.metadata(thread)),
      });
    },
    async state(principal, threadId, { checkpoint, subgraphs }) {
      const of = { ...(await viewed(principal, threadId)), ...(checkpoint === undefined ? {} : { checkpoint }) };
      const state = await stateView({ ...of, subgraphs });
      if (state.checkpoint !== null || checkpoint?.checkpointId === undefined) return state;
      throw new HoldpointError("not_found", `Checkpoint ${checkpoint.checkpointId} not found`);
    },
    updateState: (principal, threadId, update) => updateState(deps, principal, threadId, update),
    async history(principal, threadId, page) {
      const before = page.before === undefined ? undefined : { ...page.checkpoint, checkpointId: page.before };
      await assertCheckpoint(deps, (await find(principal, threadId)).value, before);
      return historyViews({ ...(await viewed(principal, threadId)), ...page });
    },
  };
}

type Created = { readonly won: boolean; readonly thread: Thread };

type Given = Pick<NewThread, "metadata" | "ttl">;

async function create(deps: Deps, ref: ThreadRef, { metadata, ttl }: Given): Promise<Created> {
  const kept = await deps.threads.keepMetadata(ref, metadata, deps.ids.token(8));
  const fresh = withTtl(newThread(ref, kept, deps.table.now()), ttl, deps.table.now());
  let written = await deps.threads.put(fresh, "absent");
  while (!written.won) {
    const { current } = written;
    if (current && !current.value.deleted) return { won: false, thread: current.value };
    // The tombstone of a deleted thread: its numbers go on, so that nothing of the old one fits.
    const again = current ? recreated(fresh, current.value) : fresh;
    written = await deps.threads.put(again, current ? { version: current.version } : "absent");
  }
  return { won: true, thread: written.stored.value };
}

/** Merges into the metadata, key by key. */
async function patchThread(deps: Deps, first: Stored<Thread>, { metadata: patch, ttl }: Given): Promise<Thread> {
  let header: Stored<Thread> | undefined = first;
  while (header && !header.value.deleted) {
    const before: Thread = header.value;
    const merged = { ...(await deps.threads.metadata(before)), ...patch };
    const metadata = await deps.threads.keepMetadata(before, merged, deps.ids.token(8));
    const thread: Thread = { ...withTtl(before, ttl, deps.table.now()), metadata };
    const written = await deps.threads.put(thread, { version: header.version });
    if (written.won) {
      await letExpire(deps, before);
      return thread;
    }
    header = written.current;
  }
  throw threadNotFound(first.value);
}

async function letExpire({ table }: Deps, { metadata, ...ref }: Thread): Promise<void> {
  if (metadata.kind !== "item") return;
  const item = await table.get(threadKeys.metadata(ref, metadata.id));
  if (item) await table.put({ ...item, expiresAt: table.now() + OLD_METADATA_KEPT_MS }, "any");
}

/** Reads states of one tenant; each graph is compiled once, however many threads are read. */
interface Reading {
  readonly saver: FencedSaver;
  readonly graphOf: (metadata: JsonObject) => RegisteredGraph | undefined;
}

function createReading(deps: Deps, { tenant }: Principal): Reading {
  const { graphs } = deps;
  const known = new Map<string, RegisteredGraph>();
  return {
    saver: new FencedSaver(saverParts(deps, tenant)),
    graphOf(metadata) {
      const graphId = metadata["graph_id"];
      if (typeof graphId !== "string") return undefined;
      const registered = known.get(graphId) ?? graphs.get(graphId);
      if (!registered || known.has(graphId)) return registered;
      let compiled: ReturnType<RegisteredGraph["compiled"]> | undefined;
      const once = { ...registered, compiled: () => (compiled ??= registered.compiled()) };
      known.set(graphId, once);
      return once;
    },
  };
}

async function viewOf(deps: Deps, reading: Reading, thread: Thread): Promise<ThreadView> {
  const metadata = await deps.threads.metadata(thread);
  const [values, interrupts] = await Promise.all([valuesOf(reading, thread, metadata), interruptsOf(deps, thread)]);
  return { thread, metadata, values, interrupts };
}

/** Null for a thread that nobody has advanced yet. */
async function valuesOf({ saver, graphOf }: Reading, thread: Thread, metadata: JsonObject): Promise<Json | null> {
  if (thread.fence === 0) return null;
  return valuesAt({ graph: graphOf(metadata), saver, threadId: thread.threadId, checkpoint: {} });
}

async function interruptsOf(deps: Deps, thread: Thread): Promise<ThreadView["interrupts"]> {
  if (!thread.waiting) return {};
  const run = await deps.runs.get(thread, thread.waiting.runId);
  const holds = await deps.holds.getMany(thread, run?.value.end?.holds ?? []);
  const byTask: Record<string, readonly Json[]> = {};
  for (const { value: hold } of holds) {
    if (hold.state !== "pending") continue;
    const { taskId } = hold.raisedBy;
    byTask[taskId] = [...(byTask[taskId] ?? []), { id: hold.interruptId, value: hold.value }];
  }
  return byTask;
}
