import { z } from "zod";
import type { AssistantUseCases } from "../../runtime/runtime.ts";
import {
  jsonObject,
  limit,
  name,
  offset,
  optional,
  parse,
  present,
  select,
  selected,
  sortOrder,
  uuid,
} from "../parse.ts";
import type { Routes } from "../route.ts";
import { assistantObject } from "./objects.ts";
import { setPageHeaders } from "./pages.ts";

const newAssistant = z.object({
  graph_id: name,
  assistant_id: optional(uuid),
  name: optional(name),
  description: optional(z.string().max(4096)),
  config: optional(jsonObject),
  context: optional(jsonObject),
  metadata: optional(jsonObject),
  if_exists: optional(z.enum(["raise", "do_nothing"])),
});

const filter = {
  graph_id: optional(name),
  name: optional(z.string().max(512)),
  metadata: optional(jsonObject),
};

const search = z.object({
  ...filter,
  limit: limit(10),
  offset,
  sort_by: optional(z.enum(["assistant_id", "graph_id", "name", "created_at", "updated_at"])),
  sort_order: sortOrder,
  select,
});

export function addAssistantRoutes(routes: Routes, assistants: AssistantUseCases): void {
  routes.post("/assistants", "assistants:write", async ({ principal, body, response }) => {
    const { graph_id, assistant_id, if_exists, ...rest } = parse(newAssistant, body, "body");
    const wanted = { ...rest, graphId: graph_id, assistantId: assistant_id, ifExists: if_exists ?? ("raise" as const) };
    response.json(assistantObject(await assistants.create(principal, present(wanted))));
  });

  routes.post("/assistants/search", "assistants:read", async ({ principal, body, response }) => {
    const { graph_id, sort_by, sort_order, select: keys, ...rest } = parse(search, body ?? {}, "body");
    const wanted = { ...rest, graphId: graph_id, sortBy: sort_by ?? ("created_at" as const), sortOrder: sort_order };
    const page = await assistants.search(principal, present(wanted));
    setPageHeaders(response, { offset: rest.offset, returned: page.items.length, total: page.total });
    response.json(page.items.map((item) => selected(keys, assistantObject(item))));
  });

  routes.post("/assistants/count", "assistants:read", async ({ principal, body, response }) => {
    const { graph_id, ...rest } = parse(z.object(filter), body ?? {}, "body");
    const wanted = {
      ...rest,
      graphId: graph_id,
      limit: 1,
      offset: 0,
      sortBy: "assistant_id",
      sortOrder: "asc",
    } as const;
    response.json((await assistants.search(principal, present(wanted))).total);
  });

  routes.get("/assistants/:assistant_id", "assistants:read", async ({ principal, request, response }) => {
    const { assistant_id: id } = parse(z.object({ assistant_id: name }), request.params, "path");
    response.json(assistantObject(await assistants.get(principal, id)));
  });
}
