/**
 * Log records as items, and back. Attribute names are short because every record pays for them; they never change
 * meaning. One conditional put of a record is both its data and its commit point (I3).
 */
import { HoldpointError } from "../core/errors.ts";
import { newerFormat } from "../core/newer-format.ts";
import { threadKeys } from "../storage/keys.ts";
import type { Attributes, Draft, Item, Key, Value } from "../storage/table.ts";
import type { NamespaceRef } from "./segments.ts";

/** The latest that this version reads of each kind. Barriers and resets are as they were in the first. */
const VERSIONS = { c: 3, b: 1, r: 1, x: 2 } as const;

interface Positioned {
  /** Position in the log of the namespace, from 1. Never reused. */
  readonly seq: number;
  readonly fence: number;
  /** Position of the last cut, itself or below; absent where nothing was ever pruned. */
  readonly cutSeq?: number;
}

/** What a record says no longer counts of those below it; see `cuts.ts`. */
export interface Cut {
  /** Position below which nothing counts. */
  readonly floor: number;
  /** Runs of which no checkpoint counts. */
  readonly runs: readonly string[];
  /** What it hides has been removed. */
  readonly done: boolean;
}

export interface CheckpointRecord extends Positioned {
  readonly kind: "checkpoint";
  /** How its body describes cells: 3 is 2 in a record that is a cut. */
  readonly format: 1 | 2 | 3;
  readonly cut?: Cut;
  /** Of a cut: task writes that count besides those of its fence, as a barrier names them. */
  readonly sealed?: readonly string[];
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
  readonly cut?: Cut;
  readonly targetSeq: number;
  readonly checkpointId?: string;
  readonly sealed: readonly string[];
}

/** Where a record was removed: nobody may put another there (I2). */
export interface RemovedRecord extends Positioned {
  readonly kind: "removed";
}

/** A record that says which task writes below it still count. */
export type Mark = BarrierRecord | ResetRecord;

export type CutRecord = (CheckpointRecord | ResetRecord) & { readonly cut: Cut };

export const isCut = (record: LogRecord): record is CutRecord => "cut" in record;

export type LogRecord = CheckpointRecord | BarrierRecord | ResetRecord | RemovedRecord;

const KINDS = { checkpoint: "c", barrier: "b", reset: "r", removed: "x" } as const;

const optional = (name: string, value: Value | undefined): Attributes => (value === undefined ? {} : { [name]: value });

/** The item of a record. */
export function recordDraft(at: NamespaceRef, record: LogRecord): Draft {
  const key = threadKeys.log(at.thread, at.generation, at.ns, record.seq);
  const version = record.kind === "checkpoint" ? record.format : VERSIONS[KINDS[record.kind]];
  const common = {
    v: version,
    k: KINDS[record.kind],
    f: record.fence,
    ...optional("cu", record.cutSeq),
    ...fullTexts(key, at),
  };
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
          ...cutAttributes(record.cut),
          ...optional("se", record.sealed),
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
        attributes: {
          ...common,
          ...optional("id", record.checkpointId),
          se: record.sealed,
          ps: record.targetSeq,
          ...cutAttributes(record.cut),
        },
      };
    case "removed":
      return { ...key, attributes: common };
  }
}

/** The attribute by which a cut says that what it hides has been removed. */
export const DONE = { dn: 1 } as const;

const cutAttributes = (cut: Cut | undefined): Attributes =>
  cut === undefined ? {} : { fl: cut.floor, dr: cut.runs, ...(cut.done ? DONE : {}) };

function cutIn(fields: Fields): { readonly cut?: Cut } {
  const floor = fields.optionalNumber("fl");
  if (floor === undefined) return {};
  return { cut: { floor, runs: fields.texts("dr"), done: fields.optionalNumber("dn") === DONE.dn } };
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

const isKind = (kind: string | undefined): kind is keyof typeof VERSIONS => kind !== undefined && kind in VERSIONS;

/** @throws HoldpointError `corrupt` when the item is no log record, `unsupported` when it is one of a newer version */
export function readRecord(item: Item): LogRecord {
  const fields = createFields(item);
  const kind = fields.text("k");
  const format = fields.version(isKind(kind) ? VERSIONS[kind] : VERSIONS.b);
  const cutSeq = fields.optionalNumber("cu");
  const at = {
    seq: Number(item.sk.slice(item.sk.lastIndexOf("#") + 1)),
    fence: fields.number("f"),
    ...(cutSeq === undefined ? {} : { cutSeq }),
  };
  const root = fields.text("r");
  const checkpointId = fields.text("id");
  switch (kind) {
    case KINDS.checkpoint:
      return { ...at, ...(root === undefined ? {} : { root }), ...checkpointIn(fields, format) };
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
        ...cutIn(fields),
      };
    case KINDS.removed:
      return { ...at, kind: "removed" };
    case undefined:
    default:
      throw fields.corrupt("is of an unknown kind");
  }
}

function checkpointIn(fields: Fields, format: number): Omit<CheckpointRecord, keyof Positioned> {
  const checkpointId = fields.text("id");
  const parentId = fields.text("p");
  const parentSeq = fields.optionalNumber("ps");
  const runId = fields.text("ru");
  const inputStep = fields.optionalNumber("is");
  if (checkpointId === undefined) throw fields.corrupt("has no checkpoint id");
  return {
    kind: "checkpoint",
    format: format === 1 || format === 2 ? format : 3,
    checkpointId,
    ...(parentId === undefined ? {} : { parentId }),
    ...(parentSeq === undefined ? {} : { parentSeq }),
    baseSeq: fields.number("bs"),
    depth: fields.number("n"),
    deltaBytes: fields.number("d"),
    step: fields.number("st"),
    ...(inputStep === undefined ? {} : { inputStep }),
    source: fields.text("so") ?? "",
    ...(runId === undefined ? {} : { runId }),
    hash: fields.bytes("h"),
    body: fields.bytes("b"),
    ...cutIn(fields),
    ...(format === 3 ? { sealed: fields.texts("se") } : {}),
  };
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
