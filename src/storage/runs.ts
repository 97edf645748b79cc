import { HoldpointError, errorInfo } from "../core/errors.ts";
import type { RunId, TenantId, ThreadId } from "../core/ids.ts";
import type { Run, RunPayload } from "../core/run.ts";
import type { Blobs } from "./blobs.ts";
import { failureRow, rowOf, rowsPartition, runRow } from "./run-rows.ts";
import type { RunRow, RunRowsOf } from "./run-rows.ts";
import type { Place } from "./encryption/envelope.ts";
import { whyUnreadable } from "./encryption/sealed-content.ts";
import { plainSealers } from "./encryption/sealer.ts";
import type { Sealers } from "./encryption/sealer.ts";
import { duePartition, futureSort, runMapKey, threadKeys } from "./keys.ts";
import type { ThreadRef } from "./keys.ts";
import { createRecords, numberOf, readable, textOf, update } from "./records.ts";
import type { Codec, Records, Stored, Written } from "./records.ts";
import type { IndexEntries, Item, Page, Range, RemoveResult, Table, Value } from "./table.ts";

const INLINE_PAYLOAD_BYTES = 4 * 1024;
const ITEM_PAYLOAD_BYTES = 350 * 1024;
/** A refused run answers repeats of its request for a day. */
const REFUSED_KEPT_MS = 24 * 3_600_000;

/** Run items: the commit point of a run's end, and what `wait` answers on. */
export interface Runs {
  /** Of an item that was read together with others. */
  of(item: Item): Promise<Run>;
  get(ref: ThreadRef, run: RunId): Promise<Stored<Run> | undefined>;
  /** Those that are there and can be read here. */
  getMany(of: readonly (ThreadRef & { readonly runId: RunId })[]): Promise<readonly Stored<Run>[]>;
  /** Writes a new run, its payload first when it is long, and the map item that finds its thread. */
  create(run: Run): Promise<Written<Run>>;
  put(run: Run, version: number): Promise<Written<Run>>;
  update(ref: ThreadRef, run: RunId, change: (run: Run) => Run | undefined): Promise<Stored<Run> | undefined>;
  /** Makes a failure findable by its fingerprint; to be done before the end is written, and harmless to repeat. */
  noteFailure(run: Run): Promise<void>;
  /** Rows of the runs of one class, or of those that failed alike, from the newest on: see run-rows.ts. */
  rows(tenant: TenantId, of: RunRowsOf, range: Range): Promise<Page<RunRow>>;
  remove(run: Stored<Run>): Promise<RemoveResult>;
  payload(run: Run): Promise<RunPayload>;
  /** The runs of a thread's generation, newest first. Without those of a later format. */
  list(ref: ThreadRef, generation: number): Promise<readonly Run[]>;
  threadOf(tenant: TenantId, run: RunId): Promise<ThreadId | undefined>;
}

export interface RunsOptions {
  readonly table: Table;
  readonly blobs: Blobs;
  readonly shards: number;
  /** What encrypts requests, errors and interrupts; nothing by default. Bodies are encrypted by `blobs`, or are not. */
  readonly sealers?: Sealers;
}

/** What graphs and people wrote. */
const CONTENT = ["payload", "error", "end.interrupts", "sleep.reason", "cancelAsked.reason"] as const;

/** Its status and all that moves it on can still be read: it can be cancelled, and deleted with its thread. */
function unreadable({ end, sleep, ...run }: Run, why: HoldpointError): Run {
  return {
    ...run,
    ...(FAILED.has(run.status) ? { error: errorInfo(why) } : {}),
    ...(end ? { end: { ...end, interrupts: [] } } : {}),
    ...(sleep ? { sleep: { ...sleep, reason: why.message } } : {}),
  };
}
const FAILED: ReadonlySet<Run["status"]> = new Set(["error", "timeout", "parked", "refused"]);

const payloadPlace = ({ tenant, threadId, runId }: Run): Place => ({
  tenant,
  threadId,
  ns: "",
  checkpointId: "",
  part: `request of run ${runId}`,
});

