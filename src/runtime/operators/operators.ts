import type { Assistants } from "../assistants.ts";
import type { Engine } from "../engine.ts";
import type { FollowDeps } from "../events/follow.ts";
import { errorGroups } from "./error-groups.ts";
import { countRuns, listRuns } from "./list-runs.ts";
import { retryRun } from "./retry.ts";
import { stopRun } from "./stop.ts";
import { timelineOf } from "./timeline.ts";
import type { OperatorUseCases } from "./use-cases.ts";

export interface OperatorsOf extends FollowDeps {
  readonly assistants: Assistants;
  readonly engine: Pick<Engine, "missingNodes">;
}

/** What operators see and do across the threads of their tenant. */
export function createOperators(host: OperatorsOf): OperatorUseCases {
  const { deps } = host;
  return {
    list: ({ tenant }, page) => listRuns(deps, tenant, page),
    count: ({ tenant }, filter) => countRuns(deps, tenant, filter),
    errors: ({ tenant }, page) => errorGroups(deps, tenant, page),
    timeline: (principal, runId) => timelineOf(deps, principal, runId),
    cancel: (principal, verb) => stopRun(host, { principal, verb, as: "cancel" }),
    park: (principal, verb) => stopRun(host, { principal, verb, as: "park" }),
    retry: (principal, verb) => retryRun(host, { principal, verb, as: "retry" }),
    resume: (principal, verb) => retryRun(host, { principal, verb, as: "resume" }),
  };
}
