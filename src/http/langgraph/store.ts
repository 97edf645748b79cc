import { z } from "zod";
import type { StoredItem, StoreUseCases } from "../../runtime/runtime.ts";
import { jsonObject, limit, offset, optional, parse, present, queryFlag } from "../parse.ts";
import type { Routes } from "../route.ts";

const label = z.string().min(1).max(4096);
const labels = z.array(label).max(64);
const key = z.string().max(65_536);
const minutes = z.number().positive();

const newItem = z.object({
  namespace: labels.min(1),
  key,
  value: jsonObject,
  index: optional(z.union([z.literal(false), z.array(z.string().max(512)).max(64)])),
  /** Absent is the default of the service, null for ever. */
  ttl: minutes.nullable().optional(),
});
const named = z.object({ namespace: labels, key });
/** Labels have no dots, so that a query string can hold them in one text. */
const asked = z.object({
  namespace: z
    .string()
    .transform((text) => text.split("."))
    .pipe(labels),
  key,
  refresh_ttl: z.union([z.undefined(), queryFlag]),
});
const search = z.object({
  namespace_prefix: labels,
  filter: optional(jsonObject),
  query: optional(z.string().max(65_536)),
  limit: limit(10),
  offset,
  refresh_ttl: optional(z.boolean()),
});
const namespaces = z.object({
  prefix: optional(labels),
  suffix: optional(labels),
  max_depth: optional(z.int().min(1)),
  limit: limit(100),
  offset,
});

export function addStoreRoutes(routes: Routes, store: StoreUseCases): void {
  routes.put("/store/items", "store:write", async ({ principal, body, response }) => {
    await store.put(principal, present(parse(newItem, body, "body")));
    response.status(204).end();
  });

  routes.get("/store/items", "store:read", async ({ principal, request, response }) => {
    const { refresh_ttl: refreshTtl, ...at } = parse(asked, request.query, "query");
    const item = await store.get(principal, present({ ...at, refreshTtl }));
    response.json(item === undefined ? null : itemObject(item));
  });

  routes.deleteNamed("/store/items", "store:write", async ({ principal, body, response }) => {
    await store.remove(principal, parse(named, body, "body"));
    response.status(204).end();
  });

  routes.post("/store/items/search", "store:read", async ({ principal, body, response }) => {
    const { namespace_prefix: prefix, refresh_ttl: refreshTtl, ...rest } = parse(search, body, "body");
    const found = await store.search(principal, present({ ...rest, prefix, refreshTtl }));
    response.json({ items: found.map(itemObject) });
  });

  routes.post("/store/namespaces", "store:read", async ({ principal, body, response }) => {
    const { max_depth: maxDepth, ...rest } = parse(namespaces, body ?? {}, "body");
    response.json({ namespaces: await store.namespaces(principal, present({ ...rest, maxDepth })) });
  });
}

const itemObject = ({ createdAt, updatedAt, ...item }: StoredItem) => ({
  ...item,
  created_at: createdAt.toISOString(),
  updated_at: updatedAt.toISOString(),
});
