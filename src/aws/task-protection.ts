/**
 * Task protection of Amazon ECS: while it lasts, scaling in and deployments stop other tasks of the service first.
 * https://docs.aws.amazon.com/AmazonECS/latest/developerguide/task-scale-in-protection-endpoint.html
 *
 * Must stay true:
 * - Nobody waits for it, and it throws nothing: work without protection is only less protected.
 * - It never outlasts the process by more than its expiry, and is renewed at half of that.
 * - A worker that is idle for a moment between two runs keeps it.
 */
import { z } from "zod";
import type { Clock } from "../core/clock.ts";
import { errorInfo } from "../core/errors.ts";

export interface EcsTaskProtection extends AsyncDisposable {
  busy(): void;
  idle(): void;
}

export interface EcsTaskProtectionOptions {
  /** `ECS_AGENT_URI`, as the agent gives it to each container. */
  readonly agentUri: string;
  readonly clock: Clock;
  readonly log: { warn(fields: Readonly<Record<string, unknown>>, message: string): void };
}

const EXPIRES_MINUTES = 10;
const RENEW_MS = (EXPIRES_MINUTES * 60_000) / 2;
/** After the last work. */
const LINGER_MS = 30_000;
const RETRY_MS = 30_000;
const ANSWER_MS = 5_000;
const WARN_EVERY_MS = 600_000;

/** Protects this task while the worker holds anything; disposing gives the protection up. */
export function createEcsTaskProtection(options: EcsTaskProtectionOptions): EcsTaskProtection {
  return new AgentTaskProtection(options);
}

class AgentTaskProtection implements EcsTaskProtection {
  readonly #options: EcsTaskProtectionOptions;
  readonly #stop = new AbortController();
  readonly #following: Promise<void>;
  #changed = new AbortController();
  /** Until when protection is wanted. */
  #until = -Infinity;
  #isHeld = false;
  #askAgainAt = -Infinity;
  #warnAgainAt = -Infinity;

  constructor(options: EcsTaskProtectionOptions) {
    this.#options = options;
    this.#following = this.#follow();
  }

  busy(): void {
    this.#want(Infinity);
  }

  idle(): void {
    this.#want(this.#options.clock.monotonic() + LINGER_MS);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stop.abort();
    this.#changed.abort();
    await this.#following;
    if (this.#isHeld) await this.#ask(false);
  }

  #want(until: number): void {
    this.#until = until;
    this.#changed.abort();
  }

  async #follow(): Promise<void> {
    const { clock } = this.#options;
    while (!this.#stop.signal.aborted) {
      this.#changed = new AbortController();
      const now = clock.monotonic();
      const isWanted = now < this.#until;
      if (isWanted && now >= this.#askAgainAt) {
        this.#askAgainAt = now + ((await this.#ask(true)) ? RENEW_MS : RETRY_MS);
      } else if (isWanted) {
        await this.#sleepUntil(Math.min(this.#askAgainAt, this.#until));
      } else if (this.#isHeld) {
        await this.#ask(false);
        this.#isHeld = false;
        this.#askAgainAt = -Infinity;
      } else {
        await this.#sleepUntil(Infinity);
      }
    }
  }

  /** Or until something else is wanted. */
  #sleepUntil(time: number): Promise<void> {
    const { clock } = this.#options;
    const signal = this.#changed.signal;
    if (time !== Infinity) return clock.sleep(time - clock.monotonic(), signal);
    return new Promise((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener("abort", () => resolve(), { once: true });
    });
  }

  async #ask(enabled: boolean): Promise<boolean> {
    try {
      await this.#put(enabled);
      this.#isHeld = enabled;
      this.#warnAgainAt = -Infinity;
      return true;
    } catch (error) {
      this.#warn(enabled, error);
      return false;
    }
  }

  async #put(enabled: boolean): Promise<void> {
    const { agentUri, clock } = this.#options;
    const answered = new AbortController();
    const late = new AbortController();
    void clock.sleep(ANSWER_MS, answered.signal).then(() => late.abort(new Error(`no answer within ${ANSWER_MS} ms`)));
    try {
      const response = await fetch(`${agentUri}/task-protection/v1/state`, {
        method: "PUT",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({
          ProtectionEnabled: enabled,
          ...(enabled ? { ExpiresInMinutes: EXPIRES_MINUTES } : {}),
        }),
        signal: late.signal,
      });
      assertDone(enabled, answer.parse(await response.json()));
    } finally {
      answered.abort();
    }
  }

  #warn(enabled: boolean, error: unknown): void {
    const { clock, log } = this.#options;
    const now = clock.monotonic();
    if (now < this.#warnAgainAt) return;
    this.#warnAgainAt = now + WARN_EVERY_MS;
    const what = enabled
      ? "task protection was not granted; runs go on, and scaling in may interrupt them"
      : "task protection was not given up; it expires by itself";
    log.warn({ reason: errorInfo(error).message }, what);
  }
}

/** What the agent answers: one of the three. */
const answer = z.object({
  protection: z.object({ ProtectionEnabled: z.boolean() }).nullish(),
  failure: z.object({ Reason: z.string().optional() }).nullish(),
  error: z.object({ Code: z.string().optional(), Message: z.string().optional() }).nullish(),
});

function assertDone(enabled: boolean, { protection, failure, error }: z.infer<typeof answer>): void {
  if (protection?.ProtectionEnabled === enabled) return;
  const reason = failure?.Reason ?? [error?.Code, error?.Message].filter((part) => part !== undefined).join(": ");
  throw new Error(reason === "" ? "the agent did not say that it was done" : reason);
}
