import { callbackHoldId } from "../../core/callback-token.ts";
import type { FencedSaver } from "../../checkpoint/saver.ts";
import type { Run } from "../../core/run.ts";
import type { GraphContext } from "../../graph/context.ts";
import type { Services } from "../../graph/services.ts";
import type { Deps } from "../deps.ts";
import { effectEntry } from "../audit/audit-effect.ts";
import { keepOutcome } from "../effects/keep-outcome.ts";
import { createJournal } from "./journal.ts";
import type { Lease } from "./lease.ts";
import { observedModel } from "./observed-model.ts";

/** Makes the services that a tenant's graphs reach through `services(config)`. */
export type GraphServices = (tenant: Run["tenant"]) => Services;

export interface ContextOf {
  readonly run: Run;
  readonly saver: FencedSaver;
  readonly lease: Lease;
  readonly signal: AbortSignal;
  readonly services: GraphServices;
}

/** What graph code reaches through `configurable.__holdpoint` during one delivery. */
export function graphContext(deps: Deps, { run, saver, lease, signal, services }: ContextOf): GraphContext {
  const ofTenant = services(run.tenant);
  return {
    tenant: run.tenant,
    run: { runId: run.runId, root: run.root, threadId: run.threadId },
    whereabouts: saver.whereabouts,
    journal: createJournal({
      effects: deps.effects,
      table: deps.table,
      fence: lease.fence,
      generation: run.generation,
      keep: (tenant, outcome, thread) => keepOutcome(deps, tenant, outcome, thread),
      record: (entry, outcome) =>
        deps.audit.record(effectEntry(entry, outcome, { actor: run.startedBy, at: deps.table.now() }), run.pool),
    }),
    deadline: () => lease.deadline(),
    now: () => deps.table.now(),
    clock: deps.clock,
    signal,
    services: {
      ...ofTenant,
      models: (name) => observedModel(ofTenant.models(name), name ?? "default", deps),
    },
    callbackToken(key) {
      const { tenant, threadId, generation } = run;
      const at = { tenant, threadId, generation };
      return deps.callbacks.sign({ ...at, holdId: callbackHoldId(at, key) });
    },
    calls: new Map(),
  };
}
