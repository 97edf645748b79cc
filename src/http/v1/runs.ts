/** Runs across threads, for operators: finding them, looking into one, stopping it, trying it again. */
import { z } from "zod";
import { RUN_CLASSES } from "../../storage/run-rows.ts";
import type { OperatorUseCases, Verb } from "../../runtime/operators/use-cases.ts";
import { idempotencyOf } from "../langgraph/headers.ts";
import { runIdOf } from "../langgraph/paths.ts";
import { optional, parse, present, queryFlag, queryLimit, queryList } from "../parse.ts";
import type { Call, Routes } from "../route.ts";
import { readCursor, writeCursor } from "./cursor.ts";
import { queryTime } from "./query-time.ts";
import { errorGroupObject, runSummary, timelineObject } from "./run-objects.ts";

const DEFAULT_PAGE = 50;
const text = z.string().min(1).max(512).optional();
const cursor = z.string().max(4096).optional();

const listQuery = z.strictObject({
  status: queryList.pipe(z.array(z.enum(RUN_CLASSES)).optional()),
  graph_id: text,
  version: text,
  error: text,
  fingerprint: text,
  node: text,
  since: queryTime,
  until: queryTime,
  counts: queryFlag,
  limit: queryLimit(DEFAULT_PAGE),
  cursor,
});
const errorsQuery = z.strictObject({ since: queryTime, until: queryTime, limit: queryLimit(DEFAULT_PAGE), cursor });
const verbBody = z.strictObject({ reason: optional(z.string().max(10_000)) });

export function addOperatorRoutes(routes: Routes, operators: OperatorUseCases): void {
  routes.get("/runs", "runs:read", async ({ principal, request, response }) => {
    const { limit, cursor: at, counts, ...asked } = parse(listQuery, request.query, "query");
    const filter = filterOf(asked);
    const list = { name: "runs", ...filter };
    const before = at === undefined ? undefined : readCursor(principal, list, at);
    const [page, counted] = await Promise.all([
      operators.list(principal, { ...filter, limit, ...present({ before }) }),
      counts ? operators.count(principal, filter) : undefined,
    ]);
    response.json({
      items: page.items.map(runSummary),
      next_cursor: page.next === undefined ? null : writeCursor(principal, list, page.next),
      ...(counted ? { counts: counted.byClass, counts_at_least: counted.atLeast } : {}),
    });
  });

  routes.get("/errors", "runs:read", async ({ principal, request, response }) => {
    const { limit, cursor: at, ...window } = parse(errorsQuery, request.query, "query");
    const list = { name: "errors", ...present(window) };
    const before = at === undefined ? undefined : readCursor(principal, list, at);
    const page = await operators.errors(principal, { ...present(window), limit, ...present({ before }) });
    const next = page.next === undefined ? null : writeCursor(principal, list, page.next);
    response.json({ items: page.groups.map(errorGroupObject), next_cursor: next });
  });

  routes.get("/runs/:run_id", "runs:read", async ({ principal, request, response }) => {
    response.json(timelineObject(await operators.timeline(principal, runIdOf(request))));
  });

  for (const verb of ["cancel", "park", "resume", "retry"] as const) {
    routes.post(`/runs/:run_id/${verb}`, "runs:operate", async (call) => {
      const run = await operators[verb](call.principal, verbOf(call));
      call.response.status(202).json(runSummary(run));
    });
  }
}

function filterOf({
  status,
  graph_id,
  version,
  error,
  ...rest
}: Omit<z.infer<typeof listQuery>, "limit" | "cursor" | "counts">) {
  return present({ ...rest, classes: status, graphId: graph_id, graphVersion: version, errorClass: error });
}

function verbOf(call: Call): Verb {
  const { reason } = parse(verbBody, call.body ?? {}, "body");
  return { runId: runIdOf(call.request), ...present({ reason, idempotency: idempotencyOf(call) }) };
}
