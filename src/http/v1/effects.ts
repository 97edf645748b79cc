/** Effects: what graphs did to the world, and the word of operators on what nobody knows. */
import { z } from "zod";
import { intentOf, settlesFrom } from "../../core/effect.ts";
import type { EffectEntry } from "../../core/effect.ts";
import type { Settlement, Verdict } from "../../core/effect-settlement.ts";
import { notKept } from "../../core/effect-result.ts";
import { HoldpointError } from "../../core/errors.ts";
import { runId } from "../../core/ids.ts";
import type { JsonObject } from "../../core/json.ts";
import type { EffectSearch, EffectUseCases, SettleEffect } from "../../runtime/effects/effects.ts";
import { isoTime } from "../langgraph/objects.ts";
import { json, optional, parse, present, queryLimit, queryOffset, uuid } from "../parse.ts";
import type { Routes } from "../route.ts";
import { readCursor, writeCursor } from "./cursor.ts";

const DEFAULT_PAGE = 50;

const listQuery = z.strictObject({
  state: z.enum(["parked", "settled"]).default("parked"),
  run_id: uuid.optional(),
  tool: z.string().min(1).max(512).optional(),
  older_than_seconds: queryOffset.optional(),
  limit: queryLimit(DEFAULT_PAGE),
  cursor: z.string().max(4096).optional(),
});
const effectPath = z.object({ effect_id: z.string().min(1).max(256) });

const said = {
  reason: z.string().trim().min(1).max(2_000),
  intent: optional(z.int().min(1)),
  replaces: optional(uuid),
};
/** Strict: a result of what did not happen is a mistake. */
const settlement = z.discriminatedUnion("outcome", [
  z.strictObject({ outcome: z.literal("happened"), result: json.optional(), ...said }),
  z.strictObject({ outcome: z.literal("not_happened"), ...said }),
]);

export function addEffectRoutes(routes: Routes, effects: EffectUseCases): void {
  routes.get("/effects", "effects:read", async ({ principal, request, response }) => {
    const query = parse(listQuery, request.query, "query");
    if (query.run_id !== undefined) {
      const of = await effects.ofRun(principal, runId(query.run_id));
      const items = of.filter(({ name }) => query.tool === undefined || name === query.tool);
      return void response.json({ items: items.map(effectObject), next_cursor: null });
    }
    const search = searchOf(query);
    const list = { name: "effects", state: search.state, tool: search.tool };
    const after = query.cursor === undefined ? undefined : readCursor(principal, list, query.cursor);
    const page = await effects.list(principal, { ...search, ...present({ after }) });
    const next = page.next === undefined ? null : writeCursor(principal, list, page.next);
    response.json({ items: page.items.map(effectObject), next_cursor: next });
  });

  routes.get("/effects/:effect_id", "effects:read", async ({ principal, request, response }) => {
    const { effect_id: id } = parse(effectPath, request.params, "path");
    response.json(effectObject(await effects.get(principal, id)));
  });

  routes.post("/effects/:effect_id/settlement", "effects:settle", async ({ principal, request, response, body }) => {
    const { effect_id: id } = parse(effectPath, request.params, "path");
    const entry = await effects.settle(principal, id, parseSettlement(body));
    response.status(entry.proposal ? 202 : 200).json(effectObject(entry));
  });
}

function searchOf({ state, tool, older_than_seconds: seconds, limit }: z.infer<typeof listQuery>): EffectSearch {
  return { state, limit, ...present({ tool, olderThanMs: seconds === undefined ? undefined : seconds * 1000 }) };
}

function parseSettlement(body: unknown): SettleEffect {
  const { intent, reason, replaces, ...word } = parse(settlement, body, "body");
  if (intent === undefined)
    throw new HoldpointError(
      "precondition_required",
      "intent is missing: send the intent of the effect that was shown",
    );
  const said: Verdict =
    word.outcome === "not_happened"
      ? { verdict: "not_happened" }
      : { verdict: "happened", ...present({ result: word.result }) };
  return { said, reason, intent, ...present({ replaces }) };
}

function effectObject(entry: EffectEntry): JsonObject {
  const { root, token, parked, outcome } = entry;
  return {
    id: `${root}.${token}`,
    name: entry.name,
    policy: entry.policy,
    irreversible: entry.irreversible ?? false,
    state: stateOf(entry),
    root_run_id: root,
    run_id: parked?.runId ?? entry.runId,
    thread_id: parked?.threadId ?? entry.threadId ?? null,
    path: entry.path,
    token,
    intent: intentOf(entry),
    args_digest: entry.argsDigest,
    ...resultOf(entry),
    refusal: outcome?.kind === "rejected" ? outcome.message : null,
    parked: parked ? { reason: parked.reason, message: parked.message, at: isoTime(parked.at) } : null,
    proposal: entry.proposal ? wordObject(entry.proposal) : null,
    settlement: entry.settlement ? wordObject(entry.settlement) : null,
    not_happened_from: outcome ? null : isoTime(settlesFrom(entry)),
    created_at: isoTime(entry.createdAt),
    updated_at: isoTime(entry.updatedAt),
  };
}

function stateOf({ parked, outcome, cleared }: EffectEntry): string {
  if (parked) return "parked";
  if (outcome) return outcome.kind === "result" ? "happened" : "refused";
  return cleared ? "not_happened" : "intended";
}

/** A long result is shown of one effect, not in lists. */
function resultOf({ outcome }: EffectEntry): {
  readonly result?: JsonObject[string];
  readonly result_omitted?: string;
} {
  if (outcome?.kind !== "result") return {};
  const reason = notKept(outcome.value);
  if (reason === undefined) return { result: outcome.value };
  return { result_omitted: outcome.body === undefined ? reason : "it is long: read the effect by its id" };
}

function wordObject(word: Settlement): JsonObject {
  return {
    id: word.id,
    intent: word.intent,
    outcome: word.verdict,
    by: word.by,
    proposed_by: word.proposedBy ?? null,
    replaces: word.replaces ?? null,
    at: isoTime(word.at),
    reason: word.reason,
    continuation_run_id: word.continuation ?? null,
    not_continued: word.notContinued ?? null,
  };
}
