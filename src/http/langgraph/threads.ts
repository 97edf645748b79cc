import { z } from "zod";
import { HoldpointError } from "../../core/errors.ts";
import { threadId } from "../../core/ids.ts";
import { MAX_TTL_MINUTES } from "../../core/thread.ts";
import type { ThreadTtl } from "../../core/thread.ts";
import type { ThreadUseCases } from "../../runtime/runtime.ts";
import {
  json,
  jsonObject,
  limit,
  MAX_LIMIT,
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
import { threadObject, ttlObject } from "./objects.ts";
import { setPageHeaders } from "./pages.ts";
import { threadIdOf } from "./paths.ts";

const strategy = z.enum(["delete", "keep_latest"]);
const minutes = z.number().positive().max(MAX_TTL_MINUTES);
/** Minutes, alone or with what then becomes of the thread. */
const ttl = z
  .union([minutes, z.object({ ttl: minutes, strategy: optional(strategy) })])
  .transform((given): ThreadTtl => {
    const { ttl: length, strategy: kind = "delete" } = typeof given === "number" ? { ttl: given } : given;
    return { strategy: kind, ms: length * 60_000 };
  });

const newThread = z.object({
  thread_id: optional(uuid),
  metadata: optional(jsonObject),
  if_exists: optional(z.enum(["raise", "do_nothing"])),
  ttl: optional(ttl),
  supersteps: optional(z.array(json)),
});

const patch = z.object({ metadata: optional(jsonObject), ttl: optional(ttl) });
const prune = z.object({ thread_ids: z.array(uuid).max(MAX_LIMIT), strategy: optional(strategy) });

const filter = {
  ids: optional(z.array(uuid).max(MAX_LIMIT)),
  metadata: optional(jsonObject),
  values: optional(jsonObject),
  status: optional(z.enum(["idle", "busy", "interrupted", "error"])),
};

const search = z.object({
  ...filter,
  limit: limit(10),
  offset,
  sort_by: optional(z.enum(["thread_id", "status", "created_at", "updated_at", "state_updated_at"])),
  sort_order: sortOrder,
  select,
  extract: optional(json),
});

export function addThreadRoutes(routes: Routes, threads: ThreadUseCases): void {
  routes.post("/threads", "threads:write", async ({ principal, body, response }) => {
    const wanted = parse(newThread, body ?? {}, "body");
    refuse({ supersteps: wanted.supersteps?.length === 0 ? undefined : wanted.supersteps });
    const created = await threads.create(principal, {
      ...(wanted.thread_id === undefined ? {} : { threadId: threadId(wanted.thread_id) }),
      metadata: wanted.metadata ?? {},
      ifExists: wanted.if_exists ?? "raise",
      ...(wanted.ttl === undefined ? {} : { ttl: wanted.ttl }),
    });
    response.json(threadObject(created));
  });

  routes.post("/threads/search", "threads:read", async ({ principal, body, response }) => {
    const { sort_by, sort_order, select: keys, extract, ...rest } = parse(search, body ?? {}, "body");
    refuse({ extract });
    const wanted = { ...rest, sortBy: sort_by ?? ("updated_at" as const), sortOrder: sort_order };
    const page = await threads.search(principal, present(wanted));
    setPageHeaders(response, { offset: rest.offset, returned: page.items.length, total: page.total });
    response.json(page.items.map((item) => selected(keys, threadObject(item))));
  });

  routes.post("/threads/count", "threads:read", async ({ principal, body, response }) => {
    const rest = parse(z.object(filter), body ?? {}, "body");
    const wanted = { ...rest, limit: 1, offset: 0, sortBy: "thread_id", sortOrder: "asc" } as const;
    response.json((await threads.search(principal, present(wanted))).total);
  });

  routes.post("/threads/prune", "threads:write", async ({ principal, body, response }) => {
    const { thread_ids: ids, strategy: kind } = parse(prune, body, "body");
    response.json({ pruned_count: await threads.prune(principal, ids.map(threadId), kind ?? "delete") });
  });

  routes.get("/threads/:thread_id", "threads:read", async ({ principal, request, response }) => {
    const shown = await threads.get(principal, threadIdOf(request));
    response.json(
      includes(request.query, "ttl") ? { ...threadObject(shown), ttl: ttlObject(shown) } : threadObject(shown),
    );
  });

  routes.patch("/threads/:thread_id", "threads:write", async ({ principal, request, body, response }) => {
    const id = threadIdOf(request);
    const { metadata = {}, ttl: given } = parse(patch, body ?? {}, "body");
    const patched = await threads.patch(principal, id, { metadata, ...(given === undefined ? {} : { ttl: given }) });
    if (/(^|[,;\s])return=minimal($|[,;\s])/i.test(request.get("prefer") ?? "")) {
      response.setHeader("preference-applied", "return=minimal");
      response.status(204).end();
      return;
    }
    response.json(threadObject(patched));
  });

  routes.post("/threads/:thread_id/copy", "threads:write", async ({ principal, request, response }) => {
    response.json(threadObject(await threads.copy(principal, threadIdOf(request))));
  });

  routes.delete("/threads/:thread_id", "threads:write", async ({ principal, request, response }) => {
    await threads.remove(principal, threadIdOf(request));
    response.status(204).end();
  });
}

function includes(query: Readonly<Record<string, unknown>>, what: string): boolean {
  const asked: readonly unknown[] = [query["include"]].flat();
  return asked.some((one) => typeof one === "string" && one.split(",").includes(what));
}

function refuse(fields: Readonly<Record<string, unknown>>): void {
  const given = Object.keys(fields).find((field) => fields[field] !== undefined);
  if (given !== undefined) throw new HoldpointError("unsupported", `${given} is not supported yet`);
}
