/**
 * The attempts of one delivery at its tasks: when a failed one is made again, where it waits until then, and what is
 * kept of one that goes on although nobody waits for it any more.
 *
 * LangGraph sleeps through a back-off in memory, deaf to everything. Here its policy decides nothing and sleeps never:
 * after a failure the task's next attempt *is* the rest, which ends at once when the run is stopped; the one after it
 * executes the node, so that no time-out of the node's counts the rest. A back-off too long for this delivery leaves the
 * superstep like a drain does: what other tasks have done is kept, and nothing of this one is written.
 */
import type { BaseCallbackHandler } from "@langchain/core/callbacks/base";
import { GraphDrained, isGraphDrained } from "@langchain/langgraph";
import type { LangGraphRunnableConfig, RetryPolicy } from "@langchain/langgraph";
import type { BaseStore } from "@langchain/langgraph-checkpoint";
import { AsyncLocalStorageProviderSingleton } from "@langchain/core/singletons";
import type { Clock } from "../core/clock.ts";
import type { Retries } from "../core/run.ts";
import { withHandler } from "./gen-ai-callbacks.ts";
import { backoffMs, wantsAnother } from "./retry-policy.ts";
import { callOf, isAnswer, numbered, placeOf, sendOf, stableKey, withChannels } from "./task-config.ts";
import type { Call, TaskPlace, Write } from "./task-config.ts";
import type { Step, StepObserver } from "./step-observer.ts";
import { asError } from "./thrown.ts";

/** Back-off of one task that one delivery waits for. */
const IN_DELIVERY_MS = 2000;

/** Makes LangGraph begin an attempt, and so forget what the one before it has written. */
class Again extends Error {}

/** Ends a superstep without being an error of its node: LangGraph then asks neither policies nor error handlers. */
class LeftUnfinished extends GraphDrained {}

export interface AttemptsOf {
  readonly clock: Clock;
  /** Aborts the run: whatever still executes is left alone, and nothing of it is kept. */
  readonly signal: AbortSignal;
  /** The worker wants to stop: no back-off is waited for. */
  readonly drain: AbortSignal;
  /** Attempts that earlier deliveries made. */
  readonly retries: Retries;
  /** Bound on one attempt of what has none of its own. */
  readonly nodeTimeoutMs: number;
  /**
   * The long-term memory that nodes and tasks are given. LangGraph's own way through the graph would wrap it: then it has
   * no `listNamespaces` and no `batch`, forgets what a put says about its index, and looks every millisecond for work.
   */
  readonly store: BaseStore;
  /** Whether tasks of a graph in this namespace have the same id when they are executed again. */
  readonly isKept: (ns: string) => boolean;
  /** True for an error that no further attempt can change, whatever the policy says. */
  readonly isFinal: (error: unknown) => boolean;
  readonly observer?: StepObserver | undefined;
  /** Hears of each node that is to be tried again, as `desk|pay`. */
  readonly retried: (node: string) => void;
  /** Hears of what nodes call through LangChain. */
  readonly handler?: BaseCallbackHandler | undefined;
}

/** What a delivery leaves to be tried again later. */
export interface Backoff {
  readonly delayMs: number;
  readonly retries: Retries;
  readonly error: unknown;
}

/** A task that this delivery executes. */
interface Task extends TaskPlace {
  /** Its name over deliveries. */
  readonly key: string;
  /** Of functional tasks that it calls and that have none of their own. */
  readonly policy: RetryPolicy | undefined;
  /** Milliseconds of rest so far. */
  rested: number;
  /** The failure after which it rests, and until when, on the monotonic clock. */
  rest?: { readonly error: Error; readonly until: number; readonly isLater: boolean };
  /** The attempt that has just ended was the rest. */
  hasRested: boolean;
  /** What functional tasks have returned to it, by the number of their call within an attempt. */
  readonly returned: Map<number, { readonly name: string; readonly value: Promise<unknown> }>;
  /** With what its next attempt ends at once, having written no more than the answers that the last one was given. */
  leaves?: { readonly error: Error; readonly answers: readonly Write[] };
}

interface TaskOrigin {
  readonly policy: RetryPolicy | undefined;
  /** The task that called this one as a function. */
  readonly caller?: Task;
}

export class Attempts implements Disposable {
  readonly #of: AttemptsOf;
  readonly #tasks = new Map<string, Task>();
  readonly #failures: Map<string, number>;
  readonly #leave = new Set<() => void>();
  #isOver = false;

