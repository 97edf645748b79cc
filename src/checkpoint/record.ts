/**
 * Log records as items, and back. Attribute names are short because every record pays for them; they never change
 * meaning. One conditional put of a record is both its data and its commit point (I3).
 */
import { HoldpointError } from "../core/errors.ts";
import { newerFormat } from "../core/newer-format.ts";
import { threadKeys } from "../storage/keys.ts";
import type { Attributes, Draft, Item, Key, Value } from "../storage/table.ts";
import type { NamespaceRef } from "./segments.ts";

/** Of checkpoints; barriers and resets are as they were in the first. */
const RECORD_VERSION = 2;
const MARK_VERSION = 1;

interface Positioned {
  /** Position in the log of the namespace, from 1. Never reused. */
  readonly seq: number;
  readonly fence: number;
}

export interface CheckpointRecord extends Positioned {
  readonly kind: "checkpoint";
  /** How its body describes cells. */
  readonly format: 1 | 2;
  readonly checkpointId: string;
  readonly parentId?: string;
  /** Position of the parent, when it is in this log. */
  readonly parentSeq?: number;
  /** Position of the record that holds the whole state; the records from there on hold what changed. */
  readonly baseSeq: number;
  /** Records in the chain from the base to this one, and the serialized bytes that all but the base hold. */
  readonly depth: number;
  readonly deltaBytes: number;
  readonly root?: string;
  readonly step: number;
  /** Step of the input from which this branch is counted; absent in records of older versions, and in what follows them. */
  readonly inputStep?: number;
  readonly source: string;
  readonly runId?: string;
  /** First 16 bytes of a SHA-256 over the header and the whole state. */
  readonly hash: Uint8Array;
  readonly body: Uint8Array;
}

/** A new holder's mark: an earlier holder's next append collides with it (I2). */
export interface BarrierRecord extends Positioned {
  readonly kind: "barrier";
  /** The checkpoint from which the delivery executes; absent in an empty namespace. */
  readonly checkpointId?: string;
  /** Task writes of earlier holders that stay visible: `taskId.fence`, or `taskId.fence.idx` for a special one. */
  readonly sealed: readonly string[];
  readonly root?: string;
}

/** Goes back: what stands between its target and itself is hidden. Position 0 is before the first record. */
export interface ResetRecord extends Positioned {
  readonly kind: "reset";
  readonly targetSeq: number;
  readonly checkpointId?: string;
  readonly sealed: readonly string[];
}

/** A record that says which task writes below it still count. */
export type Mark = BarrierRecord | ResetRecord;

export type LogRecord = CheckpointRecord | BarrierRecord | ResetRecord;

const KINDS = { checkpoint: "c", barrier: "b", reset: "r" } as const;

const optional = (name: string, value: Value | undefined): Attributes => (value === undefined ? {} : { [name]: value });

/** The item of a record. */
export function recordDraft(at: NamespaceRef, record: LogRecord): Draft {
  const key = threadKeys.log(at.thread, at.generation, at.ns, record.seq);
  const version = record.kind === "checkpoint" ? record.format : MARK_VERSION;
  const common = { v: version, k: KINDS[record.kind], f: record.fence, ...fullTexts(key, at) };
  switch (record.kind) {
    case "checkpoint":
      return {
        ...key,
        attributes: {
          ...common,
          id: record.checkpointId,
          ...optional("p", record.parentId),
          ...optional("ps", record.parentSeq),
          bs: record.baseSeq,
          n: record.depth,
          d: record.deltaBytes,
          ...optional("r", record.root),
          st: record.step,
          ...optional("is", record.inputStep),
          so: record.source,
          ...optional("ru", record.runId),
          h: record.hash,
          b: record.body,
        },
      };
    case "barrier":
      return {
        ...key,
        attributes: {
          ...common,
          ...optional("id", record.checkpointId),
          se: record.sealed,
          ...optional("r", record.root),
        },
      };
    case "reset":
      return {
        ...key,
        attributes: { ...common, ...optional("id", record.checkpointId), se: record.sealed, ps: record.targetSeq },
      };
  }
}

/** A namespace or thread id whose part of the key is a hash is kept whole in the item. */
const fullTexts = (key: Key, at: NamespaceRef): Attributes => ({
  ...(partInKey(key.sk, 2) === undefined ? { ns: at.ns } : {}),
  ...(partInKey(key.pk, 2) === undefined ? { t: at.thread.threadId } : {}),
});

