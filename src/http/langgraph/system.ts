import { z } from "zod";
import type { GraphRegistry } from "../../langgraph/registry.ts";
import { httpError } from "../errors.ts";
import { parse, queryFlag } from "../parse.ts";
import type { Routes } from "../route.ts";

/** What `/info` says. */
export interface ServiceInfo {
  readonly version: string;
  /** Version of LangGraph.js that executes the graphs. */
  readonly langgraphVersion: string;
  readonly graphs: GraphRegistry;
}

/** Whether this process can serve: its table answers and it is not stopping. */
export type Readiness = { readonly ready: true } | { readonly ready: false; readonly reason: string };

export interface SystemRoutes {
  readonly info: ServiceInfo;
  readonly ready: () => Promise<Readiness>;
}

const okQuery = z.object({ check_db: queryFlag });

/** Health and description, which need no credentials. */
export function addSystemRoutes(routes: Routes, { info, ready }: SystemRoutes): void {
  routes.open("/ok", async (request, response) => {
    const { check_db: checkDb } = parse(okQuery, request.query, "query");
    const state = checkDb ? await ready() : { ready: true };
    if (!state.ready) throw httpError(500, "not healthy");
    response.json({ ok: true });
  });
  routes.open("/ready", async (_request, response) => {
    const state = await ready();
    if (!state.ready) response.setHeader("retry-after", "1");
    response.status(state.ready ? 200 : 503).json(state);
  });
  routes.open("/info", async (_request, response) => {
    response.json(describe(info));
  });
}

function describe({ version, langgraphVersion, graphs }: ServiceInfo) {
  return {
    version,
    langgraph_js_version: langgraphVersion,
    context: "js",
    flags: { assistants: true, crons: true, langsmith: false, langsmith_tracing_replicas: false },
    graphs: graphs.list().map(({ graphId, version: digest, description }) => ({
      graph_id: graphId,
      version: digest,
      description: description ?? null,
    })),
    failed_graphs: graphs.failures().map(({ graphId, file, error }) => ({ graph_id: graphId, file, error })),
  };
}
