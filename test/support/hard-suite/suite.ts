/**
 * The hard suite: what a checkpoint saver must not do that the official conformance suite does not look for. It takes any
 * saver, needs no test runner, and says of each case whether it passed, why it failed, or why it says nothing here.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { BaseCheckpointSaver } from "@langchain/langgraph-checkpoint";
import { branchCases } from "./branches.ts";
import { deletionCases } from "./deletion.ts";
import { graphCases } from "./graphs.ts";
import { idCases } from "./ids.ts";
import { lifecycleCases } from "./lifecycle.ts";
import { listCases } from "./lists.ts";
import { sizeCases } from "./sizes.ts";
import { tornCases } from "./torn.ts";
import { valueCases } from "./values.ts";
import { writeCases } from "./writes.ts";
import { writerCases } from "./writers.ts";

/** A saver one of whose storage writes waits. */
export interface HeldSaver {
  readonly saver: BaseCheckpointSaver;
  /** Fulfilled when the write is about to be applied. */
  readonly reached: Promise<void>;
  readonly release: () => void;
}

/** A kind of saver on one storage, which may hold other threads too. */
export interface Subject {
  readonly name: string;
  /** A fresh saver on the storage, as a second process has. */
  open(): Promise<BaseCheckpointSaver>;
  /** A fresh saver whose n-th storage write, from 1, fails before it is applied; so does every later one. */
  readonly failing?: (nth: number) => Promise<BaseCheckpointSaver>;
  /** A fresh saver whose n-th storage write, from 1, waits until it is released. */
  readonly holding?: (nth: number) => Promise<HeldSaver>;
  /** Bytes that all its savers have written so far; where it is missing, what goes through the serializer is counted. */
  readonly written?: () => number;
}

/** That a case says nothing about a subject, and why. */
export interface NotApplicable {
  readonly notApplicable: string;
}

export interface HardCase {
  /** What must hold. */
  readonly name: string;
  /** Rejects when it does not. */
  readonly run: (subject: Subject) => Promise<void | NotApplicable>;
}

export type Result = { readonly name: string } & (
  | { readonly outcome: "pass" }
  | { readonly outcome: "fail"; readonly reason: string }
  | { readonly outcome: "not applicable"; readonly reason: string }
);

/** Milliseconds after which a case that has not ended has failed. */
const DEADLINE_MS = 120_000;
const REASON_LENGTH = 300;

export const hardCases: readonly HardCase[] = [
  ...branchCases,
  ...valueCases,
  ...sizeCases,
  ...graphCases,
  ...writeCases,
  ...tornCases,
  ...writerCases,
  ...listCases,
  ...idCases,
  ...deletionCases,
  ...lifecycleCases,
];

/** Puts a subject through one case. */
export async function runHardCase(subject: Subject, { name, run }: HardCase): Promise<Result> {
  const stop = new AbortController();
  const late = sleep(DEADLINE_MS, undefined, { signal: stop.signal }).then(() => {
    throw new Error(`did not end within ${DEADLINE_MS} ms`);
  });
  try {
    const answer = await Promise.race([run(subject), late]);
    return answer === undefined
      ? { name, outcome: "pass" }
      : { name, outcome: "not applicable", reason: answer.notApplicable };
  } catch (error) {
    return { name, outcome: "fail", reason: reasonOf(error) };
  } finally {
    // Nobody waits for it any more.
    late.catch(() => undefined);
    stop.abort();
  }
}

/** In one line: some errors are long, and some repeat the value that they are about. */
function reasonOf(error: unknown): string {
  const text = error instanceof Error ? (error.message === "" ? error.name : error.message) : String(error);
  const line = text.replaceAll(/\s+/g, " ").trim();
  return line.length > REASON_LENGTH ? `${line.slice(0, REASON_LENGTH)}…` : line;
}
