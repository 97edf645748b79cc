/** A client that never gives up: every request carries an idempotency key and is repeated under it until it is answered. */

export interface Reply {
  readonly status: number;
  readonly body: Readonly<Record<string, unknown>>;
}

export interface Sending {
  readonly key?: string;
  readonly body?: unknown;
  /** The statuses that are an answer; 200 by default. */
  readonly answers?: readonly number[];
}

export interface Patient {
  /** Sends until there is an answer. @throws Error for an answer that no repetition would change */
  readonly send: (path: string, sending?: Sending) => Promise<Reply>;
}

export interface PatientOptions {
  /** Asked anew for each attempt. */
  readonly url: () => string;
  readonly headers?: Readonly<Record<string, string>>;
  /** How long it asks for one answer. */
  readonly patienceMs?: number;
}

export const PATIENCE_MS = 90_000;
const PAUSE_MS = 25;
const ATTEMPT_MS = 10_000;

export function createPatient({ url, headers = {}, patienceMs = PATIENCE_MS }: PatientOptions): Patient {
  const attempt = async (path: string, { key, body }: Sending): Promise<Reply | undefined> => {
    try {
      const response = await fetch(`${url()}${path}`, {
        method: body === undefined ? "GET" : "POST",
        headers: {
          "content-type": "application/json",
          ...headers,
          ...(key === undefined ? {} : { "idempotency-key": key }),
        },
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(ATTEMPT_MS),
      });
      return { status: response.status, body: (await response.json()) as Reply["body"] };
    } catch {
      // The process was killed before it answered.
      return undefined;
    }
  };
  return {
    send: (path, sending = {}) => {
      const ask = async () => {
        const { answers = [200] } = sending;
        const reply = await attempt(path, sending);
        if (reply && answers.includes(reply.status)) return reply;
        if (!reply || reply.status >= 500 || reply.status === 429) return undefined;
        throw new Error(`${path} was answered ${reply.status} ${JSON.stringify(reply.body)}`);
      };
      return patiently(`an answer to ${path}`, ask, undefined, patienceMs);
    },
  };
}

/** The first answer of `probe`. @throws Error when there is none for so long, with what `explain` says */
export async function patiently<T>(
  what: string,
  probe: () => Promise<T | undefined> | T | undefined,
  explain?: () => Promise<string>,
  patienceMs = PATIENCE_MS,
): Promise<T> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const found = await probe();
    if (found !== undefined) return found;
    if (performance.now() > deadline)
      throw new Error(`waited ${patienceMs} ms for ${what} ${(await explain?.()) ?? ""}`);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
}