  constructor(of: AttemptsOf) {
    this.#of = of;
    this.#failures = new Map(Object.entries(of.retries));
    this.#isOver = of.signal.aborted;
    of.signal.addEventListener("abort", this.#end, { once: true });
  }

  /** What is to be tried again later than this delivery waits; of several the longest wait, so that none comes early. */
  get backoff(): Backoff | undefined {
    const waiting = [...this.#tasks.values()].flatMap(({ rest }) => (rest?.isLater ? [rest] : []));
    const [last] = waiting.toSorted((a, b) => b.until - a.until);
    if (last === undefined) return undefined;
    const delayMs = Math.max(0, Math.ceil(last.until - this.#of.clock.monotonic()));
    return { delayMs, retries: Object.fromEntries(this.#failures), error: last.error };
  }

  /** Names of the node that threw this error and of those that it runs in, as `desk|pay`; undefined when no task did. */
  nodeOf(error: unknown): string | undefined {
    const hasTask = typeof error === "object" && error !== null && "pregelTaskId" in error;
    const task = hasTask ? this.#tasks.get(String(error.pregelTaskId)) : undefined;
    return task && namesOf(task);
  }

  /** The policy as LangGraph is to have it, also of what has none: it asks here after every failure, and never sleeps. */
  policy(policy: RetryPolicy | undefined): RetryPolicy {
    const retryOn = (error: Error): boolean => this.#goesOn(error, policy);
    return { maxAttempts: Infinity, initialInterval: 0, jitter: false, logWarning: false, retryOn };
  }

  /** The time-out of what has none of its own. */
  get timeout(): { readonly runTimeout: number } {
    return { runTimeout: this.#of.nodeTimeoutMs };
  }

  /** Whether anybody hears of what nodes call. */
  get hears(): boolean {
    return this.#of.handler !== undefined;
  }

  /** The config with which what an author wrote is called, so that the handler hears of what that calls. */
  heard(config: LangGraphRunnableConfig): LangGraphRunnableConfig {
    const { handler } = this.#of;
    if (!handler) return config;
    // That is the node's own.
    const { runName: _, ...own } = config;
    return { ...own, callbacks: withHandler(config.callbacks, handler) };
  }

  /** One attempt, or the rest before one. */
  async run<T>(
    config: LangGraphRunnableConfig,
    execute: (config: LangGraphRunnableConfig) => Promise<T>,
    of: TaskOrigin,
  ): Promise<T> {
    const task = this.#taskOf(config, of);
    leave(task, config);
    await this.#rest(task, config.signal);
    if (this.#isOver) throw new LeftUnfinished();
    const written: Write[] = [];
    try {
      const attempt = (): Promise<T> => this.#unlessOver(execute(this.#scoped(config, task, written)));
      const { observer } = this.#of;
      const value = await (observer ? observer.observe(this.#stepOf(task), attempt) : attempt());
      // A node may have swallowed that a function it called is to be tried again: it has seen no outcome of it.
      if (this.#isWaitedForWithin(task)) throw new LeftUnfinished();
      this.#tasks.delete(task.taskId);
      this.#failures.delete(task.key);
      return value;
    } catch (thrown) {
      const error = asError(thrown);
      const answers = written.filter(isAnswer);
      // LangGraph would keep half of what a task writes that leaves on its way out, and take it for finished.
      if (!isGraphDrained(error) || answers.length === written.length) throw error;
      task.leaves = { error, answers };
      throw new Again();
    }
  }

  /** From now on nothing that still runs is heard. */
  [Symbol.dispose](): void {
    this.#of.signal.removeEventListener("abort", this.#end);
    this.#end();
  }

  readonly #end = (): void => {
    this.#isOver = true;
    for (const leave of this.#leave) leave();
  };

  #stepOf({ ns, key }: Task): Step {
    const [node = ""] = (ns.split("|").findLast((segment) => segment.includes(":")) ?? ns).split(":");
    return { node, attempt: (this.#failures.get(key) ?? 0) + 1 };
  }

  #taskOf(config: LangGraphRunnableConfig, { policy, caller }: TaskOrigin): Task {
    const place = placeOf(config);
    const known = this.#tasks.get(place.taskId);
    if (known) return known;
    const key = stableKey(place, this.#of.isKept, caller);
    const task: Task = { ...place, key, policy, rested: 0, hasRested: false, returned: new Map() };
    this.#tasks.set(place.taskId, task);
    return task;
  }

  /** Waits out what a back-off still asks for, and ends the attempt: what comes after a rest is a new one. */
  async #rest(task: Task, signal: AbortSignal | undefined): Promise<void> {
    const { rest } = task;
    if (rest === undefined) return;
    const { clock, drain, signal: stop } = this.#of;
    const left = rest.until - clock.monotonic();
    if (!rest.isLater && left > 0) await clock.sleep(left, AbortSignal.any([stop, drain, ...(signal ? [signal] : [])]));
    const isCutShort = rest.until > clock.monotonic();
    if (isCutShort && drain.aborted) task.rest = { ...rest, isLater: true };
    if (this.#isOver || task.rest?.isLater) throw new LeftUnfinished();
    if (!isCutShort) {
      delete task.rest;
      task.hasRested = true;
    }
    throw rest.error;
  }

  /** Asked by LangGraph after every failed attempt: whether there is to be another. */
  #goesOn(error: Error, policy: RetryPolicy | undefined): boolean {
    const task = this.#tasks.get(String("pregelTaskId" in error ? error.pregelTaskId : ""));
    if (task === undefined || this.#isOver) return false;
    if (task.leaves !== undefined) return true;
    // The node's time-out ended a rest, which then goes on; or the rest is over.
    if (task.rest !== undefined || task.hasRested) {
      task.hasRested = false;
      return true;
    }
    const { clock, drain } = this.#of;
    const failures = (this.#failures.get(task.key) ?? 0) + 1;
    // An exhausted task that is executed again, because the node around it is, begins anew.
    this.#failures.delete(task.key);
    if (!policy || this.#of.isFinal(error) || !wantsAnother(policy, failures, error)) return false;
    this.#failures.set(task.key, failures);
    this.#of.observer?.retried(this.#stepOf(task).node);
    this.#of.retried(namesOf(task));
    const interval = backoffMs(policy, failures, task.key);
    const isLater = drain.aborted || task.rested + interval > IN_DELIVERY_MS;
    task.rested += isLater ? 0 : interval;
    task.rest = { error, until: clock.monotonic() + interval, isLater };
    return true;
  }

  /**
   * The config of one attempt: it has the store, it knows its number over deliveries, and what it says once the run is
   * over is not heard.
   */
  #scoped(config: LangGraphRunnableConfig, task: Task, written: Write[]): LangGraphRunnableConfig {
    const { writer, executionInfo } = config;
    const nodeAttempt = (this.#failures.get(task.key) ?? 0) + 1;
    const scoped: LangGraphRunnableConfig = {
      ...config,
      store: this.#of.store,
      ...(executionInfo ? { executionInfo: { ...executionInfo, nodeAttempt } } : {}),
      ...(writer ? { writer: (chunk: unknown): void => void (this.#isOver || writer(chunk)) } : {}),
    };
    const [send, call] = [sendOf(config), callOf(config)];
    return withChannels(scoped, {
      send: (writes) => {
        written.push(...writes);
        send?.(writes);
      },
      ...(call ? { call: this.#supervisedCall(call, task) } : {}),
    });
  }

  /**
   * Functional tasks are called through the config of the node that calls them. LangGraph counts their calls on when the
   * node is tried again, and would execute anew what has returned already: here they are counted within an attempt, as
   * they are in another delivery, and what one has returned stands. One that fails fails the superstep, whatever its node
   * does: so the policy of the node is that of its tasks, unless they have their own.
   */
  #supervisedCall(call: Call, caller: Task): Call {
    let calls = 0;
    return (func, name, input, options = {}) => {
      if (this.#isOver) throw new LeftUnfinished();
      const number = calls++;
      const before = caller.returned.get(number);
      if (before?.name === name) return before.value;
      const { retry: policy = caller.policy, timeout = this.timeout } = options;
      const supervised = (...args: unknown[]): Promise<unknown> => {
        const own = AsyncLocalStorageProviderSingleton.getRunnableConfig() as LangGraphRunnableConfig; // the task's
        const config = numbered(own, number);
        const execute = (scoped: LangGraphRunnableConfig): Promise<unknown> =>
          AsyncLocalStorageProviderSingleton.runWithConfig(this.heard(scoped), async () => func(...args));
        return this.run(config, execute, { policy, caller });
      };
      const value = call(supervised, name, input, { ...options, retry: this.policy(policy), timeout });
      void value.then(
        () => caller.returned.set(number, { name, value }),
        () => undefined,
      );
      return value;
    };
  }

  #isWaitedForWithin({ ns }: Task): boolean {
    for (const task of this.#tasks.values()) if (task.rest?.isLater && task.ns.startsWith(`${ns}|`)) return true;
    return false;
  }

  /** The run is over at once, whatever a node does with its signal; LangGraph itself stops listening once a task of the superstep has finished. */
  #unlessOver<T>(attempt: Promise<T>): Promise<T> {
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const leave = (): void => reject(new LeftUnfinished());
    this.#leave.add(leave);
    attempt.then(resolve, reject).finally(() => this.#leave.delete(leave));
    return promise;
  }
}

const namesOf = ({ ns }: TaskPlace): string =>
  ns
    .split("|")
    .map((segment) => segment.split(":")[0])
    .join("|");

/** Ends an attempt that only began so that what the one before it had written is forgotten. */
function leave(task: Task, config: LangGraphRunnableConfig): void {
  const { leaves } = task;
  if (leaves === undefined) return;
  delete task.leaves;
  if (leaves.answers.length > 0) sendOf(config)?.(leaves.answers);
  throw leaves.error;
}
