/** A thread with everything in it that a saver keeps, for the tests of what ends threads and parts of them. */
import { createHash } from "node:crypto";
import type { CheckpointTuple } from "@langchain/langgraph-checkpoint";
import type { RunnableConfig } from "@langchain/core/runnables";
import { segmentsNamed } from "../../src/checkpoint/fold.ts";
import type { SaverOptions } from "../../src/checkpoint/options.ts";
import { readRecord } from "../../src/checkpoint/record.ts";
import { FencedSaver } from "../../src/checkpoint/saver.ts";
import { tenantId, threadId } from "../../src/core/ids.ts";
import type { Item, Table } from "../../src/storage/table.ts";
import { checkpointOf, configOf, metadataOf } from "./checkpoints.ts";
import { createMemoryBlobs } from "./memory-blobs.ts";

export const THREAD = "t1";
export const tenant = tenantId("acme");
/** Small, so that a short thread has chains of several lengths, segments and pieces of both kinds. */
export const LIMITS = { chainRecords: 5, inlineBytes: 600, insertBytes: 500, channelBytes: 300, pieceBytes: 1200 };

const noise = (seed: number, bytes: number): string =>
  createHash("shake256", { outputLength: bytes }).update(String(seed)).digest("base64").slice(0, bytes);

export type OpenSaver = (table: Table, more?: Partial<SaverOptions>) => FencedSaver;

/** Savers that share their bodies. */
export function savers(shared: Partial<SaverOptions> = {}): OpenSaver {
  const blobs = createMemoryBlobs();
  return (table, more) => new FencedSaver({ table, blobs, tenant, limits: LIMITS, ...shared, ...more });
}

/** The right to advance the thread, of a fence. */
export const leaseOf = (fence: number) => ({ lease: { threadId: threadId(THREAD), generation: 0, fence } });

export interface Step {
  readonly n: number;
  readonly run?: string;
  readonly ns?: string;
  readonly id?: string;
  /** The checkpoint that it goes on from. */
  readonly from?: RunnableConfig | undefined;
}

/** One checkpoint, with the writes of a small and a large task. */
export async function step(saver: FencedSaver, { n, run = "r1", ns = "", from, id }: Step): Promise<RunnableConfig> {
  const values = {
    n,
    log: Array.from({ length: n + 1 }, (_, line) => noise(line, 120)),
    large: `${noise(1000, 900)}${n}${noise(1001, 900)}`,
    same: noise(2000, 2500),
  };
  const versions = { n: n + 1, log: n + 1, large: n + 1, same: 1 };
  const { same: _, ...changed } = versions;
  const metadata = { ...metadataOf(n, n === 0 ? "input" : "loop"), run_id: run };
  const config = await saver.put(
    from ?? configOf(THREAD, undefined, ns),
    checkpointOf({ ...(id === undefined ? {} : { id }), values, versions }),
    metadata,
    n === 0 ? versions : changed,
  );
  await saver.putWrites(config, [["n", n]], `small-${n}`, "~a");
  // The one is large itself, the other is the channel's value with a small change, made of the same segments.
  const nearly = `${noise(1000, 900)}changed${noise(1001, 900)}`;
  await saver.putWrites(
    config,
    [
      ["log", noise(3000 + n, 2000)],
      ["large", nearly],
    ],
    `large-${n}`,
    "~b",
  );
  return config;
}

/** A line of checkpoints; its configs, oldest first. */
export async function line(saver: FencedSaver, steps: readonly Step[]): Promise<readonly RunnableConfig[]> {
  const configs: RunnableConfig[] = [];
  for (const one of steps) configs.push(await step(saver, { from: configs.at(-1), ...one }));
  return configs;
}

export const steps = (count: number, more: Partial<Step> | ((n: number) => Partial<Step>) = {}): readonly Step[] =>
  Array.from({ length: count }, (_, n) => ({ n, ...(typeof more === "function" ? more(n) : more) }));

/** Everything a reader finds: by namespace what is listed, and what is found under each id. */
export async function seen(
  saver: FencedSaver,
  ids: readonly (readonly [ns: string, id: string])[] = [],
  thread = THREAD,
) {
  const listed: Record<string, unknown[]> = {};
  const byId: Record<string, unknown> = {};
  for await (const tuple of saver.list({ configurable: { thread_id: thread } })) {
    const ns = String(tuple.config.configurable?.["checkpoint_ns"]);
    listed[ns] = [...(listed[ns] ?? []), plainTuple(tuple)];
    byId[`${ns} latest`] ??= plainTuple(await saver.getTuple(configOf(thread, undefined, ns)));
  }
  for (const [ns, id] of ids) byId[`${ns} ${id}`] = plainTuple(await saver.getTuple(configOf(thread, id, ns)));
  return { listed, byId };
}

const plainTuple = (tuple: CheckpointTuple | undefined): unknown =>
  tuple === undefined
    ? null
    : {
        id: tuple.checkpoint.id,
        checkpoint: tuple.checkpoint,
        metadata: tuple.metadata,
        writes: tuple.pendingWrites,
        parent: String(tuple.parentConfig?.configurable?.["checkpoint_id"]),
      };

/** Ids of all checkpoints that are listed now. */
export async function idsIn(saver: FencedSaver, thread = THREAD): Promise<readonly (readonly [string, string])[]> {
  const ids: (readonly [string, string])[] = [];
  for await (const { config, checkpoint } of saver.list({ configurable: { thread_id: thread } }))
    ids.push([String(config.configurable?.["checkpoint_ns"]), checkpoint.id]);
  return ids;
}

/** What is stored and nothing refers to: segments no record names, and writes of checkpoints that have no record. */
export function strays(items: readonly Item[]): readonly string[] {
  const used = new Set<string>();
  const checkpoints = new Set<string>();
  const bySeq = new Map<string, ReturnType<typeof readRecord>>();
  for (const item of items.filter(({ sk }) => sk.startsWith("C#"))) bySeq.set(item.sk, readRecord(item));
  for (const [sk, record] of bySeq) {
    if (record.kind !== "checkpoint") continue;
    const prefix = sk.slice(2, sk.lastIndexOf("#") + 1);
    checkpoints.add(`W#${prefix}${record.checkpointId}#`);
    const chain = [record];
    for (let first = record; first.seq !== first.baseSeq;) {
      const parent = bySeq.get(`C#${prefix}${String(first.parentSeq).padStart(12, "0")}`);
      if (parent?.kind !== "checkpoint") throw new Error(`the chain of ${sk} is torn`);
      chain.unshift(parent);
      first = parent;
    }
    for (const name of segmentsNamed(chain)) used.add(`S#${prefix}${name}`);
  }
  const largeTasks = items.filter(({ sk }) => sk.startsWith("W#") && sk.includes("large-")).length;
  const tasks = items.filter(({ sk }) => /^S#[^#]*#[^#]*#w/.test(sk));
  const lost = items.filter(({ sk }) => {
    if (sk.startsWith("S#")) return !/^S#[^#]*#[^#]*#w/.test(sk) && !used.has(sk);
    return sk.startsWith("W#") && ![...checkpoints].some((prefix) => sk.startsWith(prefix));
  });
  return [...lost.map(({ sk }) => sk), ...(tasks.length > 2 * largeTasks ? ["segments of task writes"] : [])];
}
