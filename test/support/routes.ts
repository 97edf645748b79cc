import type { Router } from "express";
import { systemClock } from "../../src/core/clock.ts";
import { systemIds } from "../../src/core/ids.ts";
import { createApp } from "../../src/http/app.ts";
import { keyAuthenticator } from "../../src/http/auth.ts";
import { createFakeRuntime } from "./fake-runtime.ts";
import { createMemoryLog, createTestKeys, NO_GRAPHS } from "./http.ts";

/** Every route of the application, as `GET /threads/:thread_id`. */
export function allRoutes(): readonly string[] {
  const app = createApp({
    runtime: createFakeRuntime().runtime,
    auth: keyAuthenticator(createTestKeys([]).apiKeys),
    info: { version: "", langgraphVersion: "", graphs: NO_GRAPHS },
    ready: async () => ({ ready: true }),
    log: createMemoryLog(),
    clock: systemClock,
    ids: systemIds,
  });
  return routesOf(app.router);
}

/** The routes of a router and of those mounted in it. Only `/v1` is mounted anywhere but at the root. */
function routesOf(router: Router, prefix = ""): string[] {
  return router.stack.flatMap((layer) => {
    if (layer.route) {
      const { path } = layer.route;
      return layer.route.stack.map(({ method }) => `${method.toUpperCase()} ${prefix}${path}`);
    }
    const inner = layer.handle as unknown as Partial<Router>;
    if (!Array.isArray(inner.stack)) return [];
    const own = "slash" in layer && layer.slash === true ? "" : "/v1";
    return routesOf(inner as Router, prefix + own);
  });
}
