/** Markers: the items that say which documents an OpenSearch index has, and which passages those have. */
import { z } from "zod";
import { sha256 } from "../core/ids.ts";
import type { IndexedDocument } from "../retrieval/ingest.ts";
import type { Collection } from "../retrieval/retriever.ts";
import type { Guard } from "./opensearch-bulk.ts";
import type { OpenSearchRequests } from "./opensearch-requests.ts";

/** One ingestion, or one removal. */
export interface Context {
  readonly requests: OpenSearchRequests;
  readonly signal: AbortSignal | undefined;
}

/** What becomes of a document: it is put in place of what is there, or removed. */
export interface Change {
  readonly id: string;
  readonly document?: IndexedDocument;
}

export interface Marker {
  readonly guard: Guard;
  /** Empty while the document is being written. */
  readonly digest: string;
  /** The digest that it is to have; empty when it is to go. */
  readonly wanted: string;
  /** Ids of its items. */
  readonly passages: readonly string[];
}

/** The digest that a change wants; empty for a removal. */
export const wantedBy = ({ document }: Change): string => document?.digest ?? "";

/** Markers of one request. */
export const MARKERS = 200;

const FIELDS = ["digest", "wanted", "passages"];

const markersAnswer = z.object({
  docs: z.array(
    z.object({
      _id: z.string(),
      _seq_no: z.number().optional(),
      _primary_term: z.number().optional(),
      _source: z.object({ digest: z.string(), wanted: z.string(), passages: z.array(z.string()) }).optional(),
    }),
  ),
});

/** The markers there are, by the ids of their documents; also those that no search sees yet. */
export async function readMarkers(
  { requests, signal }: Context,
  place: Collection,
  ids: readonly string[],
): Promise<ReadonlyMap<string, Marker>> {
  const found = new Map<string, Marker>();
  for (let start = 0; start < ids.length; start += MARKERS) {
    const wanted = new Map(ids.slice(start, start + MARKERS).map((id) => [markerId(place, id), id]));
    const body = JSON.stringify({ docs: Array.from(wanted.keys(), (_id) => ({ _id, _source: FIELDS })) });
    const { status, json } = await requests.send({ method: "POST", path: "_mget", body, signal, expected: [404] });
    if (status === 404) continue;
    const parsed = markersAnswer.safeParse(json);
    if (!parsed.success) throw requests.failed("unavailable", "answered with no documents", parsed.error);
    for (const { _id, _seq_no: seqNo, _primary_term: primaryTerm, _source: source } of parsed.data.docs) {
      const id = wanted.get(_id);
      if (id === undefined || source === undefined || seqNo === undefined || primaryTerm === undefined) continue;
      found.set(id, { ...source, guard: { seqNo, primaryTerm } });
    }
  }
  return found;
}

/** What a marker says once it is written. */
export function markerSource(
  { tenant, collection }: Collection,
  change: Change,
  { digest, passages }: Pick<Marker, "digest" | "passages">,
): object {
  const document = markerId({ tenant, collection }, change.id);
  const about = JSON.stringify({ id: change.id });
  return { kind: "document", tenant, collection, document, about, digest, wanted: wantedBy(change), passages };
}

/** Of the marker; also what its passages name it by. */
export const markerId = ({ tenant, collection }: Collection, id: string): string =>
  sha256(JSON.stringify(["document", tenant, collection, id]));

/** Of the item of a passage. */
export const passageId = ({ tenant, collection }: Collection, id: string): string =>
  sha256(JSON.stringify(["passage", tenant, collection, id]));
