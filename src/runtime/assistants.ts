/**
 * Assistants. Every graph has a default one, which is computed and never stored, so that it exists wherever the graph
 * does; its id follows from the graph's.
 */
import { HoldpointError } from "../core/errors.ts";
import { defaultAssistantId, isUuid } from "../core/ids.ts";
import type { TenantId } from "../core/ids.ts";
import type { Principal } from "../core/principal.ts";
import type { Run } from "../core/run.ts";
import { createAssistantRecords } from "../storage/assistants.ts";
import type { AssistantRecord } from "../storage/assistants.ts";
import type { Deps } from "./deps.ts";
import { contains, sorted } from "./threads/search.ts";
import type { Assistant, AssistantSearch, AssistantUseCases, NewAssistant } from "./runtime.ts";

/** A tenant's assistants beyond this number are not searched. */
const SCANNED = 10_000;

export interface Assistants extends AssistantUseCases {
  /** The assistant that a run was started with; that of its graph once the other is gone. */
  ofRun(run: Run): Promise<Assistant>;
}

export function createAssistants(deps: Pick<Deps, "table" | "graphs" | "ids" | "sealers">): Assistants {
  const { table, graphs, ids, sealers } = deps;
  const records = createAssistantRecords(table, sealers);

  const defaultOf = (id: string): Assistant | undefined => {
    const known = [...graphs.list(), ...graphs.failures()];
    const graph = known.find(({ graphId }) => graphId === id || defaultAssistantId(graphId) === id);
    return graph && defaultAssistant(graph);
  };
  const find = async (tenant: TenantId, id: string): Promise<Assistant | undefined> => {
    const byDefault = defaultOf(id);
    if (byDefault || !isUuid(id)) return byDefault;
    return (await records.get(tenant, id.toLowerCase()))?.value;
  };
  const all = async (tenant: TenantId): Promise<Assistant[]> => {
    return [...graphs.list().map(defaultAssistant), ...(await records.list(tenant, SCANNED))];
  };
  return {
    async create(principal, wanted) {
      requireGraph(graphs, wanted.graphId);
      const record = newRecord(principal, wanted, { id: wanted.assistantId ?? ids.uuid(), now: table.now() });
      const existing = defaultOf(record.assistantId) ?? (await put(record));
      if (!existing) return record;
      if (wanted.ifExists === "do_nothing") return existing;
      throw new HoldpointError("conflict", `Assistant ${record.assistantId} already exists`);
    },
    async get(principal, id) {
      const found = await find(principal.tenant, id);
      if (!found) throw new HoldpointError("not_found", "Assistant not found");
      return found;
    },
    async search(principal, search) {
      const matching = (await all(principal.tenant)).filter((assistant) => matches(assistant, search));
      const inOrder = sorted(matching, {
        by: SORT_BY[search.sortBy],
        id: (one) => one.assistantId,
        order: search.sortOrder,
      });
      return { items: inOrder.slice(search.offset, search.offset + search.limit), total: matching.length };
    },
    async ofRun(run) {
      return (await find(run.tenant, run.assistantId)) ?? defaultAssistant(run);
    },
  };

  /** The assistant that stood in the way, if one did. */
  async function put(record: AssistantRecord): Promise<Assistant | undefined> {
    const written = await records.create(record);
    return written.won ? undefined : (written.current?.value ?? record);
  }
}

/** The assistant of a graph: the same in every process, hence without a time of its own. */
function defaultAssistant(graph: { readonly graphId: string; readonly description?: string }): Assistant {
  return {
    assistantId: defaultAssistantId(graph.graphId),
    graphId: graph.graphId,
    name: graph.graphId,
    description: graph.description ?? null,
    config: {},
    context: {},
    metadata: { created_by: "system" },
    version: 1,
    createdAt: 0,
    updatedAt: 0,
  };
}

function newRecord(
  principal: Principal,
  wanted: NewAssistant,
  at: { readonly id: string; readonly now: number },
): AssistantRecord {
  return {
    tenant: principal.tenant,
    assistantId: at.id.toLowerCase(),
    graphId: wanted.graphId,
    name: wanted.name ?? "Untitled",
    description: wanted.description ?? null,
    config: wanted.config ?? {},
    context: wanted.context ?? {},
    metadata: wanted.metadata ?? {},
    version: 1,
    createdAt: at.now,
    updatedAt: at.now,
  };
}

function requireGraph(graphs: Deps["graphs"], graphId: string): void {
  if (graphs.get(graphId)) return;
  const failure = graphs.failure(graphId);
  if (!failure) throw new HoldpointError("not_found", `Graph ${graphId} not found`);
  throw new HoldpointError("graph_unavailable", `Graph ${graphId} could not be loaded: ${failure.error.message}`);
}

function matches(assistant: Assistant, search: AssistantSearch): boolean {
  const { graphId, name, metadata } = search;
  if (graphId !== undefined && assistant.graphId !== graphId) return false;
  if (name !== undefined && !assistant.name.toLowerCase().includes(name.toLowerCase())) return false;
  return metadata === undefined || contains(assistant.metadata, metadata);
}

const SORT_BY: Readonly<Record<AssistantSearch["sortBy"], (assistant: Assistant) => string | number>> = {
  assistant_id: (assistant) => assistant.assistantId,
  graph_id: (assistant) => assistant.graphId,
  name: (assistant) => assistant.name,
  created_at: (assistant) => assistant.createdAt,
  updated_at: (assistant) => assistant.updatedAt,
};
