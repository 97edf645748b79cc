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
  /** How long the other side takes. */
  readonly ms: number;
}

/** `parked`: whether it happened is unknown, and nobody may guess. */
export type Performed = "done" | "parked" | "lost";

/** A request to the world outside. */
export interface Request {
  readonly token: string;
  readonly run: string;
  readonly policy: EffectPolicy;
  readonly ms: number;
}

export interface Outside {
  /** Resolves when the reply has arrived. What has left takes effect, whatever becomes of its sender. */
  call(process: SimProcess, request: Request): Promise<void>;
  /** How often this has been tried, this time included. */
  attempt(what: string): number;
}

export function createOutside(recorder: Recorder, scheduler: Scheduler): Outside {
  const known = new Set<string>();
  const attempts = new Map<string, number>();
  return {
    attempt(what) {
      const count = (attempts.get(what) ?? 0) + 1;
      attempts.set(what, count);
      return count;
    },
    call: (process, { token, run, policy, ms }) =>
      new Promise((resolve) => {
        scheduler.after(ms / 2, () => {
          const again = policy === "idempotent" && known.has(token);
          known.add(token);
          if (!again) recorder.note({ kind: "effect", at: scheduler.now(), by: process.name, token, run });
          scheduler.after(ms / 2, resolve, process);
        });
      }),
  };
}

/** What `effect()` of `holdpoint/graph` does, for graphs that are scripts. */
export function journaled(outside: Outside, process: SimProcess): (drive: Drive, at: EffectAt) => Promise<Performed> {
  return async (drive, at) => {
    const context = drive.context as GraphContext; // the runtime makes it, of this type
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
      path,
      argsDigest: argsDigest(null),
      deadline,
    };
    const begun = await journal.begin(ask);
    switch (begun.do) {
      case "return":
        return "done";
      case "diverged":
      case "ambiguous":
      case "look_up":
        return "parked";
      case "lost":
        return "lost";
      case "call": {
        if (!held() || context.now() > deadline) return "lost";
        await outside.call(process, { token, run: run.runId, policy: at.policy, ms: at.ms });
        const value: Json = { receipt: token };
        return (await journal.settle(begun.intent, { kind: "result", value })) === "lost" ? "lost" : "done";
      }
    }
  };
}
