/**
 * A retry that outlives its worker: a failed node is tried again after a durable timer, and when nothing helps, somebody
 * decides. It is the node's own error handler, since a failed task fires neither its static nor its barrier edges, and a
 * node `<name>~wait`, which waits and goes back.
 *
 * - The handler throws no error: LangGraph would swallow the same one and end the run as a success, and a resume would
 *   execute the handler again, never the node. Only what stops the run, such as a table that is away, has it executed again.
 * - Failures are counted by visits that follow one another, in a channel of which only the wait node knows, and which has
 *   no default: no reader, and no input of the graph, ever sees it.
 * - What nobody may guess (an effect without an answer) never gets here: it stops the run as a drain does.
 */
import { Annotation, Command } from "@langchain/langgraph";
import { HoldpointError, errorInfo, shortened } from "../core/errors.ts";
import type { ErrorInfo } from "../core/errors.ts";
import { contextOf } from "./context.ts";
import type { NodeConfig } from "./context.ts";
import { stoppable } from "./effect.ts";
import { assertKnown } from "./known.ts";
import type { Fields } from "./known.ts";
import { review } from "./review.ts";
import type { ReviewAnswer, ReviewSpec } from "./review.ts";
import { RunStopped } from "./stop.ts";
import { isToolNode } from "./tool-node.ts";
import { until } from "./until.ts";
import { where } from "./where.ts";

const MAX_BACKOFF_MS = 24 * 3_600_000;

export interface RetryOptions {
  /** Executions of the node in all, the first one included. */
  readonly attempts: number;
  /** Before the second execution; twice as long before each further one. */
  readonly backoffMs: number;
  /** A day unless given. */
  readonly maxBackoffMs?: number;
  /** False: not worth trying again, so that what comes last comes at once. */
  readonly retryOn?: (error: Error) => boolean;
  /** What comes when the attempts are used up: the run ends as `error` unless something is said. */
  readonly exhausted?: "throw" | "ask-a-person" | GiveUp;
  /** How a person is asked. An approval begins all attempts anew. */
  readonly ask?: Question;
  /** Where to go when the person says no; without it the run ends as `error`. */
  readonly rejected?: GiveUp;
}

type Question = Partial<Pick<ReviewSpec, "title" | "description" | "groups" | "risk">>;

/** Another node, and what it finds in the state. */
export interface GiveUp {
  readonly goto: string;
  readonly update?: (failure: RetryFailure) => object;
}

export interface RetryFailure {
  readonly node: string;
  readonly attempts: number;
  /** Of the last attempt. */
  readonly error: ErrorInfo;
  /** What the person said, where one was asked. */
  readonly answer?: ReviewAnswer;
}

/** A builder that has the node; its edges may come before or after. */
export interface RetryBuilder {
  readonly nodes: Readonly<Record<string, unknown>>;
}

/** What is known of the failures of a node. */
interface Tally {
  readonly visit: number;
  readonly attempts: number;
  readonly error: ErrorInfo;
  /** Not to be tried again. */
  readonly fatal: boolean;
  /** The run in which it failed. */
  readonly run: string;
  /** Table time. */
  readonly at: number;
  /** What comes next is counted from one. */
  readonly closed?: boolean;
}

/**
 * Has a node of the builder tried again. A join behind it needs a barrier edge (`addEdge([…], join)`); a node that Sends
 * start belongs into a subgraph of its own, to which the Sends go, and so does one with functional tasks that may fail:
 * LangGraph has them fail the superstep, and never asks their node's error handler.
 * @throws HoldpointError `invalid` for a node that is not there, is a tool node, or has an error handler
 */
export function addRetry<B extends RetryBuilder>(
  builder: B,
  node: keyof B["nodes"] & string,
  options: RetryOptions,
): B {
  assertOptions(node, options);
  const loose = builder as unknown as LooseBuilder; // names and state of the builder's types do not matter here
  const spec = loose.nodes[node];
  if (!spec) throw new HoldpointError("invalid", `addRetry(): there is no node ${node} yet`);
  if (spec.errorHandlerNode !== undefined)
    throw new HoldpointError("invalid", `addRetry(): node ${node} has an error handler of its own`);
  if (isToolNode(spec.runnable.func))
    throw new HoldpointError(
      "invalid",
      `addRetry(): ${node} is a tool node, whose calls are functional tasks: make it a graph of its own, and that the node`,
    );
  const [wait, channel] = [`${node}~wait`, `${node}~retry`];
  const { runnable, errorHandlerNode: _, ...kept } = spec;
  delete loose.nodes[node];
  loose.addNode(node, runnable, {
    ...kept,
    errorHandler: async (_state, failure, config) => {
      const tally = await tallyOf(failure.error, config, options);
      return new Command({ goto: wait, update: { [channel]: tally } });
    },
  });
  const goesTo = [options.exhausted, options.rejected].flatMap((end) => (typeof end === "object" ? [end.goto] : []));
  loose.addNode(wait, (state, config) => waited({ node, channel, options }, state[channel], config), {
    input: Annotation.Root({ [channel]: Annotation<Tally>({ reducer: counted }) }),
    ends: [node, ...goesTo],
  });
  return builder;
}

interface NodeSpec {
  /** Of a node that is a function, with that. */
  readonly runnable: { readonly func?: unknown };
  readonly errorHandlerNode?: string;
}

interface LooseBuilder {
  readonly nodes: Record<string, NodeSpec>;
  addNode(name: string, action: unknown, options: HandledOptions): void;
  addNode(
    name: string,
    action: (state: Readonly<Record<string, Tally>>, config: NodeConfig) => Promise<Command>,
    options: { readonly input: unknown; readonly ends: readonly string[] },
  ): void;
}

