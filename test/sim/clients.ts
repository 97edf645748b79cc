/**
 * Those who call the API. A client that hears nothing, or that the service is away, asks again under the same key,
 * as the product's own advice goes; it gives up only when it has a definite answer.
 */
import { isHoldpointError } from "../../src/core/errors.ts";
import { sha256, tenantId, threadId } from "../../src/core/ids.ts";
import type { RunId } from "../../src/core/ids.ts";
import type { Hold, HoldAnswer } from "../../src/core/hold.ts";
import type { Principal } from "../../src/core/principal.ts";
import type { MultitaskStrategy, Run, RunPayload, StopAction } from "../../src/core/run.ts";
import type { AcceptRequest, Runtime } from "../../src/runtime/runtime.ts";
import type { Outside } from "./effects.ts";
import type { Answer, Wish } from "./facts.ts";
import type { Random } from "./random.ts";
import type { Recorder } from "./recorder.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Script } from "./script.ts";
import type { Stage } from "./stage.ts";
import type { World } from "./world.ts";

export const TENANT = tenantId("acme");

export const principalOf = (subject: string): Principal => ({ tenant: TENANT, subject, roles: ["admin"], groups: [] });

export interface ClientHost {
  readonly scheduler: Scheduler;
  readonly world: World;
  readonly recorder: Recorder;
  readonly stage: Stage;
  readonly outside: Outside;
  readonly random: Random;
}

/** How long a client waits for an answer before it asks again. */
const PATIENCE_MS = [50, 500, 5_000, 5_000] as const;
const ATTEMPTS = 40;
/** Who asks only once waits for as long as it takes. */
const FOR_EVER_MS = 24 * 3_600_000;

export interface Starting {
  /** Undefined: a stateless run. */
  readonly thread: string | undefined;
  readonly asksOnce?: boolean;
  readonly tag: string;
  readonly strategy: MultitaskStrategy;
  /** Roll back what is there although it has acted upon the world. */
  readonly force?: boolean;
  /** Not to begin before so long after it was accepted. */
  readonly afterMs?: number;
  /** Whatever waits on the thread is to be cancelled. */
  readonly cancelsPending?: boolean;
  /** Bytes of state that it brings along. */
  readonly ballast?: number;
  readonly script: Script;
}

type Accepting = Omit<Starting, "tag" | "script">;

/** What a wish says instead of a thread that is yet to be made. */
export const STATELESS = "stateless";

export interface Clients {
  /** Starts a run; the answer is definite, unless the client gave up. */
  start(wish: Starting): Promise<Answer>;
  /** Answers whatever waits on the thread in the way of the SDK. */
  resume(thread: string, tag: string): Promise<Answer>;
  open(): Promise<readonly Hold[]>;
  decide(by: string, hold: Hold, tag: string): Promise<Answer>;
  /** Keeps others from deciding it for a while, if nobody else does. */
  claim(by: string, hold: Hold): Promise<void>;
  /** Lets others decide it again. */
  release(by: string, hold: Hold): Promise<void>;
  /** Not repeated, since nothing makes an update recognisable. */
  update(thread: string, tag: string, cancelsPending: boolean): Promise<Answer>;
  cancel(thread: string, run: string, action?: StopAction): Promise<Answer>;
  runs(thread: string): Promise<readonly Run[]>;
}

