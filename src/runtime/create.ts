import type { ThreadTtl } from "../core/thread.ts";
import { waitingFor } from "../core/waiting-for.ts";
import { createStores } from "../checkpoint/store/store.ts";
import type { StoreSettings } from "../langgraph/store-config.ts";
import { createEffects } from "../storage/effects.ts";
import { createSegmentCache } from "../checkpoint/segment-cache.ts";
import { plainSealers } from "../storage/encryption/sealer.ts";
import { createEvents } from "../storage/events.ts";
import { createHolds } from "../storage/holds.ts";
import { createRuns } from "../storage/runs.ts";
import { createThreads } from "../storage/threads.ts";
import { threadNotFound } from "./accept/accept-answer.ts";
import { accept, threadOfRun } from "./accept/accept.ts";
import { createAssistants } from "./assistants.ts";
import type { Assistants } from "./assistants.ts";
import { createReviews } from "./decisions/decide.ts";
import type { Deps } from "./deps.ts";
import { createEffectUseCases } from "./effects/effects.ts";
import { cancelMany } from "./cancel/cancel-many.ts";
import { cancelRun } from "./cancel/cancel.ts";
import { findRun, follow, waitForRun } from "./events/follow.ts";
import type { FollowDeps } from "./events/follow.ts";
import type { Runtime, RunUseCases } from "./runtime.ts";
import { createHints } from "./hints.ts";
import { createStateReader } from "./state-reader.ts";
import { createTails } from "./events/tails.ts";
import { createThreadUseCases } from "./threads/threads.ts";
import { createStoreUseCases } from "./store.ts";
import { createValueCache } from "./value-cache.ts";

/** Everything that is made from the adapters and the settings, and not chosen. */
export type GivenDeps = Pick<Deps, "table" | "blobs" | "graphs" | "clock" | "ids" | "log" | "settings"> &
  Partial<Pick<Deps, "sealers">> & {
    /** How the stores of graphs search, and how long they keep what they are given. */
    readonly store?: StoreSettings;
    /** Of threads that are given none of their own. */
    readonly threadTtl?: ThreadTtl;
  };

/** What every use case is made of, on the given adapters. */
export function createDeps({ store, threadTtl, ...given }: GivenDeps): Deps {
  const { table, blobs, ids, settings, sealers = plainSealers } = given;
  const { shards } = settings;
  return {
    ...given,
    sealers,
    segments: createSegmentCache(),
    threads: createThreads({ table, shards, sealers, ...(threadTtl === undefined ? {} : { ttl: threadTtl }) }),
    runs: createRuns({ table, blobs, shards, sealers }),
    holds: createHolds(table, shards, sealers),
    events: createEvents(table, { retentionMs: settings.limits.eventRetentionMs, sealers }),
    effects: createEffects({ table, blobs, shards, sealers }),
    stores: createStores({ table, blobs, ids, sealers, ...store }),
    hints: createHints(),
    values: createValueCache(),
  };
}

/** The use cases on one set of dependencies. `assistants` is shared with the worker of the same process. */
export function createRuntime(deps: Deps): Runtime & { readonly assistants: Assistants } {
  const assistants = createAssistants(deps);
  const host: FollowDeps = { deps, tails: createTails(deps), states: createStateReader(deps) };
  return {
    assistants,
    runs: createRunUseCases(host, assistants),
    threads: createThreadUseCases(deps),
    reviews: createReviews(deps),
    effects: createEffectUseCases(deps),
    store: createStoreUseCases(deps),
  };
}

function createRunUseCases(host: FollowDeps, assistants: Assistants): RunUseCases {
  const { deps } = host;
  return {
    accept: (principal, request) => accept(deps, assistants, principal, request),
    get: (principal, threadId, runId) => findRun(deps, principal, threadId, runId),
    payload: (run) => deps.runs.payload(run),
    async waitingFor(run) {
      const header = run.status === "pending" ? await deps.threads.get(run) : undefined;
      return header && waitingFor(run, header.value, deps.table.now());
    },
    threadOf: (principal, runId) => threadOfRun(deps, principal, runId),
    async list(principal, threadId) {
      const ref = { tenant: principal.tenant, threadId };
      const header = await deps.threads.get(ref);
      if (!header || header.value.deleted) throw threadNotFound(ref);
      const runs = await deps.runs.list(ref, header.value.generation);
      return runs.filter((run) => run.rolledBack === undefined);
    },
    cancel: (principal, request) => cancelRun(host, principal, request),
    cancelMany: (principal, request) => cancelMany(host, principal, request),
    wait: (principal, threadId, runId, signal) => waitForRun(host, principal, { threadId, runId, signal }),
    follow: (principal, request) => follow(host, principal, request),
  };
}