interface HandledOptions {
  readonly errorHandler: (state: unknown, failure: { readonly error: Error }, config: NodeConfig) => Promise<Command>;
}

const FIELDS: Fields<RetryOptions> = {
  attempts: true,
  backoffMs: true,
  maxBackoffMs: true,
  retryOn: true,
  exhausted: true,
  ask: true,
  rejected: true,
};

const ASK: Fields<Question> = { title: true, description: true, groups: true, risk: true };

function assertOptions(node: string, options: RetryOptions): void {
  assertKnown(`addRetry() of ${node}`, options, FIELDS);
  const { attempts, backoffMs, ask = {} } = options;
  // Now, and not once a person has to be asked.
  assertKnown(`\`ask\` of addRetry() of ${node}`, ask, ASK);
  if (ask.groups?.length === 0)
    throw new HoldpointError("invalid", `addRetry(): \`ask.groups\` of ${node} is empty; leave it out for everybody`);
  if (!Number.isInteger(attempts) || attempts < 1)
    throw new HoldpointError("invalid", `addRetry(): \`attempts\` of ${node} is a number of executions, at least 1`);
  if (!(backoffMs >= 0))
    throw new HoldpointError("invalid", `addRetry(): \`backoffMs\` of ${node} is a number of milliseconds`);
}

/** The first failure is taken as it is; here every further one. */
function counted(before: Tally, now: Tally): Tally {
  if (now.closed) return now;
  const follows = !before.closed && before.visit === now.visit - 1;
  return { ...now, attempts: follows ? before.attempts + 1 : 1 };
}

async function tallyOf(error: Error, config: NodeConfig, { retryOn }: RetryOptions): Promise<Tally> {
  const context = contextOf(config, "addRetry()");
  const known = { attempts: 1, run: context.run.runId, at: context.now() };
  try {
    const path = await stoppable(context, () => where(config));
    const [, visit, send] = path.at(-2) ?? [];
    if (typeof send === "number")
      return {
        ...known,
        visit: -1,
        fatal: true,
        error: told(error, "a node that a Send starts is not tried again: put it into a subgraph"),
      };
    const fatal = retryOn !== undefined && !retryOn(error);
    return { ...known, visit: Number(visit), fatal, error: keptOf(error) };
  } catch (reason) {
    if (reason instanceof RunStopped) throw reason;
    return { ...known, visit: -1, fatal: true, error: told(error, errorInfo(reason).message) };
  }
}

/** As long as a review can show, and a state should bear. */
const keptOf = (error: Error): ErrorInfo => shortened(errorInfo(error));

function told(error: Error, why: string): ErrorInfo {
  const { name, message } = keptOf(error);
  return { name, message: `${message} (${why})` };
}

interface Waiting {
  readonly node: string;
  readonly channel: string;
  readonly options: RetryOptions;
}

async function waited(of: Waiting, tally: Tally | undefined, config: NodeConfig): Promise<Command> {
  const { node, options } = of;
  if (!tally) throw new HoldpointError("invalid", `${node}~wait is reached only when ${node} has failed`);
  const { attempts, backoffMs, maxBackoffMs = MAX_BACKOFF_MS, exhausted = "throw" } = options;
  if (!tally.fatal && tally.attempts < attempts) {
    await until(config, tally.at + Math.min(maxBackoffMs, backoffMs * 2 ** (tally.attempts - 1)));
    return new Command({ goto: node });
  }
  const failure = { node, attempts: tally.attempts, error: tally.error };
  if (exhausted === "ask-a-person") return asked(of, tally, config);
  if (exhausted !== "throw") return givenUp(exhausted, failure);
  // Somebody has resumed or replayed what had failed.
  if (tally.run !== contextOf(config, "addRetry()").run.runId) return anew(of, tally);
  throw new RetryExhausted(failure);
}

async function asked(of: Waiting, tally: Tally, config: NodeConfig): Promise<Command> {
  const { node, options } = of;
  const failure = { node, attempts: tally.attempts, error: tally.error };
  const answer = await review(config, {
    title: `${node} failed${tally.attempts === 1 ? "" : ` ${tally.attempts} times`}`,
    description: tally.error.message,
    ...options.ask,
    action: `retry ${node}`,
    args: { node, attempts: tally.attempts, error: { ...tally.error } },
  });
  if (answer.type === "approve" || answer.type === "edit") return anew(of, tally);
  if (options.rejected) return givenUp(options.rejected, { ...failure, answer });
  throw new RetryExhausted({ ...failure, answer });
}

const anew = ({ node, channel }: Waiting, tally: Tally): Command =>
  new Command({ goto: node, update: { [channel]: { ...tally, closed: true } } });

const givenUp = ({ goto, update }: GiveUp, failure: RetryFailure): Command =>
  new Command({ goto, update: { ...update?.(failure) } });

/** A node that was tried in vain; the run ends as `error`. A run without input tries it again. */
export class RetryExhausted extends Error {
  override readonly name = "RetryExhausted";
  readonly failure: RetryFailure;

  constructor(failure: RetryFailure) {
    const { node, attempts, error, answer } = failure;
    const said =
      answer && "message" in answer && answer.message !== undefined ? `; ${answer.decidedBy}: ${answer.message}` : "";
    super(`${node} failed ${attempts === 1 ? "once" : `${attempts} times`}: ${error.message}${said}`);
    this.failure = failure;
  }
}
