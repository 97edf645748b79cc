/** What the processes of a search do, one activity each, with the product's own code at every step. */
import { isHoldpointError } from "../../src/core/errors.ts";
import { holdId, runId, sha256, threadId } from "../../src/core/ids.ts";
import type { Hold } from "../../src/core/hold.ts";
import type { MultitaskStrategy } from "../../src/core/run.ts";
import type { Thread } from "../../src/core/thread.ts";
import { createRuntime } from "../../src/runtime/create.ts";
import { followUp } from "../../src/runtime/decisions/follow-up.ts";
import { advance } from "../../src/runtime/delivery/advance.ts";
import type { Holding } from "../../src/runtime/delivery/advance.ts";
import type { AcceptRequest, Runtime } from "../../src/runtime/runtime.ts";
import { Cancels } from "../../src/runtime/worker/cancels.ts";
import type { Stored } from "../../src/storage/records.ts";
import { TENANT, principalOf } from "./clients.ts";
import type { Answer, Wish } from "./facts.ts";
import { digest } from "./interleave-process.ts";
import type { Activity, Host } from "./interleave-process.ts";
import type { Script } from "./script.ts";

export const THREAD = "00000000-0000-4000-8000-000000000001";
export const REF = { tenant: TENANT, threadId: threadId(THREAD) };

/** One request of a client to an API process of its own. */
export interface Request {
  readonly name: string;
  readonly wish: Wish;
  readonly activity: Activity;
  /** The request that it repeats: whose client hears only the answer to the repeat from when that is under way. */
  readonly repeats?: string;
}

export interface Accepting {
  readonly tag: string;
  readonly script: Script;
  readonly strategy?: MultitaskStrategy;
  /** A repeat comes under the name of another process, with the same key. */
  readonly name?: string;
  readonly keyed?: boolean;
}

export function accepting(what: Accepting): Request {
  const { tag, script, strategy = "enqueue", name = tag, keyed = false } = what;
  const wish = { do: "accept", thread: THREAD, tag, strategy } as const;
  return request(name, wish, async (runtime, { stage }) => {
    const payload = { input: stage.inputOf({ script, tag }), metadata: { tag } };
    return (await runtime.runs.accept(principalOf("ann"), acceptOf(payload, { tag, strategy, keyed }))).runId;
  });
}

/** `command.resume`: a run that answers what waits. */
export function resuming(tag: string): Request {
  return request(tag, { do: "resume", thread: THREAD, tag }, async (runtime) => {
    const payload = { command: { resume: { type: "approve" } }, metadata: { tag } };
    const accept = acceptOf(payload, { tag, strategy: "enqueue", keyed: false });
    return (await runtime.runs.accept(principalOf("ann"), accept)).runId;
  });
}

export function deciding(tag: string, hold: Hold): Request {
  const wish = { do: "decide", thread: THREAD, tag, hold: hold.holdId } as const;
  return request(tag, wish, async (runtime) => {
    const decision = { answer: { type: "approve" }, comment: tag, digest: hold.digest, idempotencyKey: tag } as const;
    const decided = await runtime.reviews.decide(principalOf(tag), `${THREAD}.${hold.holdId}`, decision);
    return decided.decision?.id ?? "none";
  });
}

export function cancelling(tag: string, run: string): Request {
  return request(tag, { do: "cancel", thread: THREAD, run }, async (runtime) => {
    const signal = new AbortController().signal;
    const cancel = { threadId: REF.threadId, runId: runId(run), wait: false, signal };
    return (await runtime.runs.cancel(principalOf("ann"), cancel)).runId;
  });
}

/** A worker with one thread, whose header it has just read; `hasExpired`: and watched for the length of its lease. */
export function advancing(name: string, seen: Stored<Thread>, hasExpired: boolean): Activity {
  return {
    name,
    given: `${digest(seen)} ${hasExpired}`,
    async run({ deps, stage, process, onLook }) {
      const engine = stage.engineOf(deps, process);
      const { assistants } = createRuntime(deps);
      const holding: Holding = { ref: REF, cancel: new Map(), abort: new AbortController(), again: false };
      const cancels = new Cancels(deps, () => [holding]);
      onLook(() => void cancels.check());
      const drain = new AbortController().signal;
      const host = { deps, engine, assistants, services: () => ({}) as never };
      await advance(host, { holding, seen, hasExpired, admits: () => true, lostTo: () => undefined, drain }).catch(
        (error: unknown) => deps.log.error({ err: error }, "a thread could not be advanced"),
      );
      return undefined;
    },
  };
}

/** A worker that found a hold due. */
export function following(name: string, hold: string): Activity {
  return {
    name,
    given: hold,
    async run({ deps }) {
      await followUp(deps, REF, holdId(hold)).catch((error: unknown) =>
        deps.log.warn({ err: error }, "a follow-up failed"),
      );
      return undefined;
    },
  };
}

function acceptOf(
  payload: AcceptRequest["payload"],
  { tag, strategy, keyed }: { readonly tag: string; readonly strategy: MultitaskStrategy; readonly keyed: boolean },
): AcceptRequest {
  return {
    threadId: REF.threadId,
    ifNotExists: "create",
    assistantId: "script",
    payload,
    settings: { streamModes: [], streamSubgraphs: false, streamResumable: false, multitaskStrategy: strategy },
    ...(keyed ? { idempotency: { key: tag, bodyHash: sha256(tag) } } : {}),
  };
}

function request(name: string, wish: Wish, ask: (runtime: Runtime, host: Host) => Promise<string>): Request {
  const run = async (host: Host): Promise<Answer> => {
    try {
      return { is: "yes", id: await ask(createRuntime(host.deps), host) };
    } catch (error) {
      if (!isHoldpointError(error)) throw error;
      const isUnknown = error.code === "unavailable" || error.code === "internal";
      return { is: isUnknown ? "unknown" : "no", code: error.code };
    }
  };
  return { name, wish, activity: { name, given: JSON.stringify(wish), run } };
}
