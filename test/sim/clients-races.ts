/** Those who race with reviewers: systems that answer callbacks, and operators. */
import type { EffectEntry } from "../../src/core/effect.ts";
import { intentOf } from "../../src/core/effect.ts";
import type { Verdict } from "../../src/core/effect-settlement.ts";
import { runId, sha256 } from "../../src/core/ids.ts";
import type { Run } from "../../src/core/run.ts";
import { insist, once, principalOf } from "./clients.ts";
import type { ClientHost } from "./clients.ts";
import type { HandedOut } from "./effects.ts";
import type { Answer } from "./facts.ts";

export interface Racers {
  /** Answers a callback with this word. */
  callBack(to: HandedOut, tag: string): Promise<Answer>;
  park(by: string, run: Run): Promise<Answer>;
  /** Has a run tried again; a parked one goes on. */
  retry(by: string, run: Run, tag: string): Promise<Answer>;
  /** Effects for which somebody's word is asked. */
  parked(): Promise<readonly EffectEntry[]>;
  /** Says of one what is true by now. */
  settle(by: string, entry: EffectEntry, tag: string): Promise<Answer>;
}

export function createRacers(host: ClientHost): Racers {
  const { outside } = host;
  return {
    callBack: ({ token, thread, hold }, tag) =>
      insist(host, { do: "call back", thread, tag, hold }, async (runtime) => {
        await runtime.callbacks.arrive(token, { kind: "arrived", result: tag });
        return tag;
      }),
    park: (by, { threadId, runId: id }) =>
      insist(host, { do: "park", thread: threadId, run: id }, async (runtime) => {
        await runtime.operators.park(principalOf(by), { runId: runId(id) });
        return id;
      }),
    retry: (by, { threadId, runId: id, status }, tag) =>
      insist(host, { do: "retry", thread: threadId, tag, run: id }, async (runtime) => {
        const verb = { runId: runId(id), idempotency: { key: tag, bodyHash: sha256(tag) } };
        const { operators } = runtime;
        const ask =
          status === "parked" ? operators.resume(principalOf(by), verb) : operators.retry(principalOf(by), verb);
        return (await ask).runId;
      }),
    async parked() {
      const reply = await once(host, (runtime) =>
        runtime.effects.list(principalOf("olga"), { state: "parked", limit: 20 }),
      );
      return reply.heard ? reply.value.items : [];
    },
    settle(by, entry, tag) {
      const { root, token, outcome, proposal } = entry;
      const intent = intentOf(entry);
      const verdict = outside.happened(token) ? "happened" : "not_happened";
      const result = outcome === undefined ? { result: { receipt: token } } : {};
      const said: Verdict = verdict === "happened" ? { verdict, ...result } : { verdict };
      const thread = entry.parked?.threadId ?? entry.threadId ?? "";
      return insist(host, { do: "settle", thread, tag, token, intent, verdict }, async (runtime) => {
        // Where it differs from what was proposed, it is to take its place.
        const replaces = proposal === undefined ? {} : { replaces: proposal.id };
        const ask = { said, reason: "looked it up", intent, ...replaces };
        await runtime.effects.settle(principalOf(by), `${root}.${token}`, ask);
        return tag;
      });
    },
  };
}