export function createClients(host: ClientHost): Clients {
  const { random } = host;
  const accept = (
    wish: Wish & { readonly tag: string },
    payload: RunPayload,
    { thread, strategy, asksOnce = false, force, afterMs, cancelsPending = false }: Accepting,
  ): Promise<Answer> => {
    const request: AcceptRequest = {
      threadId: thread === undefined ? undefined : threadId(thread),
      ifNotExists: "create" as const,
      assistantId: "script",
      payload: { ...payload, metadata: { tag: wish.tag } },
      settings: { streamModes: [], streamSubgraphs: false, streamResumable: false, multitaskStrategy: strategy },
      idempotency: { key: wish.tag, bodyHash: sha256(wish.tag) },
      ...(force === undefined ? {} : { force }),
      ...(afterMs === undefined ? {} : { afterMs }),
      ...(cancelsPending ? { onPending: "cancel" } : {}),
    };
    const ask = async (runtime: Runtime): Promise<string> =>
      (await runtime.runs.accept(principalOf("ann"), request)).runId;
    return insist(host, wish, ask, asksOnce ? 0 : ATTEMPTS);
  };
  return {
    start: (wish) => {
      const { thread = STATELESS, tag, strategy } = wish;
      return accept({ do: "accept", thread, tag, strategy }, { input: host.stage.inputOf(wish) }, wish);
    },
    resume: (thread, tag) =>
      accept(
        { do: "resume", thread, tag },
        { command: { resume: { type: "approve" } } },
        { thread, strategy: "enqueue" },
      ),
    async open() {
      const page = await once(host, (runtime) =>
        runtime.reviews.list(principalOf("eve"), { state: "open", limit: 50 }),
      );
      return page.heard ? page.value.items : [];
    },
    decide(by, hold, tag) {
      const answer: HoldAnswer =
        hold.origin === "review" ? { type: random.pick(["approve", "reject"]) } : { type: "value", value: tag };
      const request = { answer, comment: tag, digest: hold.digest, idempotencyKey: tag };
      return insist(host, { do: "decide", thread: hold.threadId, tag, hold: hold.holdId }, async (runtime) => {
        const decided = await runtime.reviews.decide(principalOf(by), `${hold.threadId}.${hold.holdId}`, request);
        return saidBy(decided, tag);
      });
    },
    async claim(by, hold) {
      const work = { kind: "claim", forMs: random.pick([50, 500, 5_000]) } as const;
      await once(host, (runtime) => runtime.reviews.work(principalOf(by), `${hold.threadId}.${hold.holdId}`, { work }));
    },
    async release(by, hold) {
      const work = { kind: "release" } as const;
      await once(host, (runtime) => runtime.reviews.work(principalOf(by), `${hold.threadId}.${hold.holdId}`, { work }));
    },
    async update(thread, tag, cancelsPending) {
      const update = { ...host.stage.updateOf(tag), ...(cancelsPending ? { onPending: "cancel" as const } : {}) };
      const reply = await once(host, async (runtime) => {
        await runtime.threads.updateState(principalOf("ann"), threadId(thread), update);
        return tag;
      });
      const answer: Answer = reply.heard ? { is: "yes", id: reply.value } : reply.answer;
      host.recorder.note({
        kind: "answer",
        at: host.scheduler.now(),
        by: "client",
        wish: { do: "update", thread, tag },
        answer,
      });
      return answer;
    },
    async runs(thread) {
      const reply = await once(host, (runtime) => runtime.runs.list(principalOf("ann"), threadId(thread)));
      return reply.heard ? reply.value : [];
    },
    cancel: (thread, run, action) =>
      insist(host, { do: "cancel", thread, run }, async (runtime) => {
        const cancel = {
          threadId: threadId(thread),
          runId: run as RunId,
          wait: false,
          ...(action === undefined ? {} : { action }),
          signal: new AbortController().signal,
        };
        return (await runtime.runs.cancel(principalOf("ann"), cancel)).runId;
      }),
  };
}

/** The vote of this name on a hold, or the decision that it was. */
function saidBy({ decision, votes = [] }: Hold, tag: string): Said {
  const vote = votes.find(({ comment }) => comment === tag);
  return vote ? { id: vote.id, vote: true } : { id: decision?.id ?? "none" };
}

type Said = Omit<Extract<Answer, { readonly is: "yes" }>, "is">;

/** Asks until the answer is definite, and writes down every answer. */
export async function insist(
  host: ClientHost,
  wish: Wish,
  ask: (runtime: Runtime) => Promise<string | Said>,
  repeats = ATTEMPTS,
): Promise<Answer> {
  for (let attempt = 0; ; attempt++) {
    const reply = await once(host, ask, repeats === 0 ? FOR_EVER_MS : host.random.pick(PATIENCE_MS));
    const answer: Answer = reply.heard ? yes(reply.value) : reply.answer;
    host.recorder.note({ kind: "answer", at: host.scheduler.now(), by: "client", wish, answer });
    if (answer.is !== "unknown" || attempt === repeats) return answer;
    await host.scheduler.sleep(host.random.exponential(300));
  }
}

const yes = (said: string | Said): Answer => ({ is: "yes", ...(typeof said === "string" ? { id: said } : said) });

type Reply<T> = { readonly heard: true; readonly value: T } | { readonly heard: false; readonly answer: Answer };

const nothing = (code: string): Reply<never> => ({ heard: false, answer: { is: "unknown", code } });

/** One request to one API process, which may die or be slow to answer. */
export async function once<T>(
  { scheduler, world }: ClientHost,
  ask: (runtime: Runtime) => Promise<T>,
  patienceMs = 5_000,
): Promise<Reply<T>> {
  const api = world.api();
  if (!api) return nothing("no api");
  const asked = api.process
    .enter(() => ask(api.runtime))
    .then(
      (value): Reply<T> => ({ heard: true, value }),
      (error: unknown): Reply<T> => ({ heard: false, answer: answerOf(error) }),
    );
  const died = api.process.death.then(() => nothing("connection lost"));
  const late = scheduler.sleep(patienceMs).then(() => nothing("no answer"));
  return Promise.race([asked, died, late]);
}

function answerOf(error: unknown): Answer {
  if (!isHoldpointError(error)) throw error;
  return error.code === "unavailable" || error.code === "internal"
    ? { is: "unknown", code: error.code }
    : { is: "no", code: error.code };
}
