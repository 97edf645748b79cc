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

export type Effects = (process: SimProcess) => (drive: Drive, at: EffectAt) => Promise<Performed>;

/** A request that has left takes effect whatever becomes of its sender. */
export function createOutside(recorder: Recorder, scheduler: Scheduler): Effects {
  const idempotent = new Set<string>();
  const call = (process: SimProcess, token: string, { run, at }: { readonly run: string; readonly at: EffectAt }): Promise<void> =>
    new Promise((resolve) => {
      scheduler.after(at.ms / 2, () => {
        const known = at.policy === "idempotent" && idempotent.has(token);
        idempotent.add(token);
        if (!known) recorder.note({ kind: "effect", at: scheduler.now(), by: process.name, token, run });
        scheduler.after(at.ms / 2, resolve, process);
      });
    });
  return (process) => async (drive, at) => {
    const context = drive.context as GraphContext; // the runtime makes it, of this type
    const { journal, tenant, run } = context;
    const root = runId(context.whereabouts.root() ?? run.root);
    const path = [[at.path]];
    const token = effectToken({ tenant, root, path, name: at.name, call: 0 });
    const held = (): boolean => !context.signal.aborted && context.now() < context.deadline();
    if (!held()) return "lost";
    const deadline = Math.min(context.now() + 10_000, context.deadline());
    const ask = { tenant, runId: run.runId, root, token, name: at.name, policy: at.policy, path, argsDigest: argsDigest(null), deadline };
    const begun = await journal.begin(ask);
    switch (begun.do) {
      case "return":
        return "done";
      case "diverged":
      case "ambiguous":
        return "parked";
      case "lost":
        return "lost";
      case "call": {
        if (!held() || context.now() > deadline) return "lost";
        await call(process, token, { run: run.runId, at });
        const value: Json = { receipt: token };
        return (await journal.settle(begun.intent, { kind: "result", value })) === "lost" ? "lost" : "done";
      }
    }
  };
}
