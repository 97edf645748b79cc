/**
 * The world outside, which remembers every effect, and graph code that acts upon it through the product's journal.
 */
import { argsDigest, effectToken } from "../../src/core/effect.ts";
import type { EffectPolicy } from "../../src/core/effect.ts";
import { runId } from "../../src/core/ids.ts";
import type { Json } from "../../src/core/json.ts";
import type { GraphContext } from "../../src/graph/context.ts";
import type { Drive } from "../../src/langgraph/drive.ts";
import type { Recorder } from "./recorder.ts";
import type { Scheduler, SimProcess } from "./scheduler.ts";

export interface EffectAt {
  /** Where in the script it stands. */
  readonly path: string;
  readonly name: string;
  readonly policy: EffectPolicy;
  /** Nobody alone may say what became of it. */
  readonly irreversible?: boolean;
  /** How long the other side takes. */
  readonly ms: number;
  /** The input on behalf of which it is, by its name. */
  readonly of: string;
}

/** `parked`: whether it happened is unknown, and nobody may guess. */
export type Performed = "done" | "parked" | "lost";

/** A request to the world outside. */
export interface Request {
  readonly token: string;
  readonly run: string;
  readonly policy: EffectPolicy;
  readonly ms: number;
  /** What it means, whatever its token says: no two requests with the same meaning may both take effect. */
  readonly what: string;
}

/** What another system was given to answer a callback with. */
export interface HandedOut {
  readonly token: string;
  readonly thread: string;
  readonly hold: string;
}

export interface Outside {
  /** Resolves when the reply has arrived. What has left takes effect, whatever becomes of its sender. */
  call(process: SimProcess, request: Request): Promise<void>;
  /** How often this has been tried, this time included. */
  attempt(what: string): number;
  /** Whether what bears this token has taken effect by now. */
  happened(token: string): boolean;
  handOut(token: string): void;
  /** What was handed out, in its order. */
  readonly handedOut: readonly HandedOut[];
}

export function createOutside(recorder: Recorder, scheduler: Scheduler): Outside {
  const known = new Set<string>();
  const attempts = new Map<string, number>();
  const handedOut = new Map<string, HandedOut>();
  return {
    happened: (token) => known.has(token),
    handOut: (token) => void handedOut.set(token, { token, ...saidBy(token) }),
    get handedOut() {
      return [...handedOut.values()];
    },
    attempt(what) {
      const count = (attempts.get(what) ?? 0) + 1;
      attempts.set(what, count);
      return count;
    },
    call: (process, { token, run, policy, ms, what }) =>
      new Promise((resolve) => {
        scheduler.after(ms / 2, () => {
          const again = policy === "idempotent" && known.has(token);
          known.add(token);
          if (!again) recorder.note({ kind: "effect", at: scheduler.now(), by: process.name, token, run, what });
          scheduler.after(ms / 2, resolve, process);
        });
      }),
  };
}

/** A token names the hold that it releases. */
function saidBy(token: string): Pick<HandedOut, "thread" | "hold"> {
  const said = Buffer.from(token.split(".")[1] ?? "", "base64url").toString("utf8");
  const [, thread, , hold] = JSON.parse(said) as [string, string, number, string]; // as the product signed it
  return { thread, hold };
}

/** What `callback()` of `holdpoint/graph` does with its token, for graphs that are scripts. */
export const handedTo =
  (outside: Outside) =>
  async (drive: Drive, key: string): Promise<void> =>
    outside.handOut(await contextIn(drive).callbackToken(key));

const contextIn = ({ context }: Drive): GraphContext => context as GraphContext; // the runtime makes it, of this type

/** What `effect()` of `holdpoint/graph` does, for graphs that are scripts. */
export function journaled(outside: Outside, process: SimProcess): (drive: Drive, at: EffectAt) => Promise<Performed> {
  return async (drive, at) => {
    const context = contextIn(drive);
    const { journal, tenant, run } = context;
    const root = runId(context.whereabouts.root() ?? run.root);
    const path = [[at.path]];
    const token = effectToken({ tenant, root, path, name: at.name, call: 0 });
    const held = (): boolean => !context.signal.aborted && context.now() < context.deadline();
    if (!held()) return "lost";
    const deadline = Math.min(context.now() + 10_000, context.deadline());
    const ask = {
      tenant,
      runId: run.runId,
      threadId: run.threadId,
      root,
      token,
      name: at.name,
      policy: at.policy,
      ...(at.irreversible === true ? { irreversible: true as const } : {}),
      path,
      argsDigest: argsDigest(null),
      deadline,
    };
    for (;;) {
      const begun = await journal.begin(ask);
      switch (begun.do) {
        case "return":
          return "done";
        case "diverged":
        case "ambiguous":
        case "look_up": {
          const parked = await journal.park(ask, { reason: "ambiguous", message: "nobody knows what became of it" });
          if (parked.do === "again") continue;
          return parked.do;
        }
        case "lost":
          return "lost";
        case "call": {
          if (!held() || context.now() > deadline) return "lost";
          await outside.call(process, {
            token,
            run: run.runId,
            policy: at.policy,
            ms: at.ms,
            what: `${at.of} ${at.path}`,
          });
          const value: Json = { receipt: token };
          return (await journal.settle(begun.intent, { kind: "result", value })) === "lost" ? "lost" : "done";
        }
      }
    }
  };
}
