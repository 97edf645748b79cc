/**
 * The closed set of reasons for which a use case may refuse or fail.
 * HTTP statuses are assigned to them in `http/errors.ts` and nowhere else.
 */
export type ErrorCode =
  | "invalid" // the request cannot be understood or breaks a rule of its schema
  | "unauthenticated"
  | "forbidden"
  | "not_found" // also: exists, but belongs to another tenant
  | "conflict" // the present state does not allow it
  | "gone" // it did exist and can no longer be acted on
  | "precondition_failed" // what the caller was shown is not what is there now
  | "precondition_required"
  | "too_large"
  | "limit" // a named bound was reached; try again later
  | "unavailable" // the table (or something we depend on) is away
  | "unsupported" // part of the contract that this version does not serve
  | "lost" // an older fence tried to write (I2); never shown to clients
  | "item_too_large" // an item above the table's limit
  | "corrupt" // what was read is not what was written
  | "graph_unavailable" // the graph failed to load or is not on this machine
  | "effect_rejected"
  | "effect_ambiguous" // an intent without a result, and nobody may guess (I5)
  | "effect_diverged" // the same effect was asked for with other arguments
  | "internal";

export interface ErrorOptions {
  readonly cause?: unknown;
  /** Machine-readable facts that are safe to show to the caller. */
  readonly detail?: Readonly<Record<string, unknown>>;
  readonly retryAfterMs?: number;
}

/** The one error class: a code from a closed set, a message for people, the cause kept. */
export class HoldpointError extends Error {
  readonly code: ErrorCode;
  readonly detail: Readonly<Record<string, unknown>> | undefined;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "HoldpointError";
    this.code = code;
    this.detail = options.detail;
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** True for a HoldpointError, of the given code when one is named. */
export function isHoldpointError(error: unknown, code?: ErrorCode): error is HoldpointError {
  return error instanceof HoldpointError && (code === undefined || error.code === code);
}

/** Does what a setting asks for; what is refused about it names the setting. */
export async function namingSetting<T>(setting: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isHoldpointError(error)) throw error;
    const { code, message, cause, detail } = error;
    throw new HoldpointError(code, `${setting}: ${message}`, { cause, ...(detail && { detail }) });
  }
}

/** A thrown value as plain data: what a run item, an event frame or a log line keeps of it. */
export interface ErrorInfo {
  readonly name: string;
  readonly message: string;
  /** The node that threw, under those that it runs in (`desk|pay`), where that is known. */
  readonly node?: string;
}

/** Normalises whatever was thrown (also a string, or nothing) to a name and a readable message. */
export function errorInfo(thrown: unknown): ErrorInfo {
  if (thrown instanceof HoldpointError) return { name: thrown.code, message: thrown.message };
  if (thrown instanceof Error) return { name: thrown.name, message: thrown.message || thrown.name };
  if (typeof thrown === "string") return { name: "Error", message: thrown };
  try {
    return { name: "Error", message: JSON.stringify(thrown) ?? String(thrown) };
  } catch {
    return { name: "Error", message: String(thrown) };
  }
}

/** Longest name, and longest message, that is kept of an error: what is thrown may quote whole documents. */
const MAX_KEPT = { name: 256, message: 16_384 } as const;

/** An error as short as an item can hold, however long the text that was thrown. */
export function shortened({ name, message, node }: ErrorInfo): ErrorInfo {
  return {
    name: cut(name, MAX_KEPT.name),
    message: cut(message, MAX_KEPT.message),
    ...(node === undefined ? {} : { node: cut(node, MAX_KEPT.name) }),
  };
}

const cut = (text: string, length: number): string => (text.length <= length ? text : `${text.slice(0, length)}…`);

/** Has a promise resolve with undefined where it is rejected with an error that is meant. */
export const unless =
  (isMeant: (error: unknown) => boolean) =>
  async <T>(work: Promise<T>): Promise<T | undefined> => {
    try {
      return await work;
    } catch (error) {
      if (isMeant(error)) return undefined;
      throw error;
    }
  };