function partInKey(key: string, index: number): string | undefined {
  const escaped = key.split("#")[index] ?? "";
  return escaped.startsWith("%~") ? undefined : escaped.replaceAll("%23", "#").replaceAll("%25", "%");
}

/** The thread of a log item. */
export function threadOf(item: Item): string {
  const threadId = partInKey(item.pk, 2) ?? item.attributes["t"];
  if (typeof threadId !== "string")
    throw new HoldpointError("corrupt", `log record ${item.sk} does not say its thread`);
  return threadId;
}

/** The namespace of a log item. */
export function namespaceOf(item: Item): string {
  const ns = partInKey(item.sk, 2) ?? item.attributes["ns"];
  if (typeof ns !== "string") throw new HoldpointError("corrupt", `log record ${item.sk} does not say its namespace`);
  return ns;
}

/** @throws HoldpointError `corrupt` when the item is no log record, `unsupported` when it is one of a newer version */
export function readRecord(item: Item): LogRecord {
  const fields = createFields(item);
  const kind = fields.text("k");
  const format = fields.version(kind === KINDS.checkpoint ? RECORD_VERSION : MARK_VERSION);
  const at = { seq: Number(item.sk.slice(item.sk.lastIndexOf("#") + 1)), fence: fields.number("f") };
  const root = fields.text("r");
  const checkpointId = fields.text("id");
  switch (kind) {
    case KINDS.checkpoint: {
      const parentId = fields.text("p");
      const parentSeq = fields.optionalNumber("ps");
      const runId = fields.text("ru");
      const inputStep = fields.optionalNumber("is");
      if (checkpointId === undefined) throw fields.corrupt("has no checkpoint id");
      return {
        ...at,
        kind: "checkpoint",
        format: format === 1 ? 1 : 2,
        checkpointId,
        ...(parentId === undefined ? {} : { parentId }),
        ...(parentSeq === undefined ? {} : { parentSeq }),
        baseSeq: fields.number("bs"),
        depth: fields.number("n"),
        deltaBytes: fields.number("d"),
        ...(root === undefined ? {} : { root }),
        step: fields.number("st"),
        ...(inputStep === undefined ? {} : { inputStep }),
        source: fields.text("so") ?? "",
        ...(runId === undefined ? {} : { runId }),
        hash: fields.bytes("h"),
        body: fields.bytes("b"),
      };
    }
    case KINDS.barrier:
      return {
        ...at,
        kind: "barrier",
        ...(checkpointId === undefined ? {} : { checkpointId }),
        sealed: fields.texts("se"),
        ...(root === undefined ? {} : { root }),
      };
    case KINDS.reset:
      return {
        ...at,
        kind: "reset",
        targetSeq: fields.number("ps"),
        ...(checkpointId === undefined ? {} : { checkpointId }),
        sealed: fields.texts("se"),
      };
    case undefined:
    default:
      throw fields.corrupt("is of an unknown kind");
  }
}

/** Typed access to the attributes of an item that this folder wrote. */
export interface Fields {
  corrupt(what: string): HoldpointError;
  /** From 1 to the one that this reader knows. @throws HoldpointError `unsupported` above it, `corrupt` below 1 */
  version(known: number): number;
  number(name: string): number;
  optionalNumber(name: string): number | undefined;
  text(name: string): string | undefined;
  texts(name: string): readonly string[];
  bytes(name: string): Uint8Array;
}

export function createFields(item: Item): Fields {
  const { attributes } = item;
  const corrupt = (what: string): HoldpointError => new HoldpointError("corrupt", `item ${item.sk} ${what}`);
  const optionalNumber = (name: string): number | undefined => {
    const value = attributes[name];
    return typeof value === "number" ? value : undefined;
  };
  const number = (name: string): number => {
    const value = optionalNumber(name);
    if (value === undefined) throw corrupt(`lacks the number ${name}`);
    return value;
  };
  return {
    corrupt,
    version: (known) => {
      const version = number("v");
      if (version > known) throw newerFormat(`item ${item.sk} of version ${version}`);
      if (version < 1) throw corrupt(`is of the unknown version ${version}`);
      return version;
    },
    optionalNumber,
    number,
    text: (name) => {
      const value = attributes[name];
      return typeof value === "string" ? value : undefined;
    },
    texts: (name) => {
      const value = attributes[name];
      return Array.isArray(value) ? value.filter((entry) => typeof entry === "string") : [];
    },
    bytes: (name) => {
      const value = attributes[name];
      if (!(value instanceof Uint8Array)) throw corrupt(`lacks the bytes ${name}`);
      return value;
    },
  };
}
