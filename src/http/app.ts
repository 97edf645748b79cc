/** The HTTP surface: what is compatible with LangGraph's server, and Holdpoint's own under `/v1`. */
import express from "express";
import type { Express, Router } from "express";
import helmet from "helmet";
import type { Clock } from "../core/clock.ts";
import type { IdSource } from "../core/ids.ts";
import type { GraphRegistry } from "../langgraph/registry.ts";
import type { Log } from "../runtime/deps.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { openDoors } from "./admission.ts";
import type { Admission } from "./admission.ts";
import type { Authenticator } from "./auth.ts";
import { cors } from "./cors.ts";
import type { CorsOptions } from "./cors.ts";
import { answerErrors, httpError } from "./errors.ts";
import { addAssistantRoutes } from "./langgraph/assistants.ts";
import { addCronRoutes } from "./langgraph/crons.ts";
import { addRunRoutes } from "./langgraph/runs.ts";
import type { EnterPool } from "./langgraph/runs.ts";
import { addExistingRunRoutes } from "./langgraph/run.ts";
import { addStateRoutes } from "./langgraph/state.ts";
import { addStoreRoutes } from "./langgraph/store.ts";
import { addSystemRoutes } from "./langgraph/system.ts";
import type { Readiness, ServiceInfo } from "./langgraph/system.ts";
import { addThreadRoutes } from "./langgraph/threads.ts";
import { DEFAULT_LIMITS } from "./limits.ts";
import type { HttpLimits } from "./limits.ts";
import { createRoutes } from "./route.ts";
import { tracing } from "./trace.ts";
import { addAuditRoutes } from "./v1/audit.ts";
import { addCallbackRoutes } from "./v1/callbacks.ts";
import { addEffectRoutes } from "./v1/effects.ts";
import { addLinkRoutes } from "./v1/links.ts";
import { addPolicyRoutes } from "./v1/policies.ts";
import { addReviewRoutes } from "./v1/reviews.ts";
import { addOperatorRoutes } from "./v1/runs.ts";
import { addWebhookRoutes } from "./v1/webhooks.ts";

export interface AppOptions {
  readonly runtime: Runtime;
  readonly auth: Authenticator;
  readonly info: ServiceInfo;
  readonly ready: () => Promise<Readiness>;
  readonly log: Log;
  readonly clock: Clock;
  readonly ids: IdSource;
  /** Everybody is let in by default. */
  readonly admission?: Admission;
  readonly limits?: Partial<HttpLimits>;
  readonly cors?: CorsOptions;
  /** Where everything is mounted, such as `/langgraph`; the root by default. */
  readonly basePath?: string;
  /** Aborts when the process stops serving: open streams end, and their runs go on. */
  readonly closing?: AbortSignal;
}

const OWN_SURFACE = "/v1";

/** An Express application that serves the use cases of `runtime`; it listens nowhere by itself. */
export function createApp(options: AppOptions): Express {
  const { log, ids } = options;
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  app.use(tracing(ids), helmet());
  if (options.cors) app.use(cors(options.cors));
  const { admission = openDoors, closing = new AbortController().signal } = options;
  const limits = { ...DEFAULT_LIMITS, ...options.limits };
  app.use(options.basePath ?? "/", createSurfaces({ ...options, admission, limits, closing }));
  app.use(() => {
    throw httpError(404, "Not Found");
  });
  app.use(answerErrors({ log, ownSurface: OWN_SURFACE }));
  return app;
}

/** The options with every default filled in. */
type Surfaces = AppOptions & {
  readonly admission: Admission;
  readonly limits: HttpLimits;
  readonly closing: AbortSignal;
};

/** What Holdpoint adds to the wire contract. */
function createOwnSurface(surfaces: Surfaces): Router {
  const { runtime, log, clock, limits, closing } = surfaces;
  const router = express.Router({ caseSensitive: true });
  const routes = createRoutes(router, { ...surfaces, prefix: OWN_SURFACE });
  addReviewRoutes(routes, { reviews: runtime.reviews, clock, log, limits, closing });
  addCallbackRoutes(routes, runtime.callbacks);
  addLinkRoutes(routes, runtime.links);
  addEffectRoutes(routes, runtime.effects);
  addAuditRoutes(routes, runtime.audit);
  addPolicyRoutes(routes, runtime.policies);
  addOperatorRoutes(routes, runtime.operators);
  addWebhookRoutes(routes, runtime.webhooks);
  return router;
}

function createSurfaces(surfaces: Surfaces): Router {
  const { runtime, info, ready, log, clock, admission, limits, closing } = surfaces;
  const router = express.Router({ caseSensitive: true });
  router.use(OWN_SURFACE, createOwnSurface(surfaces));

  const routes = createRoutes(router, { ...surfaces, prefix: "" });
  addSystemRoutes(routes, { info, ready });
  addAssistantRoutes(routes, runtime.assistants);
  addThreadRoutes(routes, runtime.threads);
  addStateRoutes(routes, runtime.threads);
  addStoreRoutes(routes, runtime.store);
  // Before the routes of runs, whose ids are where theirs say `crons`.
  addCronRoutes(routes, runtime.schedules);
  const host = { runs: runtime.runs, clock, log, limits, closing };
  addRunRoutes(routes, { ...host, enterPool: enteringPools(runtime, info.graphs, admission) });
  addExistingRunRoutes(routes, host);

  router.use(() => {
    throw httpError(404, "Not Found");
  });
  router.use(answerErrors({ log, ownSurface: OWN_SURFACE }));
  return router;
}

/** Where graphs run in several pools, which of them a run is for is known only from its body. */
function enteringPools(runtime: Runtime, graphs: GraphRegistry, admission: Admission): EnterPool {
  if (new Set(graphs.list().map(({ pool }) => pool)).size < 2) return async () => undefined;
  return async (principal, assistantId) => {
    const { graphId } = await runtime.assistants.get(principal, assistantId);
    const graph = graphs.get(graphId);
    if (graph) admission.enterPool(principal.tenant, graph.pool);
  };
}
