/** States of a thread: now, at a checkpoint, through time, and changed by hand. */
import { z } from "zod";
import type { CheckpointSelector } from "../../core/run.ts";
import type { ThreadUseCases } from "../../runtime/runtime.ts";
import {
  json,
  jsonObject,
  limit,
  name,
  optional,
  parse,
  present,
  queryFlag,
  queryLimit,
  queryList,
  select,
} from "../parse.ts";
import type { Call, Routes } from "../route.ts";
import { selectedState, stateObject } from "./objects.ts";
import { threadIdOf } from "./paths.ts";
import { checkpointSchema, selectorOf } from "./run-body.ts";

const DEFAULT_HISTORY = 10;

const stateQuery = z.object({ subgraphs: queryFlag, select: queryList });
const checkpointBody = z.object({ checkpoint: checkpointSchema, subgraphs: optional(z.boolean()), select });
const updateBody = z.object({
  values: json.optional(),
  as_node: optional(name),
  checkpoint: optional(checkpointSchema),
  checkpoint_id: optional(name),
  on_pending: optional(z.literal("cancel")),
});
const historyQuery = z.object({ limit: queryLimit(DEFAULT_HISTORY), before: name.optional() });
/** A checkpoint id, or where clients of older versions keep one: a checkpoint, or a whole config. */
const before = z.union([
  name,
  z.object({ checkpoint_id: name }).transform((checkpoint) => checkpoint.checkpoint_id),
  z
    .object({ configurable: z.object({ checkpoint_id: name }) })
    .transform((config) => config.configurable.checkpoint_id),
]);
const historyBody = z.object({
  limit: limit(DEFAULT_HISTORY),
  before: optional(before),
  metadata: optional(jsonObject),
  checkpoint: optional(checkpointSchema),
  select,
});

export function addStateRoutes(routes: Routes, threads: ThreadUseCases): void {
  const answerState = async (call: Call, checkpoint: CheckpointSelector | undefined): Promise<void> => {
    const { subgraphs, select: keys } = parse(stateQuery, call.request.query, "query");
    const at = { subgraphs, ...(checkpoint === undefined ? {} : { checkpoint }) };
    const view = await threads.state(call.principal, threadIdOf(call.request), at);
    call.response.json(selectedState(keys, stateObject(view)));
  };
  routes.get("/threads/:thread_id/state", "threads:read", (call) => answerState(call, undefined));

  routes.get("/threads/:thread_id/state/:checkpoint_id", "threads:read", (call) => {
    const { checkpoint_id: id } = parse(z.object({ checkpoint_id: name }), call.request.params, "path");
    return answerState(call, { checkpointId: id });
  });

  routes.post(
    "/threads/:thread_id/state/checkpoint",
    "threads:read",
    async ({ principal, request, body, response }) => {
      const id = threadIdOf(request);
      const { checkpoint, subgraphs, select: keys } = parse(checkpointBody, body, "body");
      const selector = selectorOf(checkpoint);
      const at = { subgraphs: subgraphs ?? false, ...(selector === undefined ? {} : { checkpoint: selector }) };
      response.json(selectedState(keys, stateObject(await threads.state(principal, id, at))));
    },
  );

  routes.post("/threads/:thread_id/state", "threads:write", async ({ principal, request, body, response }) => {
    const id = threadIdOf(request);
    const wanted = parse(updateBody, body, "body");
    const checkpoint = selectorOf(
      wanted.checkpoint ?? { thread_id: undefined, checkpoint_ns: undefined, checkpoint_id: wanted.checkpoint_id },
    );
    const update = {
      values: wanted.values,
      ...present({ asNode: wanted.as_node, checkpoint, onPending: wanted.on_pending }),
    };
    const updated = await threads.updateState(principal, id, update);
    response.json({ checkpoint: updated, configurable: updated });
  });

  routes.get("/threads/:thread_id/history", "threads:read", async ({ principal, request, response }) => {
    const id = threadIdOf(request);
    const page = parse(historyQuery, request.query, "query");
    response.json((await threads.history(principal, id, present(page))).map(stateObject));
  });

  routes.post("/threads/:thread_id/history", "threads:read", async ({ principal, request, body, response }) => {
    const id = threadIdOf(request);
    const { checkpoint, select: keys, ...page } = parse(historyBody, body ?? {}, "body");
    const views = await threads.history(principal, id, present({ ...page, checkpoint: selectorOf(checkpoint) }));
    response.json(views.map((view) => selectedState(keys, stateObject(view))));
  });
}