export function createRuns({ table, blobs, shards, sealers = plainSealers }: RunsOptions): Runs {
  const codec: Codec<Run> = {
    names: ["g", "s", "f", "d"],
    key: (run: Run) => threadKeys.run(run, run.runId),
    encode,
    decode,
    index: (run) => indexEntries(run, shards),
    expiresAt: (run) => (run.status === "refused" ? run.updatedAt + REFUSED_KEPT_MS : undefined),
    content: { paths: CONTENT, tenantOf: ({ tenant }) => tenant, unreadable },
  };
  const records: Records<Run> = createRecords(table, codec, sealers);
  const keepPayload = async (run: Run): Promise<Run> => {
    const bytes = Buffer.from(JSON.stringify(run.payload ?? {}));
    if (bytes.length <= INLINE_PAYLOAD_BYTES) return run;
    const sealer = sealers(run.tenant);
    if (sealer.encrypts) await sealer.ready();
    const attributes: Record<string, Value> =
      bytes.length <= ITEM_PAYLOAD_BYTES
        ? { d: sealer.seal(bytes, payloadPlace(run)) }
        : { b: await blobs.put(run, bytes) };
    await table.put({ ...threadKeys.runBody(run, run.runId), attributes }, "any");
    const { payload: _, ...rest } = run;
    return rest;
  };
  return {
    of: async (item) => (await records.of(item)).value,
    get: (ref, run) => records.get(threadKeys.run(ref, run)),
    getMany: (of) =>
      records.getMany(
        of.map((one) => threadKeys.run(one, one.runId)),
        "skip",
      ),
    async create(run) {
      const kept = await keepPayload(run);
      const map = { ...runMapKey(run.tenant, run.runId), attributes: { thread: run.threadId } };
      const [written] = await Promise.all([records.put(kept, "absent"), table.put(map, "any")]);
      return written;
    },
    put: (run, version) => records.put(run, { version }),
    update: (ref, run, change) => update(records, threadKeys.run(ref, run), change),
    async noteFailure(run) {
      const row = failureRow(run);
      if (!row) return;
      const map = runMapKey(run.tenant, run.runId);
      await table.put({ ...map, attributes: { thread: run.threadId }, index: { list: row } }, "any");
    },
    async rows(tenant, of, range) {
      const page = await table.queryIndex("list", rowsPartition(tenant, of), range);
      return { ...page, items: page.items.flatMap((row) => rowOf(row) ?? []) };
    },
    remove: (run) => records.remove(threadKeys.run(run.value, run.value.runId), run.version),
    async payload(run) {
      if (run.payload) return run.payload;
      const item = readable(await table.get(threadKeys.runBody(run, run.runId)));
      // It may have stood on the run itself.
      if (!item)
        throw whyUnreadable(run) ?? new HoldpointError("corrupt", `the request of run ${run.runId} is missing`);
      const inline = item.attributes["d"];
      const bytes =
        inline instanceof Uint8Array
          ? await sealers(run.tenant).open(inline, payloadPlace(run))
          : await blobs.get(run, textOf(item, "b"));
      return JSON.parse(Buffer.from(bytes).toString("utf8")) as RunPayload;
    },
    async list(ref, generation) {
      const runs: Run[] = [];
      let after: string | undefined;
      do {
        const range = { prefix: threadKeys.runPrefix, ...(after === undefined ? {} : { after }) };
        const page = await records.query(threadKeys.partition(ref), range, "skip");
        runs.push(...page.items.map((stored) => stored.value));
        after = page.next;
      } while (after !== undefined);
      return runs
        .filter((run) => run.generation === generation && run.status !== "refused")
        .toSorted((a, b) => b.createdAt - a.createdAt || (a.runId < b.runId ? 1 : -1));
    },
    async threadOf(tenant, run) {
      const item = readable(await table.get(runMapKey(tenant, run)));
      return item && (textOf(item, "thread") as ThreadId);
    },
  };
}

function encode(run: Run): Record<string, Value> {
  return { g: run.generation, s: run.status, f: run.fence, d: JSON.stringify(run) };
}

function decode(item: Item): Run {
  return { ...(JSON.parse(textOf(item, "d")) as Run), generation: numberOf(item, "g") };
}

function indexEntries(run: Run, shards: number): IndexEntries {
  const row = runRow(run);
  const listed = row ? { list: row } : {};
  const dueAt = run.hooksDue ? run.updatedAt : run.followUpAt;
  if (dueAt === undefined) return listed;
  const at = {
    tenant: run.tenant,
    priority: run.priority,
    dueAt,
    subject: `${run.threadId}/${run.runId}`,
  };
  return { ...listed, due: { pk: duePartition(run.pool, run.tenant, shards), sk: futureSort(at) } };
}
